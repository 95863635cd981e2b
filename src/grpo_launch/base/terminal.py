"""Text for a terminal, without what would act on it: colours, cursor, titles, and worse."""

from __future__ import annotations

import re

SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor (ECMA-48, 5.4)
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
    r"|[PX^_][^\x1b]*\x1b\\"  # device control and other strings
    r"|[ -/]*[0-Z\\^-~]"  # two-character escapes
    r")"
)

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What acts on a terminal (also by turning the direction of a text), but for tabs and new lines."""


class Painted(str):
    """Text with colours of ours; what it says has been :func:`escaped` before."""

    __slots__ = ()


_ACTS = re.compile(r"(?!\r)" + CONTROL.pattern)

_LONGEST = 256
"""Characters of a sequence that is waited for; a longer one has its first character escaped."""


def escaped(text: str) -> str:
    r"""Text with ``\u001b`` for each character that would act on a terminal; JSON stays JSON."""
    return CONTROL.sub(_escape, text)


class Filter:
    r"""Takes the sequences out of a text that comes in parts, across which one may go.

    What overwrites its line (``\r``, as progress bars do) stays.
    """

    def __init__(self) -> None:
        self._held = ""

    def take(self, part: str) -> str:
        """What can be shown of the text so far and has not been returned yet."""
        text = SEQUENCE.sub("", self._held + part)
        begun = text.rfind("\x1b")
        if begun == -1 or len(text) - begun > _LONGEST:
            begun = len(text)
        text, self._held = text[:begun], text[begun:]
        return _ACTS.sub(_escape, text)

    def rest(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return _ACTS.sub(_escape, held)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
