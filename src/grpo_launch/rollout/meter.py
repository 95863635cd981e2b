"""What a collection has done so far, in constant memory, and what it waits for."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MODEL, ENVIRONMENT = "model", "environment"

_CLEARLY = 0.6
"""Share of the waiting from which one of the two is called the limit."""

_REASONS = 1000
"""Different reasons that are counted; more are counted together."""


class Spread:
    """Mean, extremes and deviation of numbers that are not kept (Welford)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0
        self.least = math.inf
        self.most = -math.inf

    def add(self, value: float) -> None:
        """One more."""
        self.count += 1
        away = value - self.mean
        self.mean += away / self.count
        self._squares += away * (value - self.mean)
        self.least = min(self.least, value)
        self.most = max(self.most, value)

    def as_dict(self) -> dict[str, float] | None:
        """``mean, std, min, max``; None where there was nothing."""
        if not self.count:
            return None
        std = math.sqrt(max(0.0, self._squares) / self.count)
        return {"mean": self.mean, "std": std, "min": self.least, "max": self.most}


class Meter:
    """Counts of episodes, and the seconds that they waited for model and environment.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.started = clock()
        self.finished = self.resumed = self.failed = self.turns = 0
        self.tokens = 0
        """Completion tokens of this attempt."""
        self.spent = 0
        """Prompt and completion tokens of all attempts."""
        self.rewards = Spread()
        self.lengths = Spread()
        self.reasons: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.waiting = {MODEL: 0, ENVIRONMENT: 0}
        self.waited_s = {MODEL: 0.0, ENVIRONMENT: 0.0}
        self.blocked_s = 0.0
        """Seconds in which an environment's code kept the event loop from everything else."""
        self._last = self.started

    def begin(self, what: str) -> None:
        """An episode begins to wait."""
        self._pass()
        self.waiting[what] += 1

    def end(self, what: str) -> None:
        """It goes on."""
        self._pass()
        self.waiting[what] -= 1

    def add(self, row: Mapping[str, Any], *, resumed: bool = False) -> None:
        """An episode has ended, or had ended in an attempt before."""
        self.turns += row["turns"]
        if resumed:
            self.resumed += 1
            self.spent += row["prompt_tokens"] + row["completion_tokens"]
        self._count(self.reasons, row["finish_reason"])
        if row["error"]:
            self.failed += 1
            self._count(self.errors, row["error"])
            return
        self.finished += 1
        self.lengths.add(row["completion_tokens"])
        if row["reward"] is not None:
            self.rewards.add(row["reward"])

    @property
    def ended(self) -> int:
        """Episodes that need no more work, failed ones too."""
        return self.finished + self.failed

    @property
    def elapsed(self) -> float:
        """Seconds of this attempt."""
        return self.clock() - self.started

    @property
    def limit(self) -> str:
        """``model`` or ``environment``, whichever episodes wait for; empty: both alike."""
        self._pass()
        model, environment = self.waited_s[MODEL], self.waited_s[ENVIRONMENT]
        if self.blocked_s > self.elapsed / 2:  # the answers of the model waited for it, too
            return ENVIRONMENT
        if (both := model + environment) <= 0:
            return ""
        if model / both >= _CLEARLY:
            return MODEL
        return ENVIRONMENT if environment / both >= _CLEARLY else ""

    def figures(self, total: int) -> dict[str, Any]:
        """A line of ``progress.jsonl``.

        Args:
            total: episodes in all.
        """
        elapsed = self.elapsed
        rate = 1 / elapsed if elapsed > 0 else 0.0
        return {
            "step": self.finished,
            "max_steps": total,
            "reward": self.rewards.mean if self.rewards.count else None,
            "completion_length": self.lengths.mean,
            "elapsed": round(elapsed, 3),
            "episodes_per_s": round((self.ended - self.resumed) * rate, 3),
            "tokens_per_s": round(self.tokens * rate, 3),
            "waiting_for_model": self.waiting[MODEL],
            "waiting_for_environment": self.waiting[ENVIRONMENT],
            "failed": self.failed,
            "tokens_spent": self.spent,
            "limit": self.limit,
        }

    def _pass(self) -> None:
        now = self.clock()
        for what, count in self.waiting.items():
            self.waited_s[what] += count * (now - self._last)
        self._last = now

    @staticmethod
    def _count(counter: Counter[str], reason: str) -> None:
        counter[reason if reason in counter or len(counter) < _REASONS else "other"] += 1


class Measured(Generic[T]):
    """A coroutine whose own work, between its waits, counts as blocking the loop."""

    def __init__(self, coroutine: Any, meter: Meter) -> None:
        self._coroutine = coroutine
        self._meter = meter

    def __await__(self) -> Generator[Any, Any, T]:
        value: Any = None
        error: BaseException | None = None
        while True:
            begun = self._meter.clock()
            try:
                if error is None:
                    future = self._coroutine.send(value)
                else:
                    future = self._coroutine.throw(error)
            except StopIteration as done:
                return done.value
            finally:
                self._meter.blocked_s += self._meter.clock() - begun
            value = error = None
            try:
                value = yield future
            except BaseException as thrown:
                error = thrown
