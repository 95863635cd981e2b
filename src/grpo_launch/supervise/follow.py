"""Follow a log while a process writes it."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import Path

_AT_MOST = 256 * 1024


class LogFollower:
    """Reads what was appended to a log since the last read.

    The process writes to the file itself, so following it never slows it down.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self) -> str:
        """The new text; of more than 256 KiB only the end, after a note."""
        try:
            with open(self._path, "rb") as file:
                size = file.seek(0, 2)
                if size < self._offset:  # somebody emptied it
                    self._offset = 0
                skipped = max(0, size - self._offset - _AT_MOST)
                file.seek(self._offset + skipped)
                data = file.read(_AT_MOST)
        except OSError:
            return ""
        self._offset += skipped + len(data)
        text = self._decoder.decode(data)
        return f"\n[{skipped} bytes not shown]\n{text}" if skipped else text


class LogAlarm:
    """Looks for text in what a log says.

    Args:
        meanings: what to look for, and what it means; each is reported once.
    """

    def __init__(self, meanings: Mapping[str, str]) -> None:
        self._meanings = dict(meanings)
        self._rest = ""

    def heard(self, text: str) -> list[str]:
        """Messages for what was found in ``text``, the next part of the log."""
        if not self._meanings or not text:
            return []
        text = self._rest + text
        found = [words for words in self._meanings if words in text]
        longest = max(len(words) for words in self._meanings)
        self._rest = text[-longest:]
        return [f"{words!r}: {self._meanings.pop(words)}" for words in found]
