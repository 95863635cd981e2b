"""What an import tells on standard error: findings, what was added, and the verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from grpo_launch.bash.script import Kind, Unknown
from grpo_launch.importing import callers
from grpo_launch.importing.draft import Draft
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.proof import Proof


def show(draft: Draft, verdict: Proof) -> None:
    """A line for each finding, and the verdict."""
    shown = [*draft.findings, *(f for f in verdict.differences if f not in draft.findings)]
    shown += [finding for finding in verdict.unknowns if finding not in shown]
    for finding in shown:
        print(_prefixed(finding), file=sys.stderr)
    variables, positionals = undecided(draft)
    if variables:
        print(f"decided by --set NAME=VALUE: {', '.join(variables)}", file=sys.stderr)
    if positionals:
        print(f"decided behind --: {', '.join(positionals)}", file=sys.stderr)
    if draft.exports:
        print(f"to be exported by you: {', '.join(draft.exports)}", file=sys.stderr)
    if verdict.added:
        print(f"added by the launcher: {'; '.join(verdict.added)}", file=sys.stderr)
    for line in verdict.refused:
        print(f"role=check says: {line}", file=sys.stderr)
    print(verdict, file=sys.stderr)


def _prefixed(finding: Finding) -> str:
    word = {Sort.DIFFERENCE: "difference: ", Sort.UNKNOWN: "unknown: ", Sort.TRAP: "trap: "}
    return f"{finding.place}: {word.get(finding.sort, '')}{finding.what}"


def undecided(draft: Draft) -> tuple[list[str], list[str]]:
    """The variables and the positionals that would make more of the launches known."""
    unknowns = [*_unknowns(draft)]
    names = {one.name for one in unknowns if one.kind is not Kind.BRANCH}
    for part in draft.chosen.all:
        names |= {name for condition in part.launch.call.conditions for name in condition.names}
        names |= {*callers.names([part.launch.words, part.environ])}
    positionals = sorted(int(name) for name in names if name.isdigit())
    variables = sorted(name for name in names if name.isidentifier() and name != "PWD")
    return variables, [f"${number}" for number in positionals]


def _unknowns(draft: Draft) -> Iterator[Unknown]:
    for part in draft.chosen.all:
        for value in (*part.launch.words, *part.environ.values()):
            yield from value.unknowns
        if part.unknown_devices is not None:
            yield from part.unknown_devices.unknowns
