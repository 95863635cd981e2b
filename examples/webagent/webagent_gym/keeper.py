"""Run one browser so that nothing of it outlives the process that owns it.

Usage: ``keeper.py OWNER PROGRAM [ARGUMENT...]``, where OWNER is the id of the process that starts
the keeper. The browser ends when the owner is gone (also by SIGKILL), when PROGRAM ends, or when
the keeper receives SIGTERM. Then every descendant is killed and reaped, those that left the process
group included: the keeper is their subreaper (``prctl(2)``). Standard library only.

A browser's profile and other temporary files are kept in a directory that is removed at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_AWAITED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
_POLL_S = 0.5
"""How long an owner's death can go unnoticed."""
_KILL_S = 10.0
_LONGEST = 40
"""Characters of a temporary directory in which a profile's sockets have paths of at most 107."""


def main(argv: Sequence[str]) -> int:
    """Keep one program; returns its exit status, or 143 if the keeper ended it."""
    owner, program = int(argv[0]), list(argv[1:])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)

    def prepare() -> None:
        # If the keeper itself is killed, at least the driver goes; Chromium's pipe breaks then.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)

    temporary = tempfile.gettempdir()
    if len(temporary) > _LONGEST:
        temporary = "/tmp"  # noqa: S108
    scratch = tempfile.mkdtemp(prefix="webagent-", dir=temporary)
    folders = ("TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    environment = {**os.environ, **dict.fromkeys(folders, scratch)}
    status = 143
    try:
        child = subprocess.Popen(program, env=environment, preexec_fn=prepare)
        while os.getppid() == owner:
            received = signal.sigtimedwait(_AWAITED, _POLL_S)
            if received is not None and received.si_signo != signal.SIGCHLD:
                break
            ended = _reap(child.pid)
            if ended is not None:
                status = ended if ended >= 0 else 128 - ended
                break
    finally:
        _kill_descendants()
        shutil.rmtree(scratch, ignore_errors=True)
    return status


def _reap(child: int) -> int | None:
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid == child:
                status = os.waitstatus_to_exitcode(code)
    return status


def _kill_descendants() -> None:
    deadline = time.monotonic() + _KILL_S
    while time.monotonic() < deadline:
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _reap(0)
        if not _descendants(os.getpid()):
            return
        time.sleep(0.01)


def _descendants(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in parentheses may hold anything; what follows the last one is fixed.
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found: set[int] = set()
    pending = {root}
    while pending:
        pending = {pid for pid, parent in parents.items() if parent in pending} - found
        found |= pending
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
