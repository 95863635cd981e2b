"""What each of several experiments has of the scripts: its launches, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from grpo_launch.bash.script import About, Remark, Script
from grpo_launch.importing.branches import are_branches
from grpo_launch.importing.files import Source
from grpo_launch.importing.grouping import Group
from grpo_launch.importing.launches import Launch, Sorted, Step
from grpo_launch.importing.order import Order
from grpo_launch.importing.wrappers import base


def shared(sources: Sequence[Source], order: Order, groups: Sequence[Group]) -> list[list[Source]]:
    """For each group the scripts, with what is told of them in its experiment."""
    if len(groups) == 1:
        return [[*sources]]
    by_script = [[*_shares(source, order, groups, n)] for n, source in enumerate(sources)]
    return [[shares[number] for shares in by_script] for number in range(len(groups))]


def _shares(source: Source, order: Order, groups: Sequence[Group], number: int) -> Iterator[Source]:
    """A script as each group has it."""
    sharing = _Sharing(tuple(_launches(order, group, number) for group in groups))
    for own in sharing.launches:
        if any(sharing.launches):
            yield _share(source, sharing, own)
        else:  # it starts nothing: what it prepares is for all of them
            yield source


def _launches(order: Order, group: Group, number: int) -> tuple[Launch, ...]:
    parts = [order.parts[member] for member in group.members]
    return tuple(part.launch for part in parts if part.number == number)


def _share(source: Source, sharing: _Sharing, own: tuple[Launch, ...]) -> Source:
    script, made = source.script, source.made
    if not own:
        return Source(Script(script.name, (), ()), Sorted(()))
    remarks = tuple(remark for remark in script.remarks if sharing.tells_remark(own, remark))
    others = tuple(step for step in made.others if sharing.tells_step(own, step))
    # ``wait`` is the order of the experiments, which is told with each of them.
    waits = tuple(
        step
        for step in made.waits
        if base(step.bare.words[0]) != "wait" and sharing.tells_step(own, step)
    )
    return Source(replace(script, remarks=remarks), Sorted(own, others, waits))


@dataclass(frozen=True)
class _Sharing:
    """Who tells what of a script.

    Attributes:
        launches: those of each group that stand in it.
    """

    launches: tuple[tuple[Launch, ...], ...]

    def tells_step(self, own: Sequence[Launch], step: Step) -> bool:
        """Whether a group tells of a call that is no launch.

        What is done before the first launch is told by all, what is done later by the next one, and
        what is done at the end by the last one.
        """
        if step.at >= min(launch.at for some in self.launches for launch in some):
            return self._is_next(own, step.at)
        return not all(are_branches(step.call.conditions, launch.call.conditions) for launch in own)

    def tells_remark(self, own: Sequence[Launch], remark: Remark) -> bool:
        """Whether a group tells of a remark.

        What was not understood is told by all that it may decide something for, anything else by
        the one with the next launch below it.
        """
        if remark.about in (About.UNREAD, About.WRONG):
            return remark.calls <= _end(own) or self._is_next(own, remark.calls)
        if remark.file:
            return self._is_next(own, remark.calls)
        below = [line for line in map(_line, filter(None, self.launches)) if line >= remark.line]
        return _line(own) == min(below) if below else _end(own) == self._last

    @property
    def _last(self) -> int:
        return max(map(_end, self.launches))

    def _is_next(self, own: Sequence[Launch], at: int) -> bool:
        """Whether a group is the one that starts next, or the last one where none does."""
        behind = [end for end in map(_end, self.launches) if end >= at]
        return _end(own) == min(behind, default=self._last)


def _end(launches: Sequence[Launch]) -> int:
    """The number of the last launch among the calls."""
    return max((launch.at for launch in launches), default=-1)


def _line(launches: Sequence[Launch]) -> int:
    return max(launch.call.end for launch in launches)
