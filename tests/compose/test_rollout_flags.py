"""Every flag of the rollout server is a key of its node, and what decides encoding is shared."""

# ruff: noqa: E501 (a message stands on one line, as it is shown)
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.config import encoding, rollout
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.engines.asking import FlagAnswer
from grpo_launch.engines.flag_facts import flag_facts
from grpo_launch.engines.swift import flags
from grpo_launch.engines.swift.flag_rules import (
    rollout_flags_are_those_of_a_rollout_server,
    server_and_learner_encode_alike,
)
from grpo_launch.errors import LaunchError
from grpo_launch.learners.swift import flags as rlhf
from grpo_launch.plan import LEARNER, SERVER, LaunchPlan
from grpo_launch.planning import devices, planner

TREE: dict[str, Any] = {
    "model": {"model": "some/model"},
    "data": {"dataset": ["a.jsonl"]},
    "rlhf": {"vllm_server_host": ["127.0.0.1"], "vllm_server_port": [8000]},
    "custom": {
        "extra": {
            "rollout_server": {"vllm_tensor_parallel_size": 1, "vllm_data_parallel_size": 1},
            "launch": {"gpus": {"server": ["0"], "learner": ["1"]}, "runtime": "current"},
        }
    },
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def legacy(server: dict[str, Any] | None = None, **sections: Any) -> str:
    tree = copy.deepcopy(TREE)
    for name, values in sections.items():
        tree.setdefault(name, {}).update(values)
    tree["custom"]["extra"]["rollout_server"].update(server or {})
    Path("x.yaml").write_text(yaml.safe_dump(tree))
    return "./x.yaml"


def native(server: dict[str, Any] | None = None) -> str:
    train = {key: value for key, value in TREE.items() if key != "custom"}
    blocks = copy.deepcopy(TREE["custom"]["extra"])
    node = {
        "train": train,
        "gpus": blocks["launch"]["gpus"],
        "rollout_server": {**blocks["rollout_server"], **(server or {})},
    }
    Path("x.yaml").write_text("# @package _global_\n" + yaml.safe_dump(node))
    return "./x.yaml"


def planned(config: LaunchConfig) -> LaunchPlan:
    split = devices.assign(config, ["0", "1"])
    return planner.build(config, split, [SERVER, LEARNER], "runs/x/NEW", Path("/project"))


def words(config: LaunchConfig, flag: str) -> list[str]:
    """What stands behind a flag of the server."""
    argv = planned(config).processes[0].argv
    assert argv.count(flag) == 1
    rest = list(argv[argv.index(flag) + 1 :])
    end = next((n for n, word in enumerate(rest) if word.startswith("--")), len(rest))
    return rest[:end]


@pytest.mark.parametrize("write", [legacy, native])
def test_a_file_sets_any_flag(write: Any) -> None:
    config = compose(
        write({"seed": 7, "stop_words": ["a", "b"], "vllm_speculative_config": {"n": 1}})
    )
    assert words(config, "--seed") == ["7"]
    assert words(config, "--stop_words") == ["a", "b"]
    assert words(config, "--vllm_speculative_config") == ['{"n": 1}']


@pytest.mark.parametrize(
    ("override", "flag", "given"),
    [
        ("rollout_server.max_batch_size=4", "--max_batch_size", ["4"]),
        ("+rollout_server.max_batch_size=4", "--max_batch_size", ["4"]),
        ("++rollout_server.max_batch_size=4", "--max_batch_size", ["4"]),
        ("rollout_server.logprobs=true", "--logprobs", ["true"]),
        ("rollout_server.repetition_penalty=1.5", "--repetition_penalty", ["1.5"]),
        ("rollout_server.stop_words=[a,b]", "--stop_words", ["a", "b"]),
        ("rollout_server.stop_words=a", "--stop_words", ["a"]),
        ("rollout_server.stop_words='a b'", "--stop_words", ["a b"]),
        ("rollout_server.external_plugins=p.py", "--external_plugins", ["p.py"]),
        (
            "rollout_server.vllm_speculative_config={n: 1}",
            "--vllm_speculative_config",
            ['{"n": 1}'],
        ),
        ("rollout_server.log_level=debug", "--log_level", ["debug"]),
    ],
)
def test_the_command_line_sets_any_flag(override: str, flag: str, given: list[str]) -> None:
    for write in (legacy, native):
        assert words(compose(write(), [override]), flag) == given


def test_one_value_is_a_list_of_one_in_a_file_too() -> None:
    config = compose(legacy({"stop_words": "a", "external_plugins": "p.py"}))
    assert words(config, "--stop_words") == ["a"]
    assert words(config, "--external_plugins") == ["p.py"]


def test_a_flag_of_the_file_is_replaced_and_taken_back() -> None:
    config = compose(legacy({"seed": 7}), ["rollout_server.seed=8"])
    assert config.rollout_server["seed"] == 8
    assert config.train["custom"]["extra"]["rollout_server"]["seed"] == 8
    assert "seed" not in compose(legacy({"seed": 7}), ["rollout_server.seed=null"]).rollout_server


def test_only_flags_that_are_set_become_fields() -> None:
    assert rollout.settings() is rollout.settings("swift")
    with rollout.choosing(None, ["seed", "nothing_such", "port"]):
        assert set(rollout.settings().__dataclass_fields__) - set(
            rollout.ENGINES.get("swift").settings.__dataclass_fields__
        ) == {"seed"}


_USE = "external_plugins, gym_env, lora_policy, max_turns, multi_turn_scheduler, use_gym_env, "


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_batch_sise", "4", "unknown key, did you mean rollout_server.max_batch_size?"),
        ("max_batch_size", "x", "'x' is not an integer, write an integer there"),
        ("max_batch_size", "1.5", "'1.5' is not an integer, write an integer there"),
        ("logprobs", "7", "'7' is not true or false, write true or false"),
        ("port", "9", "is given by the launcher, set rlhf.vllm_server_port instead"),
        ("host", "x", "is given by the launcher, set rlhf.vllm_server_host instead"),
        ("model", "x", "is given by the launcher, set model.model instead"),
    ],
)
def test_what_is_no_flag_or_no_value_of_one(key: str, value: str, message: str) -> None:
    for sign in ("", "+"):
        with pytest.raises(LaunchError) as refused:
            compose(legacy(), [f"{sign}rollout_server.{key}={value}"])
        assert str(refused.value) == f"command line: rollout_server.{key}: {message}"


