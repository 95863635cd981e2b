"""A job, trained by the real ms-swift on the CPU."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT, Project
from tests.engine.real import ENGINE, MODEL, finish, rows_of, run_directory

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

JOB = """\
from grpo_launch.job import Data, Job, Model, Training

print("noise")
job = Job(
    mode="sft",
    model=Model(id="Qwen/Qwen2.5-0.5B-Instruct", trust_remote_code=True),
    data=Data(id={rows!r}, num_samples=32, sequence_length=256),
    training=Training(num_steps=9, batch_size=16, learning_rate=5e-3, log_interval=1),
)
"""


def test_a_job_of_sft_is_trained(elsewhere: Project) -> None:
    rows = str(ROOT / "examples" / "jobs" / "rows.jsonl")
    (elsewhere.directory / "job.py").write_text(JOB.format(rows=rows))
    own = [f"runtime.path={ENGINE}", f"train.model.model={MODEL}", "accelerator=cpu"]
    done = finish(elsewhere.start("role=learner", "config=job.py", *own))
    assert done.status == 0, done.stderr
    assert "noise" not in done.stdout + done.stderr
    losses = [row["loss"] for row in rows_of(run_directory(elsewhere)) if "loss" in row]
    assert len(losses) == 3  # the steps that accelerator=cpu leaves
    assert losses[-1] < losses[0]
    assert elsewhere.left_over() == []
