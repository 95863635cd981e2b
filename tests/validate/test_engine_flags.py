"""The rules that know ms-swift's flags: exact messages, and no surprise on odd data."""

# ruff: noqa: E501 (a message stands on one line, as it is shown)
from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.base import resources
from grpo_launch.checks.examine import Problem, Severity
from grpo_launch.config import schema
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.engines.asking import FlagAnswer
from grpo_launch.engines.flag_facts import flag_facts
from grpo_launch.engines.flags import Flag, FlagTable, accepts
from grpo_launch.engines.swift import flags as rollout
from grpo_launch.engines.swift.flag_rules import rollout_flags_are_valid
from grpo_launch.engines.swift.settings import SwiftSettings
from grpo_launch.learners.swift import flags as rlhf
from grpo_launch.learners.swift.flag_rules import (
    _JUDGED_ELSEWHERE,
    _RENAMED,
    COLOCATE_ONLY,
    FLAG_RULES,
)

EXPERIMENTS = sorted(path.stem for path in resources.path("configs/train/grpo").glob("*.yaml"))

GOOD: dict[str, Any] = {
    "model": {"model": "some/model"},
    "rlhf": {
        "use_vllm": True,
        "vllm_mode": "server",
        "vllm_server_host": ["127.0.0.1"],
        "vllm_server_port": [8080],
    },
    "custom": {
        "extra": {
            "rollout_server": {
                "vllm_tensor_parallel_size": 1,
                "vllm_data_parallel_size": 2,
                "vllm_max_model_len": 64,
            }
        }
    },
}


ROLLOUT, RLHF = rollout.FLAGS.shipped().table, rlhf.FLAGS.shipped().table


def engine_problems(
    config: LaunchConfig, server: FlagTable = ROLLOUT, learner_flags: FlagTable = RLHF
) -> list[Problem]:
    context = Context.of(config, flag_facts(FlagAnswer(server), FlagAnswer(learner_flags)))
    learner, deepspeed, *others = FLAG_RULES
    rules = (learner, deepspeed, rollout_flags_are_valid, *others)
    return [problem for rule in rules for problem in rule(context)]


UNKNOWN = "unknown key, no flag of swift rlhf of ms-swift 4.6.0"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def composed(changes: dict[str, Any], *overrides: str) -> LaunchConfig:
    tree = copy.deepcopy(GOOD)
    for section, value in changes.items():
        if isinstance(value, dict) and isinstance(tree.get(section), dict):
            tree[section].update(value)
        else:
            tree[section] = value
    Path("x.yaml").write_text(yaml.safe_dump(tree))
    return compose("./x.yaml", list(overrides))


def found(
    changes: dict[str, Any], *overrides: str, server: FlagTable = ROLLOUT, learner: FlagTable = RLHF
) -> list[str]:
    problems = engine_problems(composed(changes, *overrides), server, learner)
    return [f"{problem.severity.value}: {problem}".replace("x.yaml: ", "") for problem in problems]


def test_a_good_experiment_has_no_problem() -> None:
    assert found({}) == []


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_shipped_experiment_has_no_problem(experiment: str) -> None:
    assert engine_problems(compose(experiment)) == []
    problems = engine_problems(compose(experiment, ["accelerator=cpu"]))
    assert [p for p in problems if p.severity is Severity.ERROR] == []