def test_a_key_like_no_flag_is_answered_with_the_usual_ones() -> None:
    with pytest.raises(
        LaunchError, match=rf"unknown key, use one of {_USE}.*, or another flag of swift rollout"
    ):
        compose(legacy(), ["rollout_server.zzzz=1"])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("max_batch_sise", "unknown key, did you mean rollout_server.max_batch_size?"),
        ("port", "is given by the launcher, set rlhf.vllm_server_port instead"),
    ],
)
def test_a_file_is_told_the_same(key: str, message: str) -> None:
    (mistake,) = compose(legacy({key: 4})).mistakes
    where = f"x.yaml: custom.extra.rollout_server.{key}"
    assert str(mistake.error) == f"{where}: {message.replace('rollout_server.max', 'max')}"
    with pytest.raises(LaunchError) as refused:
        compose(native({key: 4}))
    assert str(refused.value) == f"x.yaml: rollout_server.{key}: {message}"


@pytest.mark.parametrize(
    ("override", "messages"),
    [
        ("vllm_reasoning_parser=x", ["is refused by swift rollout, remove it"]),
        ("context_manager=x", ["is refused by swift rollout, remove it"]),
        ("vllm_pipeline_parallel_size=2", ["is refused by swift rollout, remove it"]),
        ("vllm_pipeline_parallel_size=1", []),
    ],
)
def test_flags_that_every_server_refuses(override: str, messages: list[str]) -> None:
    config = compose(legacy(), [f"rollout_server.{override}"])
    where = f"command line: rollout_server.{override.partition('=')[0]}"
    problems = rollout_flags_are_those_of_a_rollout_server(Context.of(config, Facts()))
    assert [str(problem) for problem in problems] == [f"{where}: {text}" for text in messages]


@pytest.mark.parametrize(
    ("section", "values", "flag", "given"),
    [
        ("template", {"enable_thinking": False}, "--enable_thinking", ["false"]),
        ("rlhf", {"enable_thinking": False}, "--enable_thinking", ["false"]),
        ("template", {"agent_template": "hermes"}, "--agent_template", ["hermes"]),
        ("template", {"response_prefix": "<think>"}, "--response_prefix", ["<think>"]),
        ("template", {"max_pixels": 1000}, "--max_pixels", ["1000"]),
        ("template", {"system": "be brief"}, "--system", ["be brief"]),
        ("model", {"rope_scaling": {"factor": 2, "type": "yarn"}}, "--rope_scaling", ['{"factor": 2, "type": "yarn"}']),
        ("model", {"new_special_tokens": ["<a>", "<b>"]}, "--new_special_tokens", ["<a>", "<b>"]),
    ],
)  # fmt: skip
def test_what_decides_how_a_prompt_is_encoded_reaches_both_halves(
    section: str, values: dict[str, Any], flag: str, given: list[str]
) -> None:
    config = compose(legacy(**{section: values}))
    assert words(config, flag) == given
    arguments = yaml.safe_load(planned(config).files[0].text)
    assert {key: arguments[key] for key in values} == values


