"""What a person should know of an import: a line each, with the script's line where it has one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from grpo_launch.errors import one_line


class Sort(Enum):
    """What a finding means for the proof."""

    DIFFERENCE = "difference"  # the plan does something else than the script
    UNKNOWN = "unknown"  # known only when the script runs
    TRAP = "trap"  # the script itself is probably wrong
    NOTE = "note"  # worth a word, changes nothing


@dataclass(frozen=True)
class Finding:
    """One line for a person.

    Attributes:
        file: the script.
        line: in it, the first being 1; 0: none in particular.
        what: one line.
        sort: what it means for the proof.
    """

    file: str
    line: int
    what: str
    sort: Sort = Sort.NOTE

    @property
    def place(self) -> str:
        """``FILE:LINE``, or the file alone."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.place}: {one_line(self.what)}"
