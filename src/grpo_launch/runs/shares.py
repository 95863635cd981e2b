"""What the seconds of a run went into: the cycles of all its starts, summed up."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grpo_launch.runs import cycles
from grpo_launch.runs.timing import Interval


@dataclass(frozen=True)
class Seconds:
    """A part of the cycles: the median, and the middle half of them (quartiles)."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Seconds:
        """Of at least one value."""
        if len(values) == 1:
            return Seconds(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return Seconds(median, low, high)


@dataclass(frozen=True)
class Split:
    """What a run's seconds went into.

    Attributes:
        cycles: how many were looked at; the first of each start of the learner is not.
        steps: optimizer steps in them.
        seconds, generating, sync, learning, other: of one cycle.
        server_idle, server_syncs, server_generates: shares of all seconds, together 1.
        learner_waits, learner_syncs, learner_learns, learner_other: the same of the learner.
        completions: of one cycle, the median.
        asked_at_once: the most in a single request.
        tokens: of one completion on the mean, or None.
        longest: tokens of a cycle's longest completion, the median, or None.
        overlaps: whether generations went on while the learner learned.
    """

    cycles: int
    steps: int
    seconds: Seconds
    generating: Seconds
    sync: Seconds
    learning: Seconds
    other: Seconds
    server_idle: float
    server_syncs: float
    server_generates: float
    learner_waits: float
    learner_syncs: float
    learner_learns: float
    learner_other: float
    completions: float
    asked_at_once: int
    tokens: float | None
    longest: float | None
    overlaps: bool

    @property
    def per_step(self) -> float:
        """Cycles of one optimizer step; less than 1 where a generation lasts for several."""
        return self.cycles / self.steps if self.steps else 1.0


def split(starts: Iterable[Iterable[Interval]]) -> Split | None:
    """Sum up a run; None where no cycle is left behind the first of each start."""
    found = [cycle for start in starts for cycle in cycles.of_start(start)[1:]]
    whole = sum(cycle.seconds for cycle in found)
    if not found or whole <= 0:
        return None

    def share(values: Iterable[float]) -> float:
        return min(1.0, max(0.0, sum(values) / whole))

    told = [cycle for cycle in found if cycle.tokens is not None and cycle.completions]
    completions = sum(cycle.completions for cycle in told)
    longest = [cycle.longest for cycle in found if cycle.longest is not None]
    return Split(
        cycles=len(found),
        steps=sum(cycle.steps for cycle in found),
        seconds=Seconds.of([cycle.seconds for cycle in found]),
        generating=Seconds.of([cycle.generating for cycle in found]),
        sync=Seconds.of([cycle.sync for cycle in found]),
        learning=Seconds.of([cycle.learning for cycle in found]),
        other=Seconds.of([cycle.other for cycle in found]),
        server_idle=share(cycle.server_idle for cycle in found),
        server_syncs=share(cycle.sync for cycle in found),
        server_generates=share(cycle.generating for cycle in found),
        learner_waits=share(cycle.waiting for cycle in found),
        learner_syncs=share(cycle.sync for cycle in found),
        learner_learns=share(cycle.learning for cycle in found),
        learner_other=share(cycle.other for cycle in found),
        completions=statistics.median(cycle.completions for cycle in found),
        asked_at_once=max(cycle.asked_at_once for cycle in found),
        tokens=sum(cycle.tokens or 0 for cycle in told) / completions if completions else None,
        longest=statistics.median(longest) if longest else None,
        overlaps=any(cycle.overlaps for cycle in found),
    )
