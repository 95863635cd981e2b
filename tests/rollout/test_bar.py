"""The progress bar: what it says, and that it is there on a terminal only."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from grpo_launch.rollout import bar

FIGURES = {
    "step": 3,
    "max_steps": 8,
    "reward": 0.25,
    "episodes_per_s": 1.25,
    "tokens_per_s": 80.4,
    "failed": 1,
    "waiting_for_model": 4,
    "waiting_for_environment": 0,
}

SHOW = f"from grpo_launch.rollout import bar\nwith bar.shown('train') as show: show({FIGURES})"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "1.2/s 80 tok/s reward 0.250 failed 1 waiting for model 4, environment 0"),
        (
            {"reward": None, "failed": 0},
            "1.2/s 80 tok/s waiting for model 4, environment 0",
        ),
    ],
)
def test_what_stands_beside_it(changed: dict[str, object], text: str) -> None:
    assert bar.text({**FIGURES, **changed}) == text


def test_a_terminal_shows_it() -> None:
    ours, terminal = os.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", SHOW], stderr=terminal, check=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
        )  # fmt: skip
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(terminal)
    assert "train" in shown
    assert "4/8" in shown
    assert "reward 0.250" in shown


def test_there_is_none_without_a_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW.replace("show(", "print(show is None, ")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("True")
    assert done.stderr == ""
