"""Scripts as several experiments: their names, and what is said above each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from grpo_launch.errors import ConfigError
from grpo_launch.importing.experiment import reading_of
from grpo_launch.importing.files import Source
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.grouping import Group, grouped
from grpo_launch.importing.order import Order, Relation
from grpo_launch.importing.parts import part
from grpo_launch.importing.sharing import shared
from grpo_launch.importing.writing import is_plain

_STARTS = {
    Relation.AFTER: ": the script starts it after the end of {}.",
    Relation.BESIDE: ": the script starts it beside {}.",
    Relation.INSTEAD: ": the script starts it instead of {}.",
}


@dataclass(frozen=True)
class Experiment:
    """One of several experiments of scripts.

    Attributes:
        name: of its file, without ``.yaml``.
        script: where its training stands, or the first of its servers.
        sources: what it has of the scripts.
        relation: how it starts after the one before it of the same script; None: it is the first.
        place: which it is of its script, and how it starts; empty: there is no other.
        findings: what is to be said of servers that other experiments start as well.
    """

    name: str
    script: str
    sources: tuple[Source, ...]
    relation: Relation | None = None
    place: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def scripts(self) -> list[str]:
        """The scripts that its launches stand in."""
        return [each.script.name for each in self.sources if each.made.launches]

    @property
    def lines(self) -> set[int]:
        """Where its launches begin."""
        return {line for _, line in self._places}

    def concerns(self, finding: Finding) -> bool:
        """Whether a finding is about one of its launches, or about all of a script of them."""
        whole = {(script, 0) for script, _ in self._places}
        return (finding.file, finding.line) in self._places | whole

    @property
    def _places(self) -> set[tuple[str, int]]:
        launches = (launch for each in self.sources for launch in each.made.launches)
        return {(launch.script, launch.call.line) for launch in launches}


def experiments(sources: Sequence[Source]) -> list[Experiment]:
    """What scripts start, as experiments, in their order.

    Raises:
        ConfigError: two of them would have one name.
    """
    readings = [
        part(launch, reading_of(launch, {}), number)
        for number, source in enumerate(sources)
        for launch in source.made.launches
    ]
    order = Order(readings, [source.made.waits for source in sources])
    groups = grouped(order)
    made = shared(sources, order, groups)
    names = _names(order, groups)
    return [
        Experiment(
            names[n],
            order.parts[group.lead].launch.script,
            tuple(made[n]),
            *_placed(order, groups, names, n),
            tuple(_common(order, groups, names, n)),
        )
        for n, group in enumerate(groups)
    ]


def _names(order: Order, groups: Sequence[Group]) -> list[str]:
    """The script's name, and the line where a script gives several, and a number after that."""
    leads = [order.parts[group.lead].launch for group in groups]
    stems = [_stem(lead.script) for lead in leads]
    lines = [(stem, lead.call.line) for stem, lead in zip(stems, leads, strict=True)]
    names = [
        stem if stems.count(stem) == 1 else f"{stem}_{lead.call.line}{_number(lines, n)}"
        for n, (stem, lead) in enumerate(zip(stems, leads, strict=True))
    ]
    for name, count in Counter(names).items():
        if count > 1:
            same = " and ".join(lead.script for at, lead in enumerate(leads) if names[at] == name)
            raise ConfigError(same, f"would both become {name}.yaml", "import one at a time")
    return names


def _number(lines: Sequence[tuple[str, int]], n: int) -> str:
    """Which of several of one line it is."""
    return f"_{lines[: n + 1].count(lines[n])}" if lines.count(lines[n]) > 1 else ""


def _stem(path: str) -> str:
    """The name of a script as one that ``config=`` takes without quotes."""
    name = "imported" if path == "stdin" else PurePath(path).stem
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return name if is_plain(name) else f"_{name}"


def _placed(
    order: Order, groups: Sequence[Group], names: Sequence[str], n: int
) -> tuple[Relation | None, str]:
    """How an experiment starts, and which it is of its script."""
    script = order.parts[groups[n].lead].number
    same = [at for at, group in enumerate(groups) if order.parts[group.lead].number == script]
    if len(same) == 1:
        return None, ""
    at = same.index(n)
    place = f"{at + 1} of {len(same)} of {order.parts[groups[n].lead].launch.script}"
    if at == 0:
        return None, f"{place}."
    relation = _relation(order, groups, same[at - 1], n)
    assert relation is not None  # both stand in one script
    others = [names[before] for before in _awaited(order, groups, same[: at + 1])]
    said = " and ".join(others) if relation is Relation.AFTER else names[same[at - 1]]
    return relation, place + _STARTS[relation].format(said)


def _awaited(order: Order, groups: Sequence[Group], same: Sequence[int]) -> list[int]:
    """The one before the last, and what runs beside it that the last waits for as well."""
    *before, last = same
    found = [before.pop()]
    while before and _relation(order, groups, before[-1], found[0]) is Relation.BESIDE:
        if _relation(order, groups, before[-1], last) is not Relation.AFTER:
            break
        found.insert(0, before.pop())
    return found


def _common(
    order: Order, groups: Sequence[Group], names: Sequence[str], n: int
) -> Iterator[Finding]:
    """The servers that other experiments start as well."""
    for member in groups[n].members:
        one = order.parts[member]
        same = [at for at, group in enumerate(groups) if at != n and member in group.members]
        beside = [at for at in same if _relation(order, groups, n, at) is Relation.BESIDE]
        for at in beside:
            what = f"{one.launch.program} is started by {names[at]} as well, which runs beside it"
            what = f"{what}: start one of both with role=learner"
            yield one.finding(what, Sort.DIFFERENCE)
        if others := [names[at] for at in same if at not in beside]:
            yield one.finding(f"{one.launch.program} is started by {', '.join(others)} as well")


def _relation(order: Order, groups: Sequence[Group], one: int, other: int) -> Relation | None:
    """How the later of two experiments starts."""
    first, second = sorted((one, other))
    return order.relation(groups[first].lead, groups[second].lead)


def order_of(made: Sequence[Experiment]) -> str:
    """How the script starts its experiments, to be put behind a verdict; empty: nobody knows."""
    relations = {each.relation for each in made} - {None}
    if not relations or len({each.script for each in made}) > 1:
        return ""
    if relations == {Relation.AFTER}:
        return "; the script starts them one after the other, in this order"
    if relations == {Relation.BESIDE}:
        return "; the script starts them side by side"
    if relations == {Relation.INSTEAD}:
        return "; the script starts one of them"
    if Relation.INSTEAD in relations:
        return "; the script starts them in this order, some of them instead of others"
    return "; the script starts them in this order, some of them side by side"
