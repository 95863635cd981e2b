"""An experiment that is being written: keys with comments, and what could not be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from grpo_launch.importing import callers
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.parts import Chosen, Part

Path = tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One key.

    Attributes:
        path: the keys from the top.
        value: plain data.
        comment: behind it; empty: none.
    """

    path: Path
    value: Any
    comment: str = ""


@dataclass(frozen=True)
class Missing:
    """A key whose value is not known: it is written as a comment.

    Attributes:
        path: the keys from the top.
        text: the value as the script says it.
        why: one line.
    """

    path: Path
    text: str
    why: str


@dataclass(frozen=True)
class Draft:
    """An experiment.

    Attributes:
        lines: keys, none twice.
        missing: what is not known.
        findings: what a person should know.
        exports: variables with secrets, which the caller must export.
        chosen: the parts that it is made of.
        role: which role starts all of it.
        cwd: where the script starts its launches, as it says it; ``.``: where it was started.
    """

    lines: tuple[Line, ...]
    missing: tuple[Missing, ...]
    findings: tuple[Finding, ...]
    exports: tuple[str, ...]
    chosen: Chosen
    role: str
    cwd: str = "."

    @property
    def variables(self) -> list[str]:
        """Those of the caller that keys hold."""
        return callers.names([line.value for line in self.lines])


@dataclass
class Notes:
    """What is collected while an experiment is made."""

    lines: dict[Path, Line] = field(default_factory=dict[Path, Line])
    missing: list[Missing] = field(default_factory=list[Missing])
    findings: list[Finding] = field(default_factory=list[Finding])
    exports: list[str] = field(default_factory=list[str])

    def put(self, path: Path, value: Any, comment: str = "") -> None:
        """Set a key; what was said of it before is replaced."""
        self.lines[path] = Line(path, value, comment)

    def lack(self, path: Path, text: str, finding: Finding) -> None:
        """Note a key whose value is not known."""
        self.missing.append(Missing(path, text, f"{finding.place}: {finding.what}"))
        self.findings.append(finding)

    def say(self, finding: Finding) -> None:
        """Note a finding; one that was noted already is not repeated."""
        if finding not in self.findings:
            self.findings.append(finding)

    def ask(self, one: Part, text: str, value: Any) -> None:
        """Note the variables of the caller that a value holds, where it holds any.

        Those that every environment has are there, as they are for the script.

        Args:
            one: the part that it belongs to.
            text: what the script says, for the message.
            value: words, or plain data.
        """
        if variables := callers.to_export(value):
            self.say(one.finding(callers.what(text, variables), Sort.UNKNOWN))

    def difference(self, file: str, line: int, what: str) -> None:
        """Note that the plan does something else than the script."""
        self.say(Finding(file, line, what, Sort.DIFFERENCE))


def path_of(key: str, sections: Sequence[str]) -> Path:
    """Where a dotted key of the configuration stands in the file."""
    first, _, rest = key.partition(".")
    if first != "train":
        return (first, *rest.split(".", 1)) if rest else (first,)
    return tuple(rest.split(".", 1)) if sections else (rest,)
