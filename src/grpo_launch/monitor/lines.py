"""From the bytes of a log to lines that a terminal can be shown.

A log holds what a process wrote: colours, progress bars that overwrite themselves,
binary data, lines of megabytes. No control sequence may reach the reader's terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from grpo_launch.base import files, redaction
from grpo_launch.base.tailing import Tail
from grpo_launch.base.terminal import SEQUENCE

LONGEST = 2000
"""Characters of a line that are shown; after them stands how long it is."""

_KEPT = 64 * 1024
"""Bytes of an unfinished line that are kept."""

_BLOCK = 1 << 20
"""Bytes that are read at a time."""


def clean(text: str, size: int | None = None, hidden: Sequence[str] = ()) -> str:
    r"""A line without what would act on a terminal.

    Colours and cursor movements are left out; other characters that cannot be
    printed become escapes, as ``\x00``. Of a line that overwrites itself its last
    state is shown, as a terminal would.

    Args:
        text: the line, without its end.
        size: its length in bytes where ``text`` is not all of it.
        hidden: texts that are shown as stars; a long line is cut after that.
    """
    text = text.rstrip("\r").rpartition("\r")[2]
    text = redaction.masked(SEQUENCE.sub("", text), hidden)
    length = len(text)
    shown = "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode()
        for c in text[:LONGEST]
    )
    if size is None and length <= LONGEST:
        return shown
    return f"{shown} [... a line of {size or length} {'bytes' if size else 'characters'}]"


class LineSplitter:
    """Cuts a stream of bytes into lines; of an endless line only its beginning is kept.

    Args:
        hidden: texts that are shown as stars.
    """

    def __init__(self, hidden: Sequence[str] = ()) -> None:
        self._hidden = hidden
        self._begun = b""
        self._dropped = 0

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` finishes, cleaned."""
        *ends, rest = data.split(b"\n")
        lines: list[str] = []
        for end in ends:
            self._add(end)
            lines.append(self.finish())
        self._add(rest)
        return lines

    @property
    def is_empty(self) -> bool:
        """Whether no line has been begun."""
        return not self._begun

    def finish(self) -> str:
        """The line that has been begun, cleaned; the next one begins."""
        size = len(self._begun) + self._dropped
        text = self._begun.decode("utf-8", "replace")
        line = clean(text, size if self._dropped else None, self._hidden)
        self._begun, self._dropped = b"", 0
        return line

    def _add(self, data: bytes) -> None:
        self._begun += data
        if len(self._begun) > _KEPT:
            # A progress bar is one endless line; what it has overwritten is nothing.
            _, overwrites, last = self._begun.rstrip(b"\r").rpartition(b"\r")
            if overwrites:
                self._begun, self._dropped = last, 0
            self._dropped += max(0, len(self._begun) - _KEPT)
            self._begun = self._begun[:_KEPT]


class LogReader:
    """Reads a log from its last lines on, while it may be written.

    Args:
        path: the log; it need not exist yet.
        hidden: texts that are shown as stars.
    """

    def __init__(self, path: Path, hidden: Sequence[str] = ()) -> None:
        self._path = path
        self._tail = Tail(path)
        self._splitter = LineSplitter(hidden)

    def skip_to_last(self, count: int) -> None:
        """Leave out all but the last ``count`` lines of what is there."""
        try:
            with files.opened(self._path) as file:
                self._tail.offset = _beginning_of_last(file, count)
        except OSError:
            return

    def read(self) -> Iterator[str]:
        """The lines that were finished since the last call."""
        for block in self._tail.blocks():
            yield from self._splitter.feed(block)

    def rest(self) -> list[str]:
        """The line that has no end yet, if there is one."""
        return [] if self._splitter.is_empty else [self._splitter.finish()]


def _beginning_of_last(file: BinaryIO, count: int) -> int:
    """Where the last ``count`` lines of a file begin, in bytes."""
    end = file.seek(0, 2)
    if count == 0 or end == 0:
        return end
    file.seek(end - 1)
    end -= file.read(1) == b"\n"  # the last line's end begins no line
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        block = file.read(end - start)
        ends = block.count(b"\n")
        if ends >= count:
            at = len(block)
            for _ in range(count):
                at = block.rindex(b"\n", 0, at)
            return start + at + 1
        count -= ends
        end = start
    return 0
