"""What a bounded loop leaves for people: a verdict in a line, and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.execute import loop_report
from grpo_launch.runs import loop_plot, loop_state
from grpo_launch.runs.loop_state import LoopState, Row

SECONDS = {"serve": 20.0, "collect": 2.0, "learner": 6.0, "publish": 0.2}


def row(
    iteration: int, reward: Any = None, evaluated: Any = None, update: str = "done", **seconds: Any
) -> dict[str, Any]:
    """A line as the loop writes it."""
    figures = {"collect": {"reward": reward}, "collect_eval": {"reward": evaluated}}
    made = Row(iteration, iteration, update, seconds=seconds, figures=figures)
    return loop_state.told(made, None)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (
            [row(0, 0.022, 0.03, **SECONDS), row(1, 0.2, update="failed"), row(2, 0.736, 0.71)],
            "reward 0.02 -> 0.74 in 3 iterations (eval 0.03 -> 0.71), 1 failed update, 28s",
        ),
        ([row(0, 0.5, collect=252.0)], "reward 0.50 in 1 iteration, 4m12s"),
        ([row(0, 0.0), row(1, -0.0012)], "reward 0.00 -> -0.0012 in 2 iterations"),
        (
            [row(0, 1.0, update="skipped"), row(1, 1, update="skipped"), row(2, update="failed")],
            "reward 1.00 -> 1.00 in 3 iterations, 1 failed update, 2 skipped updates",
        ),
        ([row(0, None, 0.5)], "1 iteration (eval 0.50)"),
        (
            [row(0, float("nan")), row(1, 12.5), row(2, float("inf"))],
            "reward 12.50 in 3 iterations",
        ),
        ([{"seconds": "long", "reward": True, "update": None}], "1 iteration"),
        ([], "0 iterations"),
    ],
)
def test_the_verdict(rows: list[dict[str, Any]], line: str) -> None:
    assert loop_report.verdict(rows) == line


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    "rows",
    [
        [row(0, 0.1, 0.1, **SECONDS), row(1, -0.5, update="failed", other=3.0)],
        [row(0)],
        [{}],
        [{"step": "x", "reward": [1], "seconds": {"collect": "x", "serve": float("nan")}}],
    ],
)
def test_the_picture(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    pytest.importorskip("matplotlib")
    assert loop_plot.draw(rows, "title", tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.slow
def test_what_is_left_in_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    console: Any = Said()
    loop_report.write(tmp_path, "title", console)
    assert console.lines == []
    state = LoopState(Row(0, 0, "done", seconds=SECONDS, figures={"collect": {"reward": 0.5}}))
    loop_state.keep(tmp_path, state)
    with open(tmp_path / loop_state.ROWS, "a") as file:
        file.write('{"step": ')  # a line that was cut off
    loop_report.write(tmp_path, "title", console)
    assert console.lines == ["reward 0.50 in 1 iteration, 28s"]
    assert (tmp_path / "loop.png").is_file()

    def fail(*_: object) -> bool:
        raise ValueError("odd\nnumbers")

    monkeypatch.setattr(loop_plot, "draw", fail)
    loop_report.write(tmp_path, "title", console)
    assert console.lines[-1] == f"warning: {tmp_path}/loop.png: cannot be drawn (odd numbers)"
    monkeypatch.setattr(loop_plot, "draw", lambda *_: False)
    loop_report.write(tmp_path, "title", console)
    assert console.lines[-1] == "no plot: pip install 'grpo_launch[plot]'"
    assert json.loads((tmp_path / loop_state.ROWS).read_text().splitlines()[0])["step"] == 1
