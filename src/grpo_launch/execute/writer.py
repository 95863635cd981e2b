"""Text for a reader who may have stopped reading: a pipe that is full, a terminal after Ctrl-S."""

from __future__ import annotations

import collections
import contextlib
import os
import select
import signal
import threading
import time
from typing import TextIO

_AT_MOST = 1 << 20
"""Bytes that wait for the reader; what comes then is lost to it, logs and records have it."""

_AT_A_TIME = 4096
"""Bytes that are written at once; progress is seen from one to the next."""

_WITHOUT_THREAD = 256
"""The same where no thread can be had: a terminal that takes any text takes that many."""

PATIENCE_S = 2.0
"""How long a reader may take nothing until the end does without it."""


class Writer:
    """Writes to a stream in a thread of its own, so that nobody waits for a reader.

    Rich takes it for a file.

    Args:
        stream: where to write; one without a file descriptor is written to directly.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._encoding = stream.encoding or "utf-8"
        self._errors = stream.errors or "backslashreplace"
        self._changed = threading.Condition()
        self._waiting: collections.deque[bytes] = collections.deque()
        self._held = 0  # bytes of the above
        self._lost = 0
        self._written = 0
        self._thread: threading.Thread | None = None
        self._is_gone = False

    @property
    def encoding(self) -> str:
        """Of the stream."""
        return self._encoding

    @property
    def is_behind(self) -> bool:
        """Whether the reader has yet to take what was written before."""
        return self._held > 0

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def flush(self) -> None:
        """For who takes it for a file; :meth:`drain` is what waits."""

    def write(self, text: str) -> int:
        """Write ``text`` some time; its length, as files say it."""
        if self._descriptor is None:
            with contextlib.suppress(OSError, ValueError):  # closed
                self._stream.write(text)
                self._stream.flush()
            return len(text)
        with self._changed:
            if not self._is_gone:
                self._hold(text)
            self._changed.notify_all()
        self._begin()
        return len(text)

    def _hold(self, text: str) -> None:
        data = text.encode(self._encoding, self._errors)
        note = f"\n[{self._lost} bytes not shown]\n".encode() if self._lost else b""
        if self._held + len(note) + len(data) > _AT_MOST:
            self._lost += len(data)
            return
        self._lost = 0
        self._waiting.append(note + data)
        self._held += len(note) + len(data)

    def drain(self) -> None:
        """Wait until all is written, or the reader has taken nothing for a while."""
        if self._thread is None:
            self._write_here()
            return
        with self._changed:
            seen, since = self._written, time.monotonic()
            while self._held and (left := since + PATIENCE_S - time.monotonic()) > 0:
                self._changed.wait(left)
                if self._written != seen:
                    seen, since = self._written, time.monotonic()

    def _begin(self) -> None:
        """Start the thread; where the system gives none now, the next text tries again."""
        if self._thread is None and self._descriptor is not None:
            thread = threading.Thread(target=self._work, daemon=True)
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _work(self) -> None:
        # Signals are the main thread's; and a background job that may not write to its
        # terminal (stty tostop) would be stopped, with all that it supervises.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
            self._write_some(_AT_A_TIME)

    def _write_here(self) -> None:
        poller = select.poll()
        if self._descriptor is not None:
            poller.register(self._descriptor, select.POLLOUT)
        while self._waiting and poller.poll(PATIENCE_S * 1000):
            self._write_some(_WITHOUT_THREAD)

    def _write_some(self, size: int) -> None:
        assert self._descriptor is not None
        data = self._waiting[0]
        try:
            count = os.write(self._descriptor, data[:size])
        except BlockingIOError:  # somebody who shares the terminal has made it so
            select.select([], [self._descriptor], [])
            return
        except OSError:  # nobody will read any more
            with self._changed:
                self._is_gone = True
                self._waiting.clear()
                self._held = 0
                self._changed.notify_all()
            return
        with self._changed:
            if count == len(data):
                self._waiting.popleft()
            else:
                self._waiting[0] = data[count:]
            self._held -= count
            self._written += count
            self._changed.notify_all()


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
