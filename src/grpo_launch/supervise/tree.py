"""Which processes are ours, and how they are ended.

Ours is whatever descends from a started process, belongs to its session, or was
orphaned to this launcher (it is a subreaper, so a grandchild that called
``setsid`` and lost its parent comes back to it). A process is named by pid and
start time, never by name or port.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence

from grpo_launch.plan import Deadlines
from grpo_launch.supervise import proc
from grpo_launch.supervise.process import Child

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def become_subreaper() -> None:
    """Make orphaned descendants come back to this process (prctl(2), Linux 3.4)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def members(children: Sequence[Child], *, orphans: bool) -> list[proc.Entry]:
    """The living processes that belong to ``children``.

    Args:
        children: started processes, ended or not.
        orphans: also count what was orphaned to this launcher.
    """
    entries = {entry.pid: entry for entry in proc.everything()}
    roots = {child.pid for child in children}
    me = os.getpid()

    def ours(entry: proc.Entry) -> bool:
        if entry.session in roots:
            return True
        seen: set[int] = set()
        current: proc.Entry | None = entry
        while current is not None and current.pid not in seen:
            if current.pid in roots:
                return True
            if orphans and current.ppid == me:
                return True
            seen.add(current.pid)
            current = entries.get(current.ppid)
        return False

    return [entry for entry in entries.values() if entry.alive and ours(entry)]


def stop(
    children: Sequence[Child],
    deadlines: Deadlines,
    *,
    orphans: bool,
    hurry: Callable[[], bool],
) -> list[proc.Entry]:
    """End all processes of ``children`` in two stages under one deadline.

    SIGTERM first, then SIGKILL to whatever is left after ``term_s``. Calling it
    again is harmless.

    Args:
        children: started processes, ended or not.
        deadlines: of the two stages.
        orphans: also end what was orphaned to this launcher.
        hurry: asked while waiting; true skips to SIGKILL (a second Ctrl-C).

    Returns:
        What is still alive when the deadline is over; normally nothing.
    """
    started = time.monotonic()
    term_until = started + deadlines.term_s
    kill_until = term_until + deadlines.kill_s
    told: set[tuple[int, int]] = set()
    while left := _reap(children, orphans):
        now = time.monotonic()
        if now >= kill_until:
            return left
        killing = now >= term_until or hurry()
        if killing and now < term_until:
            term_until, kill_until = now, now + deadlines.kill_s
        fresh = left if killing else [e for e in left if (e.pid, e.start_time) not in told]
        _send(fresh, signal.SIGKILL if killing else signal.SIGTERM)
        told.update((entry.pid, entry.start_time) for entry in left)
        _wait_for_one(left, min(0.05, max(0.0, kill_until - now)))
    return []


def _reap(children: Sequence[Child], orphans: bool) -> list[proc.Entry]:
    for child in children:
        child.poll()
    if orphans:
        known = {child.pid for child in children}
        for entry in proc.everything():
            if entry.ppid == os.getpid() and entry.state == "Z" and entry.pid not in known:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(entry.pid, os.WNOHANG)
    return members(children, orphans=orphans)


def _send(entries: Iterable[proc.Entry], signum: int) -> None:
    for entry in entries:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            pidfd = os.pidfd_open(entry.pid)
            try:
                # The pidfd pins the process; only now is the start time a proof.
                current = proc.read(entry.pid)
                if current is not None and current.start_time == entry.start_time:
                    signal.pidfd_send_signal(pidfd, signum)
            finally:
                os.close(pidfd)


def _wait_for_one(entries: Sequence[proc.Entry], timeout_s: float) -> None:
    """Wait until the first of ``entries`` ends, at most ``timeout_s``."""
    import select

    poller = select.poll()
    opened: list[int] = []
    try:
        for entry in entries:
            with contextlib.suppress(ProcessLookupError):
                pidfd = os.pidfd_open(entry.pid)
                opened.append(pidfd)
                poller.register(pidfd, select.POLLIN)
        if len(opened) == len(entries):
            poller.poll(timeout_s * 1000)
    finally:
        for pidfd in opened:
            os.close(pidfd)
