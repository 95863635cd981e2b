"""What a rule finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from grpo_launch.errors import one_line


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

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.what}, {self.fix}")
