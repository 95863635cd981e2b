"""Conditions of two calls: whether these are branches of one condition."""

from __future__ import annotations

from collections.abc import Sequence

from grpo_launch.bash.script import Condition


def are_branches(one: Sequence[Condition], other: Sequence[Condition]) -> bool:
    """Whether conditions are those of two branches, in whichever order."""
    return parting(one, other) is not None or parting(other, one) is not None


def parting(one: Sequence[Condition], other: Sequence[Condition]) -> int | None:
    """Where two ways part, if the second is the one where that condition does not hold."""
    for depth, (first, second) in enumerate(zip(one, other, strict=False)):
        if first != second:
            return depth if second == Condition(first.line, f"not {first.text}") else None
    return None
