"""What becomes of each field of a job: golden files, compared whole, and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from grpo_launch.config.formats import jobs
from grpo_launch.job import Job
from grpo_launch.job.fields import FIELDS
from tests.conftest import ROOT
from tests.job.test_job import RL, SFT, changed
from tests.job.test_job import jobs as any_job

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = ROOT / "examples" / "jobs"
JOBS: dict[str, dict[str, Any]] = {
    "sft": json.loads((EXAMPLES / "sft.json").read_text()),
    "rl": json.loads((EXAMPLES / "rl.json").read_text()),
    "defaults": SFT,
    "cpu": changed(SFT, model__device="cpu", data__num_samples=9, deployment__gpus=[0, 1]),
}


@pytest.mark.parametrize("name", JOBS)
def test_the_experiment_of_a_job(name: str, request: pytest.FixtureRequest) -> None:
    found = jobs.mapped(Path("job.json"), JOBS[name])
    places = {".".join(keys): ".".join(source) for keys, source in found.sources.items()}
    text = json.dumps({"experiment": found.data, "said at": places}, indent=2) + "\n"
    golden = GOLDEN / f"{name}.json"
    if request.config.getoption("--update-golden", default=False):
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_field_has_a_row_or_a_rule() -> None:
    fields = {
        f"{section}.{name}".lstrip(".") for section, known in FIELDS.items() for name in known
    }
    by_rule = {"data.split", "model.trust_remote_code"}
    assert {row.field for row in jobs.TABLE} | by_rule == fields


@given(job=any_job())
def test_a_job_is_shared_by_its_gpus(job: Job) -> None:
    rows, ranks = jobs.per_device(job), len(job.learner_ranks)
    assert job.training.batch_size % (rows * ranks) == 0
    assert rows == 1 or rows * job.data.sequence_length <= jobs.TOKENS_PER_DEVICE
    assert job.training.batch_size % jobs.group(job) == 0
    launch = jobs.mapped(Path("x"), job.as_dict()).data["custom"]["extra"]["launch"]
    ids = [*launch["gpus"].get("server", []), *launch["gpus"]["learner"]]
    assert ids == [*map(str, job.deployment.gpu_ranks)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (SFT, True),
        (RL, True),
        (changed(SFT, training=None), True),
        ({"mode": "sft", "model": {"id": "x"}}, True),
        ({"model": {}, "data": {}, "training": {}, "deployment": {}}, True),
        ({"mode": "sft"}, False),
        ({"deployment": {}}, False),
        ({"model": {"model": "x"}, "data": {}, "training": {}}, False),
        ({**SFT, "rlhf": {}}, False),
        ({"mode": "sft", "model": "x", "dataset": ["y"]}, False),
    ],
)
def test_a_job_is_known_by_its_shape(said: dict[str, Any], expected: bool) -> None:
    assert jobs.is_job(said) is expected


@pytest.mark.parametrize(
    ("gpu_type", "gib"),
    [
        ("H100", 80),
        ("h100", 80),
        ("NVIDIA H100 80GB HBM3", 80),
        ("H200", 141),
        ("A100", 80),
        ("A100-40GB", 40),
        ("NVIDIA A100-SXM4-40GB", 40),
        ("Tesla T4", 16),
        ("RTX 4090", 24),
        ("L40S", 48),
        ("H1000", None),
        ("TPU v5e", None),
    ],
)
def test_the_memory_of_a_type_of_gpu(gpu_type: str, gib: int | None) -> None:
    assert jobs.gpu_memory_gib(gpu_type) == gib
