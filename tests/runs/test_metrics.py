"""The learner's metrics, read while they are written."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.plan import Metrics
from grpo_launch.runs import cycles, plot
from grpo_launch.runs.metrics import History, MetricsFollower, Step, parse
from grpo_launch.runs.timing import Interval
from tests.supervise.rig import METRICS


def line(step: int, reward: float) -> bytes:
    row = {"global_step/max_steps": f"{step}/40", "reward": reward, "step_time": 2.5}
    return json.dumps(row).encode() + b"\n"


@pytest.mark.parametrize(
    ("row", "step"),
    [
        (
            {"global_step/max_steps": "3/40", "reward": 0.5, "completions/mean_length": 16,
             "step_time": 2.0},
            Step(3, 40, 0.5, 16.0, 2.0),
        ),
        ({"global_step/max_steps": "3/40", "reward": 0.5, "train_speed(s/it)": 2.5},
         Step(3, 40, 0.5, None, 2.5)),
        ({"global_step/max_steps": "3/40", "reward": "nan"}, Step(3, 40, None, None, None)),
        ({"global_step/max_steps": "40/40", "train_runtime": 9.0}, None),
        ({"last_model_checkpoint": None}, None),
        ({"global_step/max_steps": "x/y", "reward": 1}, None),
        ([1], None),
    ],
)  # fmt: skip
def test_a_line_of_the_log(row: object, step: Step | None) -> None:
    assert parse(json.dumps(row).encode(), METRICS) == step


SFT = Metrics(("log.jsonl",), "n", max_steps="of", loss="loss", elapsed="elapsed")


@pytest.mark.parametrize(
    ("row", "step"),
    [
        ({"n": 3, "of": 40, "loss": 5.1}, Step(3, 40, None, None, None, loss=5.1)),
        *(
            ({"n": 3, "of": 40, "loss": 5, "elapsed": told},
             Step(3, 40, None, None, None, loss=5.0, elapsed=seconds))
            for told, seconds in (
                (7.5, 7.5), ("0:00:05", 5.0), ("1:02:03", 3723.0), ("2 days, 0:00:01", 172801.0),
                ("soon", None), ("0:00", None), (None, None), (True, None),
            )
        ),
        ({"n": 3, "of": 40, "eval_loss": 5.1}, None),
        ({"n": 3, "of": 40, "reward": 5.1}, None),
        ({"n": 3, "loss": 5.1}, None),
    ],
)  # fmt: skip
def test_a_line_of_a_training_without_rewards(row: object, step: Step | None) -> None:
    assert parse(json.dumps(row).encode(), SFT) == step


@given(st.binary())
def test_no_line_can_break_the_reader(text: bytes) -> None:
    parse(text, METRICS)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_that_arrive_in_pieces_are_each_read_once(tmp_path: Path, size: int) -> None:
    log = tmp_path / "v0-now" / "logging.jsonl"
    log.parent.mkdir()
    follower = MetricsFollower(tmp_path, METRICS)
    assert follower.poll() == []
    text = b"".join(line(n, n / 10) for n in (1, 2, 3))
    fresh: list[Step] = []
    for start in range(0, len(text), size):
        with open(log, "ab") as file:
            file.write(text[start : start + size])
        fresh += follower.poll()
    assert [(step.step, step.reward) for step in fresh] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert follower.steps == fresh


def test_the_log_of_an_earlier_run_is_not_ours(tmp_path: Path) -> None:
    log = tmp_path / "v0-before" / "logging.jsonl"
    log.parent.mkdir()
    log.write_bytes(line(40, 1.0))
    assert MetricsFollower(tmp_path, METRICS).poll() == []


def test_a_log_that_is_made_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "logging.jsonl"
    log.write_bytes(line(1, 0.1) + line(2, 0.2) + line(3, 0.3))
    history, follower = History(tmp_path, METRICS), MetricsFollower(tmp_path, METRICS)
    history.steps()
    log.unlink()
    log.write_bytes(line(1, 0.5))
    assert [(step.step, step.reward) for step in history.steps()] == [(1, 0.5)]
    assert [(step.step, step.reward) for step in follower.poll()] == [(1, 0.5)]


def numbers(steps: list[Step]) -> list[int]:
    return [step.step for step in steps]


def test_a_history_has_the_steps_of_all_attempts_and_goes_on(tmp_path: Path) -> None:
    history = History(tmp_path, METRICS)
    assert history.steps() == []
    for number, (attempt, steps) in enumerate({"v0-a": (1, 2, 3), "v1-b": (3, 4)}.items()):
        log = tmp_path / attempt / "logging.jsonl"
        log.parent.mkdir()
        log.write_bytes(b"".join(line(n, n / 10) for n in steps))
        os.utime(log, (number, number))
        history.steps()
    assert numbers(history.steps()) == [1, 2, 3, 4]
    with open(log, "ab") as file:
        file.write(line(5, math.nan)[:-10])
    assert numbers(history.steps()) == [1, 2, 3, 4]
    with open(log, "ab") as file:
        file.write(line(5, math.nan)[-10:])
    assert numbers(history.steps()) == [1, 2, 3, 4, 5]
    assert math.isnan(history.newest["reward"])
    assert numbers(History(tmp_path, METRICS, at_most=1).steps()) == []


def test_an_attempt_that_begins_anew_takes_its_steps_back(tmp_path: Path) -> None:
    for number, steps in enumerate(((1, 2, 3, 4), (1, 2))):
        log = tmp_path / f"v{number}" / "logging.jsonl"
        log.parent.mkdir()
        log.write_bytes(b"".join(line(n, number) for n in steps))
        os.utime(log, (number, number))
    history = History(tmp_path, METRICS)
    assert [(step.step, step.reward) for step in history.steps()] == [(1, 1.0), (2, 1.0)]


def test_logs_of_other_runs_in_the_same_directory_are_left_out(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        log = tmp_path / f"v{number}" / "logging.jsonl"
        log.parent.mkdir()
        log.write_bytes(line(number, 1.0))
        os.utime(log, (number * 100, number * 100))
    assert numbers(History(tmp_path, METRICS, since=150, until=250).steps()) == [2]


@pytest.mark.slow
def test_a_plot_survives_steps_without_values(tmp_path: Path) -> None:
    steps = [Step(1, 2, None, None, None), Step(2, 2, 0.5, 0.0, 0.0)]
    assert plot.draw(steps, "title", tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_plot_of_a_training_without_rewards_shows_its_loss(tmp_path: Path) -> None:
    falling = [Step(n, 3, None, None, None, loss=3.0 - n) for n in range(1, 4)]
    level = [Step(n, 3, None, None, None, loss=3.0) for n in range(1, 4)]
    for name, steps in {"falling": falling, "level": level}.items():
        assert plot.draw(steps, "title", tmp_path / f"{name}.png")
    assert (tmp_path / "falling.png").read_bytes() != (tmp_path / "level.png").read_bytes()
    assert plot.draw([Step(1, 3, None, None, None)], "title", tmp_path / "nothing.png")


@pytest.mark.slow
def test_a_plot_shows_what_the_seconds_went_into(tmp_path: Path) -> None:
    steps = [Step(n, 6, 0.5, 10.0, 30.0 if n == 1 else 2.0) for n in range(1, 7)]
    assert plot.draw(steps, "title", tmp_path / "plain.png")
    starts = [[Interval("generate", 2.0 * n, 2.0 * n + 1, n) for n in range(5)]]
    assert plot.draw(steps, "title", tmp_path / "x.png", cycles.by_step(starts))
    assert (tmp_path / "x.png").read_bytes() != (tmp_path / "plain.png").read_bytes()
    one = cycles.by_step([starts[0][:2]])
    assert plot.draw(steps, "title", tmp_path / "one.png", one)
