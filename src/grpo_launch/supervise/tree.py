"""Which processes are ours, and how they are ended.

Ours is whatever descends from a process that we started. The caller is a
subreaper (prctl(2)): a process that loses its parent, by a double fork or
``setsid`` or because the parent was killed, comes back to it as a child, so
nothing leaves the tree while the caller lives. A process is named by pid and
start time, never by name or port.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Container, Iterable, Sequence

from grpo_launch.supervise import proc

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

_SETTLE_S = 0.02
"""How long a sweep over /proc is put off while known processes still end one by one."""

_LOOK_AGAIN_S = 0.5
"""How long at most between two sweeps: a process that ignores SIGTERM may fork."""

_AT_A_TIME = 256
"""Processes that are waited for at a time; each costs a file descriptor."""

_RACING_S = 0.001
"""Pause before the next sweep when processes were forked during the last one."""


def become_subreaper() -> None:
    """Make orphaned descendants come back to this process (prctl(2), Linux 3.4)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(root: int, spared: Container[int] = ()) -> list[proc.Entry]:
    """The living processes below ``root``, as one walk over /proc saw them.

    Args:
        root: a pid; not among the result.
        spared: pids to leave out, with all that is below them.
    """
    children: dict[int, list[proc.Entry]] = {}
    for entry in proc.everything():
        children.setdefault(entry.ppid, []).append(entry)
    found: list[proc.Entry] = []
    waiting = children.get(root, [])
    while waiting:
        entry = waiting.pop()
        if entry.pid not in spared:
            found.append(entry)
            waiting += children.get(entry.pid, [])
    return [entry for entry in found if entry.alive]


def children() -> list[proc.Entry]:
    """The living children of this process."""
    return [entry for entry in proc.everything() if entry.ppid == os.getpid() and entry.alive]


def reap(ended: Callable[[int, int], None]) -> bool:
    """Collect every child of this process that has ended.

    Args:
        ended: told the pid and the exit status (128 + N for signal N) of each.

    Returns:
        Whether there are children left. A subreaper without children has no
        descendants either, which no walk over /proc can prove.
    """
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        code = os.waitstatus_to_exitcode(status)
        ended(pid, code if code >= 0 else 128 - code)


def stop(
    members: Callable[[], list[proc.Entry] | None],
    term_s: float,
    kill_s: float,
    hurry: Callable[[], bool],
    kill_all: Callable[[], None] = lambda: None,
    first: Sequence[proc.Entry] = (),
) -> list[proc.Entry]:
    """End processes in two stages under one deadline.

    SIGTERM to each once, then SIGKILL to whatever is left after ``term_s``, again
    and again until nothing is left: a process may fork while it is being killed.
    Calling it again is harmless.

    Args:
        members: the living ones, after reaping; None when there are certainly none.
        term_s: seconds after SIGTERM.
        kill_s: seconds after the first SIGKILL.
        hurry: asked while waiting; true skips to SIGKILL (a second Ctrl-C).
        kill_all: called at each SIGKILL, for what reaches more than ``members`` sees.
        first: those that are known without a look at ``members``, which takes milliseconds.

    Returns:
        What is still alive when the deadline is over; normally nothing.
    """
    term_until = time.monotonic() + term_s
    kill_until: float | None = None
    told: set[tuple[int, int]] = set()

    def terminate(entries: Sequence[proc.Entry]) -> None:
        fresh = [entry for entry in entries if (entry.pid, entry.start_time) not in told]
        send(fresh, signal.SIGTERM)
        # A stopped process takes its SIGTERM only once it goes on.
        send((entry for entry in fresh if entry.state == "T"), signal.SIGCONT)
        told.update((entry.pid, entry.start_time) for entry in fresh)

    if term_s > 0:
        terminate(first)
    while (left := members()) is not None:
        now = time.monotonic()
        if kill_until is None and (now >= term_until or hurry()):
            kill_until = now + kill_s
        if kill_until is None:
            terminate(left)
            wait(left, term_until - now, hurry)
        elif now >= kill_until:
            return left
        else:
            kill_all()
            send(left, signal.SIGKILL)
            _kill_groups(left)
            wait(left, _RACING_S if not left else kill_until - now, lambda: False)
    return []


def send(entries: Iterable[proc.Entry], signum: int) -> None:
    """Send a signal to processes, each named by pid and start time."""
    for entry in entries:
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(entry.pid)
            try:
                # The pidfd pins the process; only now is the start time a proof.
                current = proc.read(entry.pid)
                if current is not None and current.start_time == entry.start_time:
                    signal.pidfd_send_signal(pidfd, signum)
            finally:
                os.close(pidfd)


def send_to(pid: int, start_time: int, signum: int) -> None:
    """Send a signal to the process that had ``pid`` and ``start_time``, where it still lives."""
    entry = proc.read(pid)
    if entry is not None and entry.start_time == start_time:
        send([entry], signum)


def _kill_groups(entries: Sequence[proc.Entry]) -> None:
    """SIGKILL to the process groups of ``entries``.

    The kernel signals a group atomically against fork(2), so a chain of processes
    that fork and exit faster than /proc can be read ends here. A group belongs to
    one session, and the sessions below us were all made below us. Where the leader of a
    session lives and is none of ``entries``, somebody started one of them from elsewhere.
    """
    ours = {os.getpgrp(), os.getsid(0)}
    pids = {entry.pid for entry in entries}
    for group, session in {(entry.group, entry.session) for entry in entries}:
        leader = None if session in pids else proc.read(session)
        if group in ours or (leader is not None and leader.alive):
            continue
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


def wait(entries: Sequence[proc.Entry], timeout_s: float, hurry: Callable[[], bool]) -> None:
    """Wait until all of ``entries`` have ended, or ``timeout_s``, or a reason to look again.

    Returns early, after a moment, when only some have ended: others may have been
    forked meanwhile.
    """
    deadline = time.monotonic() + min(timeout_s, _LOOK_AGAIN_S)
    poller = select.poll()
    pidfds: set[int] = set()
    try:
        for entry in entries[:_AT_A_TIME]:
            with contextlib.suppress(OSError):
                pidfd = os.pidfd_open(entry.pid)
                pidfds.add(pidfd)
                poller.register(pidfd, select.POLLIN)
        waiting = set(pidfds)
        if not waiting:
            time.sleep(_RACING_S)
        while waiting and (left := deadline - time.monotonic()) > 0 and not hurry():
            ended = {fd for fd, _ in poller.poll(min(left, 0.05) * 1000)}
            if ended:
                deadline = min(deadline, time.monotonic() + _SETTLE_S)
            for fd in ended & waiting:
                poller.unregister(fd)
            waiting -= ended
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
