"""Files that grow while they are read: logs, and logs of metrics.

Whoever writes such a file writes it itself, so following it never slows it down.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path

from grpo_launch.base import files

_BLOCK = 1 << 20
"""Bytes that are read at a time."""

_AT_MOST = 256 * 1024
"""Bytes of a log that are shown at once."""

_LINES_AT_MOST = 64 << 20
"""Bytes of lines that are taken in at once: a year of steps, or no log of metrics at all."""


class Tail:
    """What was appended to a file since the last look.

    Args:
        path: the file; it need not exist yet.
        offset: bytes to leave out.

    Attributes:
        offset: bytes that have been read or left out.
    """

    def __init__(self, path: str | os.PathLike[str], offset: int = 0) -> None:
        self._path = path
        self.offset = offset

    def blocks(self) -> Iterator[bytes]:
        """What is there now, and not what comes meanwhile: a fast writer would keep us here."""
        try:
            with files.opened(self._path) as file:
                size = file.seek(0, os.SEEK_END)
                if size < self.offset:  # somebody emptied it
                    self.offset = 0
                file.seek(self.offset)
                while block := file.read(min(_BLOCK, size - self.offset)):
                    self.offset += len(block)
                    yield block
        except OSError:
            return

    def read(self) -> bytes:
        """All of it at once."""
        return b"".join(self.blocks())

    def skip(self, keep: int) -> int:
        """Leave out all but the last ``keep`` bytes; how many were left out."""
        try:
            skipped = max(0, Path(self._path).stat().st_size - self.offset - keep)
        except OSError:
            return 0
        self.offset += skipped
        return skipped


class TextTail:
    """What was appended to a log since the last look, as text.

    Args:
        path: the log; it need not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._tail = Tail(path)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self) -> str:
        """The new text; of more than 256 KiB only the end, after a note."""
        skipped = self._tail.skip(_AT_MOST)
        text = self._decoder.decode(self._tail.read())
        return f"\n[{skipped} bytes not shown]\n{text}" if skipped else text


class LineTail:
    """The whole lines that were appended to a file since the last look.

    Args:
        path: the file; it need not exist yet.
        offset: bytes to leave out.
    """

    def __init__(self, path: str | os.PathLike[str], offset: int = 0) -> None:
        self._tail = Tail(path, offset)
        self._rest = b""

    @property
    def offset(self) -> int:
        """Bytes that have been read."""
        return self._tail.offset

    def read(self) -> list[bytes]:
        """The lines that were finished since the last call, without their ends.

        Of more than 64 MiB only the end.
        """
        if self._tail.skip(_LINES_AT_MOST):
            self._rest = b""
        *lines, self._rest = (self._rest + self._tail.read()).split(b"\n")
        return lines
