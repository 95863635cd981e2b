"""When a learner generated, synced weights and learned: ``timing.jsonl`` of a run.

The learner's plug-in writes it, and says what a line holds. A line that is torn, garbage or
of a kind that nobody knows is left out: what is known of the others stays true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import files
from grpo_launch.base.tailing import LineTail

FILE = "timing.jsonl"

GENERATE = "generate"
SYNC = "sync"
WAIT = "wait"
SCORE = "score"
SAVE = "save"
EVALUATE = "evaluate"
KINDS = (GENERATE, SYNC, WAIT, SCORE, SAVE, EVALUATE)

_START = "start"
_LARGEST = 1e12


@dataclass(frozen=True)
class Interval:
    """What the learner's main process spent time on.

    Attributes:
        kind: one of ``KINDS``.
        begin, end: seconds of the learner's monotonic clock.
        step: optimizer steps that had been made.
        train: False while it evaluated.
        background: whether the learner went on meanwhile (``async_generate``).
        completions: that a generation was asked for, or None.
        tokens: that they hold, or None.
        longest: tokens of the longest of them, or None.
    """

    kind: str
    begin: float
    end: float
    step: int
    train: bool = True
    background: bool = False
    completions: int | None = None
    tokens: int | None = None
    longest: int | None = None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


class Timings:
    """The intervals that a run has written so far; cheap to ask for again and again.

    Args:
        directory: the run directory.
    """

    def __init__(self, directory: Path) -> None:
        self._lines = LineTail(directory / FILE)
        self._starts: list[list[Interval]] = []

    def starts(self) -> Sequence[Sequence[Interval]]:
        """One list for each start of the learner; each in the order of their ends."""
        for line in self._lines.read():
            row = _row(line)
            if row.get("kind") == _START:
                self._starts.append([])
            elif self._starts and (interval := _interval(row)) is not None:
                self._starts[-1].append(interval)
        return self._starts


def read(directory: Path) -> Sequence[Sequence[Interval]]:
    """What the learner of the run in ``directory`` wrote; see :meth:`Timings.starts`."""
    return Timings(directory).starts()


def _row(line: bytes) -> dict[str, Any]:
    try:
        row: Any = files.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, Any]", row) if isinstance(row, dict) else {}


def _interval(row: dict[str, Any]) -> Interval | None:
    kind, begin, end = row.get("kind"), _seconds(row.get("begin")), _seconds(row.get("end"))
    step = _count(row.get("step"))
    if kind not in KINDS or begin is None or end is None or step is None or end < begin:
        return None
    return Interval(
        kind=kind,
        begin=begin,
        end=end,
        step=step,
        train=row.get("train") is not False,
        background=row.get("background") is True,
        completions=_count(row.get("requests")),
        tokens=_count(row.get("tokens")),
        longest=_count(row.get("longest")),
    )


def _seconds(value: Any) -> float | None:
    # Python's JSON has NaN, numbers of any length, and true is one.
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value <= _LARGEST else None


def _count(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= _LARGEST else None
