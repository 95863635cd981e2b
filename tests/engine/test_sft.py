"""Supervised fine-tuning by the real ms-swift on the CPU: a learner without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.learners.swift.outputs import METRICS
from grpo_launch.runs.metrics import parse
from tests.conftest import Project
from tests.engine.real import ENGINE, MODEL, finish, nightly, run_directory

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

SFT = ["role=learner", "config=sft_swift", f"runtime.path={ENGINE}", f"train.model.model={MODEL}"]


def losses(run: Path) -> list[float]:
    (log,) = (run / "output").glob("v*/logging.jsonl")
    steps = [parse(line, METRICS) for line in log.read_bytes().splitlines()]
    return [step.loss for step in steps if step is not None and step.loss is not None]


def test_it_learns_without_a_server(elsewhere: Project) -> None:
    short = ["train.training.max_steps=12", "train.training.save_steps=12"]
    done = finish(elsewhere.start(*SFT, *short))
    assert done.status == 0, done.stderr
    run = run_directory(elsewhere)
    found = losses(run)
    assert len(found) == 12
    assert found[-1] < found[0] / 2
    assert "loss" in done.stderr
    assert "reward" not in done.stderr
    assert [path.name for path in run.glob("output/v*/checkpoint-*")] == ["checkpoint-12"]
    assert elsewhere.left_over() == []


@nightly
@pytest.mark.parametrize("stage", ["sft", "pt"])
def test_the_example_as_it_is_shipped(elsewhere: Project, stage: str) -> None:
    done = finish(elsewhere.start(*SFT, f"learner.stage={stage}"))
    assert done.status == 0, done.stderr
    found = losses(run_directory(elsewhere))
    assert found[-1] < 1.5 < 5 < found[0]


@nightly
def test_a_training_that_takes_too_long_is_ended(elsewhere: Project) -> None:
    done = finish(elsewhere.start(*SFT, "learner.timeout_s=5"))
    assert done.status == 124
    assert "the learner: was not done after 5 s" in done.stderr
    assert elsewhere.left_over() == []