@pytest.mark.parametrize(
    ("section", "value", "messages"),
    [
        ("rlhf", {"num_generation": 8},
         [f"error: rlhf.num_generation: {UNKNOWN}, did you mean num_generations?"]),
        ("training", {"learning_rat": 1e-6, "zzzzz": 1},
         [f"error: training.learning_rat: {UNKNOWN}, did you mean learning_rate?",
          f"error: training.zzzzz: {UNKNOWN}, remove it"]),
        ("training", {"efective_batch_size": 8},
         [f"error: training.efective_batch_size: {UNKNOWN}, did you mean effective_batch_size?"]),
        ("data", {7: "x"},
         [f"error: data.7: {UNKNOWN}, remove it"]),
        ("training", {"effective_batch_size": 8, "seed": None}, []),
        ("training", {"num_generation": None},
         [f"error: training.num_generation: {UNKNOWN}, did you mean num_generations?"]),
        ("training", {"learning_rate": "small", "max_grad_norm": True, "logging_steps": 1.0},
         ["error: training.learning_rate: 'small' is not a number, write a number",
          "error: training.max_grad_norm: true is not a number, write a number",
          "error: training.logging_steps: 1.0 is not an integer, write an integer"]),
        ("training", {"bf16": "on"},
         ["error: training.bf16: 'on' is not true or false, write true or false"]),
        ("data", {"dataset": []},
         ["error: data.dataset: [] is not a list of strings with at least one item, write a list of strings"]),
        ("rlhf", {"reward_weights": [1, "much"]},
         ["error: rlhf.reward_weights: [1, 'much'] is not a list of numbers, write a list of numbers"]),
        ("rlhf", {"advantage_estimator": "ppo"},
         ["error: rlhf.advantage_estimator: 'ppo' is not one of grpo, rloo, reinforce_plus_plus, choose one of them"]),
        ("template", {"truncation_strategy": "raise"},
         ["error: template.truncation_strategy: 'raise' is not one of delete, left (all that GRPO takes), choose one of them"]),
        ("template", {"truncation_strategy": "split"},
         ["error: template.truncation_strategy: 'split' is not one of delete, left (all that GRPO takes), choose one of them"]),
        ("template", {"truncation_strategy": "delete"}, []),
        ("training", {"eval_strategy": False},
         ["error: training.eval_strategy: false is not one of no, steps, epoch, quote it, since YAML reads no as false: 'no'"]),
        ("training", {"eval_strategy": "epoch", "save_strategy": False},
         ["error: training.save_strategy: false is not one of no, steps, epoch, best, quote it, since YAML reads no as false: 'no'"]),
        ("model", {"torch_dtype": "float8"},
         ["error: model.torch_dtype: 'float8' is not one of bfloat16, float16, float32, choose one of them"]),
        ("template", {"system": "-be brief"}, []),
        ("template", {"system": "--brief"},
         ["error: template.system: '--brief' is not a string to argparse, which takes it for a flag, begin it otherwise"]),
        ("training", {"liger_kernel_config": {"rope": True}},
         ["error: training.liger_kernel_config: cannot be given to ms-swift 4.6.0 as a flag, remove it"]),
        ("training", {"lr_scheduler_kwargs": {"min_lr": 1e-7}}, []),
        ("training", {"lr_scheduler_kwargs": 5},
         ["error: training.lr_scheduler_kwargs: 5 is not a mapping or a string, write a mapping or a string"]),
        ("tuner", {"train_type": "full"},
         ["error: tuner.train_type: is not what ms-swift 4.6.0 calls it, rename it to tuner_type"]),
        ("tuner", {"tuner_type": "full"}, []),
        ("deepspeed", "zero2", []),
        ("deepspeed", {"deepspeed": "zero2"}, []),
        ("deepspeed", {"enabled": True, "config": "zero2"}, []),
        ("deepspeed", {"enabled": False, "config": 5}, []),
        ("deepspeed", {"enabled": True}, []),
        ("deepspeed", {"config": {"zero_optimization": {"stage": 2}}}, []),
        ("deepspeed", {"enabled": "no", "config": 5, "stage": 2},
         ["error: deepspeed.config: 5 is not a mapping or a string, write a mapping or a string",
          "error: deepspeed.enabled: 'no' is not true or false, write true or false",
          "error: deepspeed.stage: is not passed on beside enabled and config, move it to the section training"]),
        ("deepspeed", {"deepsped": "zero2"},
         [f"error: deepspeed.deepsped: {UNKNOWN}, did you mean deepspeed?"]),
        ("rlhf", {"vllm_max_model_len": 64},
         ["warning: rlhf.vllm_max_model_len: is ignored in server mode, remove it"]),
        ("rlhf", {"vllm_max_model_len": 128},
         ["warning: rlhf.vllm_max_model_len: is ignored in server mode, set custom.extra.rollout_server.vllm_max_model_len instead"]),
        ("rlhf", {"sleep_level": 1, "offload_model": True},
         ["warning: rlhf.offload_model: is ignored in server mode, remove it",
          "warning: rlhf.sleep_level: is ignored in server mode, remove it"]),
        ("rlhf", {"vllm_limit_mm_per_prompt": 4096},
         ["warning: rlhf.vllm_limit_mm_per_prompt: is ignored in server mode, set custom.extra.rollout_server.vllm_limit_mm_per_prompt instead"]),
        ("rlhf", {"vllm_limit_mm_per_prompt": [4, 5]},
         ["error: rlhf.vllm_limit_mm_per_prompt: [4, 5] is not a mapping or a string, write a mapping or a string",
          "warning: rlhf.vllm_limit_mm_per_prompt: is ignored in server mode, set custom.extra.rollout_server.vllm_limit_mm_per_prompt instead"]),
        ("rlhf", {"move_model_batches": 4, "offload_teacher_model": True}, []),
        ("training", {"max_steps": 10}, []),
        ("training", {"max_steps": -1, "num_train_epochs": 1}, []),
        ("training", {"max_steps": 10, "num_train_epochs": 1},
         ["warning: training.max_steps: 10 overrides num_train_epochs 1 (training.num_train_epochs), keep one of them"]),
        ("training", "not a mapping", []),
    ],
)  # fmt: skip
def test_sections(section: str, value: Any, messages: list[str]) -> None:
    assert sorted(found({section: value})) == sorted(messages)


def test_the_command_line_is_named() -> None:
    assert found({}, "+train.rlhf.num_generation=8") == [
        f"error: command line: train.rlhf.num_generation: {UNKNOWN}, did you mean num_generations?"
    ]


def test_other_modes_are_not_told_about_server_mode() -> None:
    assert found({"rlhf": {"vllm_mode": "colocate", "sleep_level": 1}}) == []


