"""What a rehearsal printed: a line ``rehearsal {...}`` a stage, JSON, the last one the verdict.

    stage     load, parse, ...: what was tried
    verdict   ok: go on; passed: to the end; refused: the learner will not start with this;
              unknown: nothing can be said. Only ``refused`` stops a run.
    message   why, one sentence
    key       the argument that it is about, or empty
    warnings  sentences
    rows, longest   how many rows were read, and the tokens of their longest prompt

Everything else in its log is that of plugins and libraries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from grpo_launch.base import redaction
from grpo_launch.errors import RefusedError, one_line
from grpo_launch.plan import Rehearsal

PASSED = "passed"
REFUSED = "refused"
UNKNOWN = "unknown"
STOPPED = "stopped"
"""Not finished when the run went on without it."""

_MARK = b"rehearsal {"
_MOST = 5
"""Warnings that are told."""

_LONGEST = 600
"""Characters of a message."""


@dataclass(frozen=True)
class Verdict:
    """What a rehearsal said; see above."""

    verdict: str
    seconds: float = 0.0
    message: str = ""
    key: str = ""
    rows: int | None = None
    longest: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """One line for a console; empty where there is nothing to tell."""
        took = f"({self.seconds:.1f} s)"
        if self.verdict == PASSED:
            read = "" if self.rows is None else f", {self.rows} rows read"
            longest = "" if self.longest is None else f", longest prompt {self.longest} tokens"
            return f"rehearsal: the learner takes its arguments{read}{longest} {took}"
        if self.verdict == UNKNOWN:
            return f"rehearsal: no verdict on the learner's arguments: {self.message} {took}"
        return ""

    def error(self, rehearsal: Rehearsal) -> RefusedError | None:
        """The error that ends a run, or None where this is no refusal."""
        if self.verdict != REFUSED:
            return None
        where = rehearsal.keys.get(self.key, rehearsal.arguments_file)
        fix = "correct it; rehearse=false starts without this check"
        return RefusedError(where, f"the learner will refuse this: {self.message}", fix)


def read(end: bytes, status: int | None, seconds: float, hidden: Sequence[str]) -> Verdict:
    """The verdict in a log.

    Args:
        end: what the log ends with.
        status: of the process; None: it was ended.
        seconds: that it took.
        hidden: texts that are shown as stars.
    """
    said = next(_answers(end), {})
    verdict = said.get("verdict")
    if verdict not in (PASSED, REFUSED, UNKNOWN):
        stage = _text(said, "stage", hidden)
        last = f" after {stage}" if stage else ""
        how = "was ended" if status is None else f"ended with status {status}"
        return Verdict(UNKNOWN, seconds, f"it {how}{last}")
    listed = cast("list[Any]", said["warnings"]) if type(said.get("warnings")) is list else []
    return Verdict(
        verdict,
        seconds,
        _text(said, "message", hidden),
        _text(said, "key", hidden),
        _number(said, "rows"),
        _number(said, "longest"),
        tuple(_shown(str(warning), hidden) for warning in listed[:_MOST]),
    )


def _answers(end: bytes) -> Iterator[Mapping[str, Any]]:
    """What the log says, the newest first."""
    for line in reversed(end.split(b"\n")):
        if line.startswith(_MARK):
            try:
                yield json.loads(line[len(_MARK) - 1 :])
            except (ValueError, RecursionError):
                continue


def _text(said: Mapping[str, Any], name: str, hidden: Sequence[str]) -> str:
    value = said.get(name)
    return _shown(value, hidden) if isinstance(value, str) else ""


def _shown(text: str, hidden: Sequence[str]) -> str:
    line = one_line(redaction.masked(text, hidden))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _number(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    return value if type(value) is int else None
