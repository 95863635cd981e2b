"""What a rule finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from grpo_launch.errors import LaunchError, one_line


class Severity(Enum):
    """Whether a problem stops the launch."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration.

    Attributes:
        where: the file and key that said it.
        what: what is wrong.
        fix: what to write instead.
        severity: errors stop the launch, warnings are shown.
    """

    where: str
    what: str
    fix: str
    severity: Severity = Severity.ERROR

    @staticmethod
    def of(error: LaunchError) -> Problem:
        """What was found wrong before validation, or by preflight."""
        return Problem(error.where, error.what, error.fix)

    def below(self, places: Iterable[str]) -> bool:
        """Whether it is about a key at or below one of these places."""
        return any(self.where == place or self.where.startswith(f"{place}.") for place in places)

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.what}, {self.fix}")