@pytest.mark.parametrize(
    "name", ["max_length", "truncation_strategy", "padding_side", "loss_scale"]
)
def test_what_concerns_the_learner_alone_stays_there(name: str) -> None:
    config = compose(legacy(template={name: "left"}))
    assert f"--{name}" not in planned(config).processes[0].argv


def test_every_shared_argument_is_a_flag_of_both_programs() -> None:
    names = {key.rpartition(".")[2] for key in encoding.ENCODING}
    assert names <= flags.FLAGS.shipped().table.flags.keys()
    assert names <= rlhf.FLAGS.shipped().table.flags.keys()


@pytest.mark.parametrize(
    ("learner", "server", "messages"),
    [
        ({}, {}, []),
        ({"enable_thinking": False}, {}, []),
        ({"enable_thinking": False}, {"enable_thinking": False}, []),
        ({"enable_thinking": False}, {"enable_thinking": True},
         ["error: x.yaml: custom.extra.rollout_server.enable_thinking: is true, but the learner's enable_thinking is false (x.yaml: template.enable_thinking), set template.enable_thinking alone, both halves get it"]),
        ({}, {"max_pixels": 5},
         ["error: x.yaml: custom.extra.rollout_server.max_pixels: is 5, but the learner's max_pixels is not set, set template.max_pixels alone, both halves get it"]),
        ({"torch_dtype": "float32"}, {"torch_dtype": "bfloat16"},
         ["warning: x.yaml: custom.extra.rollout_server.torch_dtype: is 'bfloat16', but the learner's torch_dtype is 'float32' (x.yaml: template.torch_dtype), set template.torch_dtype alone, both halves get it"]),
        ({"max_length": 5}, {"max_length": 7}, []),
        ({}, {"template_backend": "swift"}, []),  # the default
        ({}, {"template_backend": "wrong"}, []),  # reported with the flags
    ],
)  # fmt: skip
def test_a_server_that_encodes_otherwise(
    learner: dict[str, Any], server: dict[str, Any], messages: list[str]
) -> None:
    config = compose(legacy(server, template=learner))
    server_flags = FlagAnswer(flags.FLAGS.shipped().table)
    context = Context.of(config, flag_facts(server_flags, None))
    problems = server_and_learner_encode_alike(context)
    assert [f"{p.severity.value}: {p}" for p in problems] == messages
    for name, value in server.items():
        assert words(config, f"--{name}") == [str(value).lower()]


@pytest.mark.parametrize(
    ("learner", "server", "refused"),
    [
        ({}, {"agent_template": "hermes"}, []),
        ({}, {"response_prefix": "<think>"}, []),
        ({"agent_template": "react_en"}, {"agent_template": "hermes"}, ["agent_template"]),
    ],
)
def test_a_server_alone_is_told_what_a_learner_elsewhere_is_told(
    learner: dict[str, Any], server: dict[str, Any], refused: list[str]
) -> None:
    def found(role: str) -> list[str]:
        config = compose(legacy(server, template=learner), [f"role={role}"])
        facts = flag_facts(FlagAnswer(flags.FLAGS.shipped().table), None)
        problems = server_and_learner_encode_alike(Context.of(config, facts))
        return [problem.where.rpartition(".")[2] for problem in problems]

    assert found("server") == refused
    assert found("learner") == found("both") == list(server)


def test_variables_of_one_half() -> None:
    overrides = [
        *("+env.set.A=both", "+env.set.B=both", "+env.server.set.A=server"),
        *("+env.learner.set.C=false", "+env.defaults.D=both", "+env.learner.defaults.D=learner"),
    ]
    server, learner = planned(compose(legacy(), overrides)).processes
    assert {k: server.env.get(k) for k in "ABC"} == {"A": "server", "B": "both", "C": None}
    assert {k: learner.env.get(k) for k in "ABC"} == {"A": "both", "B": "both", "C": "false"}
    assert server.env_defaults["D"] == "both"
    assert learner.env_defaults["D"] == "learner"


def test_variables_of_one_half_in_a_file() -> None:
    tree = copy.deepcopy(TREE)
    tree["custom"]["extra"]["launch"]["env"] = {"server": {"set": {"A": True}}}
    Path("x.yaml").write_text(yaml.safe_dump(tree))
    server, learner = planned(compose("./x.yaml")).processes
    assert server.env["A"] == "true"
    assert "A" not in learner.env
