"""What an import tells on standard error: findings, what was added, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grpo_launch.bash.script import Call, Condition, Unknown
from grpo_launch.config.kinds import counted
from grpo_launch.importing import callers
from grpo_launch.importing.branches import is_preparation
from grpo_launch.importing.draft import Draft
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.proof import Proof
from grpo_launch.importing.remarks import ENVIRONMENT


def lines(draft: Draft, verdict: Proof) -> Iterator[str]:
    """One for each finding, and the verdict."""
    shown = [*draft.findings, *(f for f in verdict.differences if f not in draft.findings)]
    shown += [finding for finding in verdict.unknowns if finding not in shown]
    yield from map(_prefixed, shown)
    variables, positionals, conditions = undecided(draft)
    if variables:
        yield f"decided by --set NAME=VALUE: {', '.join(variables)}"
    if positionals:
        yield f"decided behind --: {', '.join(positionals)}"
    if conditions:
        yield f"decided by --true LINE or --false LINE: {', '.join(map(str, conditions))}"
    if draft.exports:
        yield f"to be exported by you: {', '.join(draft.exports)}"
    if verdict.added:
        yield f"added by the launcher: {'; '.join(verdict.added)}"
    yield from (f"role=check says: {line}" for line in verdict.refused)
    yield str(verdict)


def total(count: int, not_equal: Sequence[str]) -> str:
    """The verdict on several experiments, the files of those that are not proven being given."""
    said = counted(count, "experiment")
    if not not_equal:
        return f"{said}, {'all ' if count > 1 else ''}proven equal"
    return f"{said}, {count - len(not_equal)} proven equal, not proven: {', '.join(not_equal)}"


def _prefixed(finding: Finding) -> str:
    word = {Sort.DIFFERENCE: "difference: ", Sort.UNKNOWN: "unknown: ", Sort.TRAP: "trap: "}
    return f"{finding.place}: {word.get(finding.sort, '')}{finding.what}"


def undecided(draft: Draft) -> tuple[list[str], list[str], list[int]]:
    """What would make more of the launches known: variables, positionals, lines of conditions."""
    unknowns = [*_unknowns(draft)]
    names = {name for one in unknowns for name in (one.name, *one.deciders)}
    lines = {line for one in unknowns for line in one.lines}
    for part in draft.chosen.all:
        call = part.launch.call
        names |= {name for condition in call.conditions for name in condition.names}
        lines |= {one.line for one in call.conditions if _is_asked(call, one)}
        active = part.launch.environment.name
        where = callers.marked_value(call.cwd)
        names |= {one.name for one in where.unknowns}
        names |= {*callers.to_export([part.launch.words, part.environ, active, where])}
    positionals = sorted(int(name) for name in names if name.isdigit())
    variables = sorted(name for name in names if name.isidentifier() and name != "PWD")
    return variables, [f"${number}" for number in positionals], sorted(lines)


def _is_asked(call: Call, condition: Condition) -> bool:
    """Whether only the condition itself can be decided, which stands in the script."""
    entered = ENVIRONMENT.match(condition.text) or is_preparation(condition)
    return not condition.names and not entered and call.file == ""


def _unknowns(draft: Draft) -> Iterator[Unknown]:
    for part in draft.chosen.all:
        for value in (*part.launch.words, *part.environ.values()):
            yield from value.unknowns
        yield from part.launch.environment.name.unknowns
        if part.unknown_devices is not None:
            yield from part.unknown_devices.unknowns
