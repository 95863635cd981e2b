"""How long a step takes, and how long the rest will, whatever a row of the log stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpo_launch.runs import cycles, pace
from grpo_launch.runs.metrics import History, MetricsFollower, Step
from tests.advice.made import steady
from tests.supervise.rig import METRICS


def row(step: int, seconds: float | None, reward: float | None = 0.5, **more: bool) -> Step:
    return Step(step, 100, reward, None, seconds, **more)


def timed(step: int, elapsed: float | None) -> Step:
    return Step(step, 100, None, None, None, loss=1.0, elapsed=elapsed)


WARM_UP = row(1, 60.0, begins=True)
LASTING = [row(n, 10.0 if n % 4 == 1 else 2.0, 0.5 if n % 4 == 1 else None) for n in range(2, 41)]
"""A generation every four steps (steps_per_generation, num_iterations): 4 seconds a step."""


@pytest.mark.parametrize(
    ("steps", "seconds", "left"),
    [
        ([], None, None),
        ([WARM_UP], None, None),
        ([WARM_UP, row(2, 2.0)], 2.0, 196.0),
        ([WARM_UP, *(row(n, 2.0) for n in range(2, 41))], 2.0, 120.0),
        ([*(row(n, 9.0) for n in range(1, 20)), *(row(n, 2.0) for n in range(20, 41))], 2.0, 120.0),
        # logging_steps=10: a row stands for ten steps; the first one for itself.
        ([WARM_UP, row(10, 3.0), row(20, 1.0)], (9 * 3.0 + 10 * 1.0) / 19, 80 * 37 / 19),
        ([row(10, 8.0, begins=True), row(20, 2.0), row(30, 2.0)], 2.0, 140.0),
        # Whole generations, whichever step is the newest.
        *(([WARM_UP, *LASTING[:n]], 4.0, (99 - n) * 4.0) for n in (8, 20, 31, 39)),
        ([WARM_UP, *LASTING[:5]], None, None),
        # A start of its own after a restart; its warm-up does not count either.
        ([WARM_UP, row(2, 2.0), row(3, 2.0), row(3, 90.0, begins=True)], 2.0, 194.0),
        ([WARM_UP, row(2, 2.0), row(3, 90.0, begins=True), row(4, 5.0)], 5.0, 480.0),
        ([WARM_UP, row(2, 2.0), row(1, 90.0), row(2, 5.0)], 5.0, 490.0),
        # A clock that goes on instead of the seconds of a step.
        ([timed(2, 9), timed(4, 12), timed(8, 20)], 11 / 6, 92 * 11 / 6),
        ([timed(2, 9), timed(4, None), timed(8, 20)], None, None),
        ([timed(2, 9), timed(4, 12), timed(5, 2), timed(7, 8)], 3.0, 279.0),
        # What nobody logs.
        ([WARM_UP, row(2, None), row(3, None)], None, None),
        ([row(n, 2.0, None) for n in range(1, 5)], 2.0, 192.0),
        ([Step(n, 0, 0.5, None, 2.0) for n in range(1, 5)], 2.0, None),
    ],
)  # fmt: skip
def test_the_pace(steps: list[Step], seconds: float | None, left: float | None) -> None:
    assert pace.seconds_per_step(steps) == (None if seconds is None else pytest.approx(seconds))
    found = pace.seconds_left(steps) if steps else None
    assert found == (pytest.approx(left) if isinstance(left, float) else left)


def test_a_row_inside_of_a_generation_has_the_reward_of_the_generation() -> None:
    assert pace.newest_reward([row(1, 1.0, 0.25), row(2, 1.0, None)]) == 0.25
    assert pace.newest_reward([]) is None


LOSSES = [Step(n, 3, None, None, None, loss=loss) for n, loss in enumerate((5.125, None, 0.00312))]


@pytest.mark.parametrize(
    ("steps", "newest", "change"),
    [
        ([row(1, 1.0, 0.25), row(2, 1.0, 0.5), row(3, 1.0, None)],
         "reward 0.50", "reward 0.25 -> 0.50 in 3 steps"),
        (LOSSES, "loss 0.00312", "loss 5.12 -> 0.00312 in 2 steps"),
        ([Step(1, 3, 0.5, None, None, loss=0.001)],
         "reward 0.50", "reward 0.50 -> 0.50 in 1 steps"),
        ([Step(1, 3, None, None, None)], None, None),
        ([], None, None),
    ],
)  # fmt: skip
def test_the_loss_tells_of_a_training_without_rewards(
    steps: list[Step], newest: str | None, change: str | None
) -> None:
    assert pace.newest(steps) == newest
    assert pace.change(steps) == change


ROWS = [
    {"reward": 0.5, "kl": 0.1, "loss": 0.0, "step_time": 9.0, "global_step/max_steps": "1/8"},
    {"loss": 0.0, "step_time": 1.0, "global_step/max_steps": "2/8"},
    {"eval_loss": 0.0, "eval_reward": 0.7, "global_step/max_steps": "2/8"},
    {"reward": 0.6, "loss": 0.0, "step_time": 3.0, "global_step/max_steps": "3/8"},
    {"train_loss": 0.0, "train_runtime": 9.0, "global_step/max_steps": "8/8"},
]


def test_rows_without_a_reward_are_steps_and_evaluations_are_none(tmp_path: Path) -> None:
    follower, history = MetricsFollower(tmp_path, METRICS), History(tmp_path, METRICS)
    (tmp_path / "logging.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    steps = history.steps()
    assert follower.poll() == steps
    assert [(s.step, s.reward, s.begins) for s in steps] == [
        (1, 0.5, True),
        (2, None, False),
        (3, 0.6, False),
    ]
    assert "kl" not in history.newest
    assert history.latest["kl"] == 0.1


def test_each_start_of_the_learner_begins_with_a_warm_up(tmp_path: Path) -> None:
    history = History(tmp_path, METRICS)
    for number, first in enumerate((1, 3)):
        log = tmp_path / f"v{number}" / "logging.jsonl"
        log.parent.mkdir()
        rows = [{**ROWS[0], "global_step/max_steps": f"{n}/8"} for n in (first, first + 1)]
        log.write_text("".join(json.dumps(r) + "\n" for r in rows))
        history.steps()
    assert [(s.step, s.begins) for s in history.steps()] == [
        (1, True),
        (2, False),
        (3, True),
        (4, False),
    ]
    assert not any(s.begins for s in History(tmp_path, METRICS, at_most=150).steps())


def test_a_step_of_several_generations_took_as_long_as_all_of_them(tmp_path: Path) -> None:
    from grpo_launch.runs import timing

    lines = steady(9, 0.6, 0.2, 1.1)  # 2.0 s each
    for line in lines[1:]:
        line["step"] //= 4  # gradient_accumulation_steps=4, steps_per_generation=1
    (tmp_path / timing.FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = cycles.by_step(timing.read(tmp_path))
    assert [(n, c.steps) for n, c in found.items()] == [(1, 1), (2, 1)]
    assert [c.seconds for c in found.values()] == [pytest.approx(8.0)] * 2
    assert found[1].generating == pytest.approx(2.4)
    assert found[1].completions == 4 * 48
