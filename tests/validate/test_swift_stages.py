"""What ms-swift trains besides GRPO, and a learner or servers alone."""

# ruff: noqa: ISC004 (a message stands on one line, as it is shown)
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.checks.examine import validate
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts, WorldSize
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.learners.base import TrainRequest, learner
from grpo_launch.planning import planner
from grpo_launch.planning.devices import Devices

SFT: dict[str, Any] = {
    "model": {"model": "m", "model_type": "qwen2"},
    "template": {"max_length": 64},
    "data": {"dataset": ["org/rows"]},
    "training": {"max_steps": 3, "effective_batch_size": 8, "per_device_train_batch_size": 2},
    "engine": "none",
    "learner": {"stage": "sft"},
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def experiment(*overrides: str, role: str = "learner", **nodes: Any) -> LaunchConfig:
    Path("x.yaml").write_text(yaml.safe_dump({**SFT, **nodes}))
    return compose("x", [f"role={role}", *overrides])


def found(config: LaunchConfig) -> list[str]:
    problems = validate(config, Facts.of(WorldSize(1)))
    return [p.line.replace("x.yaml: ", "") for p in problems]


def test_a_stage_without_servers_is_a_learner_alone() -> None:
    config = experiment()
    assert found(config) == []
    split = Devices((), ("0",), cuda=True)
    plan = planner.build(config, split, ["learner"], "runs/x", Path.cwd())
    assert [spec.name for spec in plan.processes] == ["learner"]
    assert plan.processes[0].env["program"] == "sft"
    assert (plan.gates, plan.ports, plan.rehearsal) == ((), (), None)
    text = yaml.safe_load(plan.files[0].text)
    assert text["gradient_accumulation_steps"] == 4
    assert not {"rlhf_type", "use_vllm", "external_plugins"} & text.keys()


@pytest.mark.parametrize(
    ("overrides", "program", "rlhf_type"),
    [
        ([], "sft", None),
        (["learner.stage=pt"], "pt", None),
        (["learner.stage=dpo"], "rlhf", "dpo"),
        (["learner.stage=null", "train.rlhf.rlhf_type=kto"], "rlhf", "kto"),
    ],
)
def test_the_stage_chooses_the_program(
    overrides: list[str], program: str, rlhf_type: str | None
) -> None:
    config = experiment(*overrides)
    assert found(config) == []
    request = TrainRequest(config, ("0",), True, "runs/x", "out", Path.cwd())
    trained = learner("swift")
    assert trained.env(request).get("program", "rlhf") == program
    assert trained.arguments(request).get("rlhf_type") == rlhf_type


@pytest.mark.parametrize(
    ("overrides", "nodes", "role", "line"),
    [
        (
            ["learner.stage=sftt"],
            {},
            "learner",
            "command line: learner.stage: 'sftt' is no stage of ms-swift, did you mean sft?",
        ),
        (
            ["learner.stage=dpo", "train.rlhf.rlhf_type=kto"],
            {},
            "learner",
            "command line: train.rlhf.rlhf_type: is 'kto', but learner.stage is dpo "
            "(command line: learner.stage), keep one of them",
        ),
        (
            ["learner.timeout_s=0"],
            {},
            "learner",
            "command line: learner.timeout_s: 0 is no time to train, use seconds above 0, or null",
        ),
        (
            [],
            {},
            "both",
            "engine.name: is none, there is no server to start, say role=learner",
        ),
        (
            ["engine=swift"],
            {},
            "both",
            "learner.stage: ms-swift asks no rollout server for what it trains here, "
            "say role=learner",
        ),
        (
            ["learner.stage=grpo"],
            {"rlhf": {"reward_funcs": ["accuracy"], "num_generations": 2}},
            "learner",
            "engine.name: is none, but swift trains against rollout servers, "
            "choose an engine, or another learner",
        ),
        (
            ["learner=none"],
            {},
            "learner",
            "learner.name: is none, nothing is trained, say role=server",
        ),
        (
            ["engine=swift", "engine.managed=false"],
            {},
            "server",
            "command line: engine.managed: says that somebody else runs the servers, there is none "
            "to start, say role=check to ask them, or role=learner",
        ),
        (
            [],
            {"rlhf": {"num_generations": 4}},
            "learner",
            "rlhf.num_generations: unknown key, no flag of swift sft of ms-swift",
        ),
    ],
)
def test_what_does_not_fit_is_said_by_name(
    overrides: list[str], nodes: dict[str, Any], role: str, line: str
) -> None:
    lines = found(experiment(*overrides, role=role, **nodes))
    assert any(item.startswith(line) for item in lines), lines


def test_what_an_accelerator_brings_for_grpo_means_nothing_to_others() -> None:
    config = experiment("accelerator=cpu")
    assert config.get("rlhf.num_generations") == 8
    assert [line for line in found(config) if "rlhf" in line] == []
    request = TrainRequest(config, ("0",), False, "runs/x", "out", Path.cwd())
    assert "num_generations" not in learner("swift").arguments(request)
