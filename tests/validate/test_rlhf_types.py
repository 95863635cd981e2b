"""Other algorithms than GRPO, and flags of another program."""

# ruff: noqa: E501 (a message stands on one line, as it is shown)
from __future__ import annotations

import copy
import dataclasses
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
from grpo_launch.learners.batches import given
from tests.validate.test_rules import GOOD


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def experiment(**sections: dict[str, Any]) -> LaunchConfig:
    body = copy.deepcopy(GOOD)
    del body["global_max_length"]
    body["rlhf"].update(num_generations=3, max_completion_length=16, reward_funcs=["accuracy"])
    for name, values in sections.items():
        body.setdefault(name, {}).update(values)
    Path("x.yaml").write_text(yaml.safe_dump(body))
    return compose("x", ["role=both"])


def found(config: LaunchConfig) -> list[str]:
    problems = validate(config, Facts.of(WorldSize(3)))
    return [f"{p.severity.value}: {p}".replace("x.yaml: ", "") for p in problems]


ODD = {"num_generations": 7, "generation_batch_size": 10, "reward_funcs": None}
"""What no learner of GRPO would take."""


def test_gkd_has_neither_groups_nor_rewards() -> None:
    assert len(found(experiment(rlhf=ODD))) > 1
    config = experiment(rlhf={**ODD, "rlhf_type": "gkd"})
    assert found(config) == []
    assert learner("swift").batches(given(config), 3) is None


@pytest.mark.parametrize("kind", ["dpo", "orpo", "simpo", "kto", "cpo", "rm", "ppo"])
@pytest.mark.parametrize("section", ["rlhf", "training"])
def test_an_algorithm_without_a_server_is_a_learner_alone(kind: str, section: str) -> None:
    sections: dict[str, dict[str, Any]] = {"rlhf": dict(ODD), "training": {}}
    sections[section]["rlhf_type"] = kind
    config = experiment(**sections)
    assert found(config) == [
        "error: learner.name: ms-swift asks no rollout server for what it trains here, say role=learner"
    ]
    assert found(dataclasses.replace(config, role="learner")) == []
    request = TrainRequest(config, ("0",), True, "runs/x", "runs/x/output", Path.cwd())
    arguments = learner("swift").arguments(request)
    assert arguments["rlhf_type"] == kind


def test_what_is_no_algorithm_is_an_error_of_the_flag() -> None:
    (problem,) = found(experiment(rlhf={"rlhf_type": "grpoo"}))
    assert problem.startswith("error: rlhf.rlhf_type: 'grpoo' is not one of ")


def test_flags_of_megatron_are_one_sentence() -> None:
    flags = {"tensor_model_parallel_size": 2, "micro_batch_size": 1, "train_iters": 5}
    assert found(experiment(training=flags)) == [
        "error: training.micro_batch_size: micro_batch_size, tensor_model_parallel_size and train_iters are flags of megatron-swift, which this learner does not start (swift rlhf), remove them"
    ]
    assert found(experiment(training={"micro_batch_size": 1})) == [
        "error: training.micro_batch_size: is a flag of megatron-swift, which this learner does not start (swift rlhf), remove it"
    ]


def test_cached_data_is_not_for_grpo() -> None:
    data = {"cached_dataset": ["cache"]}
    assert found(experiment(data=data)) == [
        "error: data.cached_dataset: is not supported for GRPO, its rows are tokens already, set dataset to the rows themselves"
    ]
    assert found(experiment(data=data, rlhf={"rlhf_type": "gkd"})) == []


@pytest.mark.parametrize(
    ("completion", "warns"), [(56, False), (57, True), (63, True), (64, True), (500, True)]
)
def test_completions_without_room_for_a_prompt_are_one_warning(
    completion: int, warns: bool
) -> None:
    config = experiment(rlhf={"max_completion_length": completion})
    assert config.rollout_server["vllm_max_model_len"] == 64
    about = [line for line in found(config) if "leaves no room" in line]
    assert [line.partition(":")[0] for line in about] == (["warning"] if warns else [])
