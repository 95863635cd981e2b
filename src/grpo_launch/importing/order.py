"""What a script starts one after the other, what side by side, and what instead of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from grpo_launch.importing.branches import parting
from grpo_launch.importing.launches import Launch, Step
from grpo_launch.importing.parts import Part
from grpo_launch.importing.reading import ENGINE
from grpo_launch.importing.wrappers import base


class Relation(Enum):
    """How a script starts a launch after another one."""

    AFTER = "after"  # when the other has ended
    BESIDE = "beside"  # while the other goes on
    INSTEAD = "instead of"  # only where it does not start the other


@dataclass(frozen=True)
class Order:
    """What happens when; launches are named by their numbers.

    Attributes:
        parts: all launches of all scripts, in their order.
        waits: of each script, the calls that wait for something.
    """

    parts: Sequence[Part]
    waits: Sequence[Sequence[Step]]

    def relation(self, one: int, other: int) -> Relation | None:
        """How ``other`` is started, which comes behind ``one``; None: in a script of its own."""
        first, second = self.parts[one], self.parts[other]
        if first.number != second.number:
            return None
        if self.excludes(one, other):
            return Relation.INSTEAD
        # A server in front never ends: what is below it is meant for another terminal.
        goes_on = first.launch.call.background or first.reading.kind == ENGINE
        is_over = not goes_on or self._awaited(first.launch, second)
        return Relation.AFTER if is_over else Relation.BESIDE

    def are_together(self, one: int, other: int) -> bool:
        """Whether both run at the same time, as far as anybody knows."""
        return self.relation(min(one, other), max(one, other)) in (None, Relation.BESIDE)

    def excludes(self, one: int, other: int) -> bool:
        """Whether a script starts only one of both: they are branches of one condition.

        Branches are read one behind the other, first that where the condition holds. Where that
        comes again, as in a loop, it is another round and decided anew.
        """
        first, last = min(one, other), max(one, other)
        if self.parts[first].number != self.parts[last].number:
            return False
        start, *behind = (part.launch.call.conditions for part in self.parts[first : last + 1])
        depth = parting(start, behind[-1]) if behind else None
        if depth is None:
            return False
        ways = [conditions[: depth + 1] for conditions in behind]
        return start[: depth + 1] not in ways[ways.index(ways[-1]) :]

    def _awaited(self, launch: Launch, other: Part) -> bool:
        """Whether a script waits for what it started before it starts another one."""
        return any(
            _ends_all(step) and {*step.call.conditions} <= {*other.launch.call.conditions}
            for step in self.waits[other.number]
            if launch.at < step.at < other.launch.at
        )


def _ends_all(step: Step) -> bool:
    """Whether a call waits for what was started before, and not for the first of many."""
    words = step.bare.words
    return base(words[0]) == "wait" and "-n" not in [word.known for word in words]
