"""What is counted, and which of model and environment is called the limit."""

from __future__ import annotations

import asyncio
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.rollout.meter import ENVIRONMENT, MODEL, Measured, Meter, Spread


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50))
def test_a_spread_is_that_of_the_numbers(values: list[float]) -> None:
    spread = Spread()
    for value in values:
        spread.add(value)
    expected = (statistics.fmean(values), statistics.pstdev(values), min(values), max(values))
    assert tuple((spread.as_dict() or {}).values()) == pytest.approx(expected, abs=1e-6)


def test_a_spread_of_nothing() -> None:
    assert Spread().as_dict() is None


@pytest.mark.parametrize(
    ("model_s", "environment_s", "blocked_s", "limit"),
    [
        (0, 0, 0, ""),
        (9, 1, 0, "model"),
        (6, 4, 0, "model"),
        (5, 5, 0, ""),
        (4, 6, 0, "environment"),
        (0, 1, 0, "environment"),
        (9, 1, 6, "environment"),  # while it blocks, the others' answers wait as well
        (9, 1, 4, "model"),
    ],
)
def test_the_limit(model_s: float, environment_s: float, blocked_s: float, limit: str) -> None:
    clock = Clock()
    meter = Meter(clock)
    for what, seconds in ((MODEL, model_s), (ENVIRONMENT, environment_s)):
        meter.begin(what)
        clock.now += seconds
        meter.end(what)
    meter.blocked_s = blocked_s
    assert meter.limit == limit


def test_who_waits_is_counted_together() -> None:
    clock = Clock()
    meter = Meter(clock)
    for _ in range(3):
        meter.begin(MODEL)
    clock.now = 2
    assert meter.figures(10)["waiting_for_model"] == 3
    assert meter.waited_s[MODEL] == 6


def row(reward: float | None = 1.0, error: str = "", tokens: int = 4) -> dict[str, object]:
    reason = "error" if error else "stop"
    return {
        "reward": reward,
        "error": error,
        "turns": 2,
        "prompt_tokens": 3,
        "completion_tokens": tokens,
        "finish_reason": reason,
    }


def test_the_figures() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.add(row(0.0), resumed=True)
    meter.add(row(1.0, tokens=8))
    meter.add(row(None, "broken"))
    meter.tokens = 8
    clock.now = 4
    assert meter.figures(5) == {
        "step": 2,
        "max_steps": 5,
        "reward": 0.5,
        "completion_length": 6.0,
        "elapsed": 4,
        "episodes_per_s": 0.5,
        "tokens_per_s": 2.0,
        "failed": 1,
        "tokens_spent": 7,
        "waiting_for_model": 0,
        "waiting_for_environment": 0,
        "limit": "",
    }


def test_reasons_do_not_grow_without_end() -> None:
    meter = Meter()
    for number in range(3000):
        meter.add(row(error=f"reason {number}"))
    assert len(meter.errors) == 1001
    assert sum(meter.errors.values()) == 3000


def test_the_work_of_a_coroutine_is_measured_and_its_waiting_is_not() -> None:
    clock = Clock()
    meter = Meter(clock)

    async def work() -> int:
        clock.now += 1
        await asyncio.sleep(0)
        clock.now += 2
        return 7

    async def both() -> int:
        async def aside() -> None:
            clock.now += 100

        task = asyncio.ensure_future(aside())
        result = await Measured[int](work(), meter)
        await task
        return result

    assert asyncio.run(both()) == 7
    assert meter.blocked_s == 3


def test_a_measured_coroutine_can_be_cancelled_and_fail() -> None:
    cleaned: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append("wait")

    async def fail() -> None:
        raise KeyError("x")

    async def both() -> None:
        async def measured() -> None:
            await Measured[None](wait(), Meter())

        task = asyncio.ensure_future(measured())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(KeyError):
            await Measured[None](fail(), Meter())

    asyncio.run(both())
    assert cleaned == ["wait"]
