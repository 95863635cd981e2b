"""``config=RUN/config.yaml``: what is recorded of a run plans that run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch import api
from grpo_launch.base import resources
from grpo_launch.config.compose import compose
from grpo_launch.config.formats.forms import Form
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import InvalidConfigError
from tests.conftest import FAKES

EXPERIMENTS = sorted(path.stem for path in resources.path("configs/train").glob("*/*.yaml"))
ROLES = ("server", "learner", "both", "loop", "rollout")
NEEDED = {"webagent_external": ["rollout_server.url=http://gpu-3:8999"]}
OVERRIDES = {
    "cpu": ["accelerator=cpu"],
    "cpu_native": ["accelerator=cpu_native", "runtime.path=elsewhere"],
    "trackers": ["tracking=[wandb,tensorboard]", "tracking.wandb.project=p"],
    "values": [
        *("train.training.learning_rate=1e-5", "rollout_server.vllm_max_num_seqs=7"),
        *("health.timeout_s=7", "shutdown.term_s=3", "watchdog.stall_s=3", "+env.set.A=b"),
        *("checks.warn=[dataset_is_set]", "rehearse=false", "+env.server.set.C=d"),
        *("learner.debug=true", "learner.timeout_s=60", "on_failure=restart", "launch=nohup"),
    ],
    "halves": ["runtime=venv", "runtime.server.kind=current", "runtime.learner.path=v"],
    "a service": ["services.judge={argv:[sleep,'3'],check:{url:http://127.0.0.1:1/x},devices:[9]}"],
}
JOBS = ("sft.json", "sft.py", "rl.json")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(FAKES))
    monkeypatch.chdir(resources.root())


def planned(config: LaunchConfig) -> dict[str, Any] | list[str]:
    """The plan, without what names the file and the command line, or why there is none."""
    try:
        plan = json.loads(api.plan(config).to_json())
    except InvalidConfigError as error:
        return [line.partition(": ")[2].rpartition(": ")[2] for line in error.lines()]
    if plan["rehearsal"]:
        plan["rehearsal"].pop("keys")  # where each argument was said
    for file in plan["files"]:
        if file["path"].endswith("wandb_config.yaml"):
            del file["text"]  # holds the overrides
    return plan


def again(experiment: str, overrides: list[str], tmp_path: Path) -> dict[str, Any] | list[str]:
    """The plan of an experiment, which its record gives as well."""
    same = ["run.dir=runs/x", "preflight=false"]
    first = compose(experiment, [*overrides, *same])
    record = tmp_path / "config.yaml"
    record.write_text(yaml.safe_dump(first.as_dict(), sort_keys=False, allow_unicode=True))
    second = compose(str(record), [overrides[0], *same])
    assert second.legacy is not None
    assert second.legacy.form is Form.RECORD
    plan = planned(first)
    assert planned(second) == plan
    one, other = first.as_dict(), second.as_dict()
    kept = {*one} - {"path", "train"}
    assert {name: other[name] for name in kept} == {name: one[name] for name in kept}
    return plan


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_shipped_experiment_is_planned_again(experiment: str, tmp_path: Path) -> None:
    needed = NEEDED.get(experiment, [])
    plans = [again(experiment, [f"role={role}", *needed], tmp_path) for role in ROLES]
    assert any(isinstance(plan, dict) for plan in plans)


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("case", OVERRIDES)
@pytest.mark.parametrize("experiment", ["hanabi", "summary_1024"])
def test_so_is_what_the_command_line_changed(experiment: str, case: str, tmp_path: Path) -> None:
    assert isinstance(again(experiment, ["role=both", *OVERRIDES[case]], tmp_path), dict)


@pytest.mark.costly
@pytest.mark.parametrize("accelerator", ["cuda", "cpu"])
@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_planned_again(name: str, accelerator: str, tmp_path: Path) -> None:
    role = "both" if name == "rl.json" else "learner"
    overrides = [f"role={role}", f"accelerator={accelerator}"]
    assert isinstance(again(f"examples/jobs/{name}", overrides, tmp_path), dict)