def test_the_rollout_server_is_checked_against_its_own_flags() -> None:
    fewer = {k: v for k, v in ROLLOUT.flags.items() if k != "vllm_enforce_eager"}
    fewer |= {"template": Flag("int"), "vllm_quantization": Flag("str", choices=("fp8",))}
    changes = {
        "template": {"template": "qwen"},
        "custom": {
            "extra": {"rollout_server": {"vllm_enforce_eager": True, "vllm_quantization": "awq"}}
        },
    }
    s = "error: custom.extra.rollout_server"
    assert found(changes, server=dataclasses.replace(ROLLOUT, flags=fewer)) == [
        f"{s}.vllm_enforce_eager: unknown key, no flag of swift rollout of ms-swift 4.6.0, remove it",
        f"{s}.vllm_quantization: 'awq' is not one of fp8, choose one of them",
        "error: template.template: 'qwen' is not an integer, write an integer",
    ]


def test_the_older_engine_wants_the_older_name() -> None:
    older = {k: v for k, v in RLHF.flags.items() if k != "tuner_type"}
    older["train_type"] = Flag("str")
    flags = dataclasses.replace(RLHF, version="3.9.0", flags=older)
    assert found({"tuner": {"train_type": "full"}}, learner=flags) == []
    assert found({"tuner": {"tuner_type": "full"}}, learner=flags) == [
        "error: tuner.tuner_type: is not what ms-swift 3.9.0 calls it, rename it to train_type"
    ]


OLD_NAMES = {
    "train_type": "tuner_type",
    "sft_type": "tuner_type",
    "ckpt_dir": "model or adapters",
    "max_prompt_length": "max_length",
    "multi_turn_func": "multi_turn_scheduler",
    "lora_target_modules": "target_modules",
}


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items(), ids=OLD_NAMES.keys())
def test_a_name_of_older_versions_is_answered_with_todays(old: str, new: str) -> None:
    assert found({"training": {old: "x"}}) == [
        f"error: training.{old}: is not what ms-swift 4.6.0 calls it, rename it to {new}"
    ]


def test_an_old_name_that_the_installed_version_has_is_fine() -> None:
    flags = {**RLHF.flags, "max_prompt_length": Flag("int")}
    other = dataclasses.replace(RLHF, flags=flags)
    assert found({"training": {"max_prompt_length": 8}}, learner=other) == []


def test_what_an_old_name_is_called_is_a_flag() -> None:
    now = {name for names in _RENAMED.values() for name in names} - {"train_type"}
    assert now <= RLHF.flags.keys()
    assert not RLHF.flags.keys() & (_RENAMED.keys() - {"tuner_type"})


def test_every_key_of_the_rollout_server_is_a_flag() -> None:
    fields = {field.name for field in dataclasses.fields(SwiftSettings)}
    assert fields - ROLLOUT.flags.keys() <= {"lora_policy"}


def test_every_ignored_key_is_a_flag_of_the_learner() -> None:
    assert RLHF.flags.keys() >= set(COLOCATE_ONLY)


@pytest.mark.slow
def test_many_unknown_keys_stay_cheap() -> None:
    keys = {f"num_generation_{n}": n for n in range(3000)}
    config = composed({})
    changed = dataclasses.replace(config, train={**config.train, "training": keys})
    problems = engine_problems(changed)
    assert len(problems) == 3000
    assert len([p for p in problems if p.fix == "did you mean num_generations?"]) == 20


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([*schema.SECTIONS, "enabled", "config", "max_steps", "num_train_epochs",
                         "vllm_mode", "torch_dtype", "num_generations", "x"]) | leaves,
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*schema.SECTIONS]), trees, max_size=7))
def test_nothing_but_problems_comes_out(tree: dict[Any, Any]) -> None:
    config = dataclasses.replace(_BASE.get(), train=tree)
    for problem in engine_problems(config):
        assert problem.what
        assert problem.fix


class _BASE:
    made: LaunchConfig | None = None

    @classmethod
    def get(cls) -> LaunchConfig:
        cls.made = cls.made or composed({})
        return cls.made


@pytest.mark.slow
def test_what_a_rule_calls_wrong_is_what_the_flag_does_not_take() -> None:
    judged = {name: flag for name, flag in RLHF.flags.items() if name not in _JUDGED_ELSEWHERE}
    for name, flag in judged.items():
        for value in ("x", 1, True, [1, 2]):
            messages = found_in_training(name, value)
            narrowed = name in ("truncation_strategy", "eval_strategy")
            unused = name in COLOCATE_ONLY and flag.kind == "json"
            wrong = accepts(flag, str(value) if unused and value != [1, 2] else value)
            assert bool(messages) is (wrong is not None or narrowed), name


def found_in_training(name: str, value: Any) -> list[Any]:
    config = dataclasses.replace(_BASE.get(), train={"training": {name: value}})
    problems = engine_problems(config)
    return [p for p in problems if p.severity is Severity.ERROR]
