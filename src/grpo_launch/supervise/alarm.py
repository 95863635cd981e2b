"""Text in a log that means stale rollouts."""

from __future__ import annotations

from collections.abc import Mapping


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
