"""What can happen to a run, as events of one loop.

Signal handlers only record; the loop acts. Everything that the loop waits for
is a file descriptor: a child's pidfd, the signals' wake-up pipe, the gate's pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def block() -> None:
    """Let signals that ask for an end wait, across an exec, until :class:`Signals` is entered."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


class Signals:
    """Records the signals that ask for an end, from ``with`` on until its end.

    Attributes:
        received: signal numbers in the order of their arrival.
        fd: readable after a signal.
    """

    def __init__(self) -> None:
        self.received: list[int] = []

    def __enter__(self) -> Signals:
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Not written by the handlers: Python calls them between two instructions, so a signal
        # right before a wait would be heard only after it.
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._handlers: dict[int, Any] = {}
        for signum in HANDLED:
            # A launcher under nohup ignores SIGHUP, and goes on doing so.
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._handlers[signum] = signal.signal(signum, self._record)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._before)
        os.close(self.fd)
        os.close(self._write)

    def drain(self) -> None:
        """Make ``fd`` unreadable until the next signal."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def _record(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self.received.append(signum)


def wait(fds: Iterable[int], timeout_s: float) -> set[int]:
    """The descriptors of ``fds`` that are readable, after at most ``timeout_s``."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    deadline = time.monotonic() + timeout_s
    return {fd for fd, _ in poller.poll(max(0.0, deadline - time.monotonic()) * 1000)}
