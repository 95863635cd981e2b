"""What a rule finds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from grpo_launch.errors import LaunchError, one_line, tagged


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
        meant: the name that a misspelled key was meant to have; what is said of that key follows
            from the misspelling.
        rule: what ``checks.warn`` may name to make a warning of it; empty: nothing. The same
            problem may be found by two rules.
    """

    where: str
    what: str
    fix: str
    severity: Severity = Severity.ERROR
    meant: str = ""
    rule: str = field(default="", compare=False)

    @staticmethod
    def of(error: LaunchError) -> Problem:
        """What was found wrong before validation, or by preflight."""
        return Problem(error.where, error.what, error.fix, rule=error.rule)

    def below(self, places: Iterable[str]) -> bool:
        """Whether it is about a key at or below one of these places."""
        return any(self.where == place or self.where.startswith(f"{place}.") for place in places)

    def follows_from(self, other: Problem) -> bool:
        """Whether it is about the value that is wrong there, or about the key that was meant."""
        if other is self or other.severity is not Severity.ERROR:
            return False
        if not other.meant:
            return self.where == other.where
        if re.split(r"[.:\s]+", self.where)[-1] == other.meant:
            return True
        # A name of one word, such as model, may be prose.
        named = re.search(rf"\b{re.escape(other.meant)}\b", self.what)
        return "_" in other.meant and named is not None

    @property
    def line(self) -> str:
        """What is shown: with the name of its rule, if that may be a warning."""
        return tagged(str(self), self.rule)

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.what}, {self.fix}")
