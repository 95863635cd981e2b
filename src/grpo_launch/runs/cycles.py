"""From intervals to what each half did in a generation cycle: pure arithmetic.

A *cycle* begins when the learner turns to a generation (with its weight sync, where one comes
right before) and ends when the next one begins. Its seconds are shared out twice:

- the learner's: ``sync``, ``waiting`` (for rollouts: it generates in the foreground, or waits
  for a generation of the background), ``other`` (rewards, checkpoints, evaluation) and, all
  the rest, ``learning``;
- the server's: ``generating`` (evaluations too), ``sync``, and the rest idle.

Both add up to the length of the cycle, also where a generation overlaps with learning.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grpo_launch.runs.timing import EVALUATE, GENERATE, SAVE, SCORE, SYNC, WAIT, Interval


@dataclass(frozen=True)
class Cycle:
    """One generation and what was learned from it, in seconds.

    Attributes:
        seconds: its length.
        sync: new weights go to the server; both halves take part.
        waiting, learning, other: the learner's, see the module.
        generating: the server's; with ``async_generate`` the learner learns meanwhile.
        first_step: optimizer steps that had been made when it began.
        steps: that were made in it; 0 where a step needs several generations.
        completions: that the server was asked for.
        tokens: that it generated, or None where one generation did not tell.
        longest: tokens of the longest completion, or None.
        asked_at_once: completions of the greatest single request.
        overlaps: whether it generated in the background.
    """

    seconds: float
    sync: float
    waiting: float
    learning: float
    other: float
    generating: float
    first_step: int
    steps: int
    completions: int
    tokens: int | None
    longest: int | None
    asked_at_once: int
    overlaps: bool

    @property
    def server_idle(self) -> float:
        """Seconds in which the server had nothing to do."""
        return max(0.0, self.seconds - self.sync - self.generating)


def of_start(intervals: Iterable[Interval]) -> list[Cycle]:
    """The whole cycles of one start of the learner, its first (which warms up) included.

    The last generation begins a cycle whose end nobody knows; it is left out.
    """
    known = _Line(intervals)
    scoring = _Line(i for i in known.intervals if i.kind in (SCORE, EVALUATE))
    evaluating = _Line(i for i in known.intervals if i.kind == EVALUATE)
    syncs = _Line(i for i in known.intervals if i.kind == SYNC and not evaluating.covers(i))
    # What the learner generates while it scores replaces some completions (dynamic sampling).
    heads = [
        i
        for i in known.intervals
        if i.kind == GENERATE and i.train and (i.background or not scoring.covers(i))
    ]
    begins: list[float] = []
    before = float("-inf")
    for head in heads:
        begins.append(min(head.begin, syncs.first_begin_after(before)))
        before = head.begin
    ends = begins[1:]
    return [
        _cycle(known.between(begin, end), begin, end, head, after.step - head.step)
        for begin, end, head, after in zip(begins, ends, heads, heads[1:], strict=False)
    ]


def by_step(starts: Iterable[Iterable[Interval]]) -> dict[int, Cycle]:
    """The cycle that each optimizer step belongs to; of a step made twice the later one.

    The first cycle of each start of the learner is among them: it was that slow. Cycles of
    which a step needs several are one.
    """
    found: dict[int, Cycle] = {}
    for start in starts:
        pending: Cycle | None = None
        for cycle in of_start(start):
            whole = cycle if pending is None else _joined(pending, cycle)
            pending = None if whole.steps else whole
            for step in range(whole.first_step + 1, whole.first_step + whole.steps + 1):
                found[step] = whole
    return found


def _joined(first: Cycle, second: Cycle) -> Cycle:
    """Two cycles that follow each other as one."""
    tokens = _total([first.tokens, second.tokens])
    longest = [cycle.longest for cycle in (first, second) if cycle.longest is not None]
    return Cycle(
        seconds=first.seconds + second.seconds,
        sync=first.sync + second.sync,
        waiting=first.waiting + second.waiting,
        learning=first.learning + second.learning,
        other=first.other + second.other,
        generating=first.generating + second.generating,
        first_step=first.first_step,
        steps=first.steps + second.steps,
        completions=first.completions + second.completions,
        tokens=tokens,
        longest=max(longest, default=None),
        asked_at_once=max(first.asked_at_once, second.asked_at_once),
        overlaps=first.overlaps or second.overlaps,
    )


def _cycle(here: Sequence[Interval], begin: float, end: float, head: Interval, steps: int) -> Cycle:
    """The cycle from ``begin`` to ``end`` that begins with the generation ``head``."""
    outside, scoring = _spans(here, (EVALUATE, SAVE)), _spans(here, (SCORE,))
    waiting = _spans([i for i in here if not i.background], (GENERATE, WAIT))
    sync = _spans(here, (SYNC,))
    learner = _shared_out(begin, end, [outside, sync, waiting, scoring])
    # An evaluation's own generations keep the server busy.
    generating = _shared_out(begin, end, [_spans(here, (GENERATE,)), outside, sync])[0]
    own = [i for i in here if i.kind == GENERATE and i.train and begin <= i.begin]
    return Cycle(
        seconds=end - begin,
        sync=learner[1],
        waiting=learner[2],
        learning=max(0.0, end - begin - sum(learner)),
        other=learner[0] + learner[3],
        generating=min(generating, end - begin - learner[1]),
        first_step=head.step,
        steps=max(0, steps),
        completions=sum(i.completions or 0 for i in own),
        tokens=_total([i.tokens for i in own]),
        longest=max((i.longest for i in own if i.longest is not None), default=None),
        asked_at_once=max((i.completions or 0 for i in own), default=0),
        overlaps=any(i.background for i in own),
    )


class _Line:
    """Intervals in the order of their beginning, asked for in logarithmic time."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self.intervals = sorted(intervals, key=lambda i: (i.begin, i.end))
        self._begins = [i.begin for i in self.intervals]
        self._latest_ends = list(itertools.accumulate((i.end for i in self.intervals), max))

    def covers(self, interval: Interval) -> bool:
        """Whether ``interval`` lies within one of them."""
        index = bisect.bisect_right(self._begins, interval.begin)
        return index > 0 and self._latest_ends[index - 1] >= interval.end

    def first_begin_after(self, moment: float) -> float:
        """The first beginning after ``moment``, or infinity."""
        index = bisect.bisect_right(self._begins, moment)
        return self._begins[index] if index < len(self._begins) else float("inf")

    def between(self, begin: float, end: float) -> list[Interval]:
        """Those that share a moment with ``begin`` to ``end``."""
        first = bisect.bisect_right(self._latest_ends, begin)
        last = bisect.bisect_left(self._begins, end)
        return [i for i in self.intervals[first:last] if i.end > begin]


_Spans = list[tuple[float, float]]


def _spans(intervals: Iterable[Interval], kinds: Sequence[str]) -> _Spans:
    return [(i.begin, i.end) for i in intervals if i.kind in kinds]


def _shared_out(begin: float, end: float, kinds: Sequence[_Spans]) -> list[float]:
    """Seconds of ``begin`` to ``end`` that each kind takes, none counted twice.

    Args:
        begin: of what is shared out.
        end: of it.
        kinds: the spans of each kind; they may overlap, and an earlier kind wins.
    """
    edges = {begin, end}
    edges |= {t for spans in kinds for span in spans for t in span if begin < t < end}
    seconds = [0.0] * len(kinds)
    for left, right in itertools.pairwise(sorted(edges)):
        for index, spans in enumerate(kinds):
            if any(a <= left and right <= b for a, b in spans):
                seconds[index] += right - left
                break
    return seconds


def _total(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None
