"""Each rule on good and bad configurations, and all rules on data that nobody expects."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import functools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.checks.examine import Problem, Severity, examine, require_valid, validate
from grpo_launch.checks.limits import LIMIT_RULES
from grpo_launch.checks.servers import SERVER_RULES
from grpo_launch.checks.settings import SETTINGS_RULES
from grpo_launch.checks.structure import STRUCTURE_RULES
from grpo_launch.config import schema
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.swift.rules import (
    gpu_memory_utilization_is_a_fraction,
    lora_policy_allows_lora_flags,
    max_model_len_covers_global_max_length,
    required_server_flags_are_positive,
    server_flags_are_not_empty,
)
from grpo_launch.errors import InvalidConfigError
from grpo_launch.learners.swift.rules import model_is_set, sections_agree, vllm_mode_is_server

GOOD: dict[str, Any] = {
    "global_max_length": 64,
    "model": {"model": "some/model"},
    "data": {"dataset": ["d.jsonl"]},
    "training": {"learning_rate": 1e-6},
    "rlhf": {
        "use_vllm": True,
        "vllm_mode": "server",
        "vllm_server_host": ["127.0.0.1"],
        "vllm_server_port": [8080],
    },
    "custom": {
        "note": "anything",
        "extra": {
            "rollout_server": {
                "vllm_tensor_parallel_size": 1,
                "vllm_data_parallel_size": 2,
                "vllm_max_model_len": 64,
            },
            "launch": {"gpus": {"server": ["0", "1"], "learner": ["2"]}},
        },
    },
}

RULES = (
    *STRUCTURE_RULES,
    *SERVER_RULES,
    *SETTINGS_RULES,
    *LIMIT_RULES,
    vllm_mode_is_server,
    model_is_set,
    sections_agree,
    required_server_flags_are_positive,
    gpu_memory_utilization_is_a_fraction,
    server_flags_are_not_empty,
    lora_policy_allows_lora_flags,
    max_model_len_covers_global_max_length,
)
"""The rules of this file; the others have files of their own."""

S = "custom.extra.rollout_server."
L = "custom.extra.launch."
REMOVED = object()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def problems(changes: dict[str, Any], *overrides: str) -> list[str]:
    """What the rules say of GOOD with changes, ``severity`` aside."""
    return [str(problem).removeprefix("x.yaml: ") for problem in found(changes, *overrides)]


def found(changes: dict[str, Any], *overrides: str) -> list[Problem]:
    Path("x.yaml").write_text(yaml.safe_dump(changed(changes), sort_keys=False))
    config = compose("x", overrides)
    ours = {rule.name for rule in RULES}
    return [p for outcome in examine(config) if outcome.rule in ours for p in outcome.problems]


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = copy.deepcopy(GOOD)
    for key, value in changes.items():
        *above, last = key.split(".")
        node = functools.reduce(lambda n, k: n.setdefault(k, {}), above, data)
        if value is REMOVED:
            del node[last]
        else:
            node[last] = value
    return data


def test_a_good_configuration_has_no_problem() -> None:
    assert problems({}) == []


FINE: dict[str, dict[str, Any]] = {
    "host and port as scalars": {"rlhf.vllm_server_host": "localhost", "rlhf.vllm_server_port": 1},
    "a port as text": {"rlhf.vllm_server_port": ["8080"]},
    "server mode unsaid": {"rlhf": REMOVED},
    "server mode said as null": {"rlhf": dict.fromkeys(GOOD["rlhf"])},
    "two servers of this machine": {
        "rlhf.vllm_server_host": REMOVED,
        "rlhf.vllm_server_port": [8000, 8001],
        S + "vllm_data_parallel_size": 1,
    },
    "no block of the server": {"custom.extra.rollout_server": REMOVED, L + "gpus.server": ["0"]},
    "an empty block of the server": {
        "custom.extra.rollout_server": None,
        L + "gpus.server": ["0"],
    },
    "sizes left to the engine": {
        "custom.extra.rollout_server": dict.fromkeys(GOOD["custom"]["extra"]["rollout_server"]),
        L + "gpus.server": ["0"],
    },
    "the last port": {"rlhf.vllm_server_port": 65535},
    "no global_max_length": {"global_max_length": None},
    "a longer server": {S + "vllm_max_model_len": 65},
    "a length as text": {"global_max_length": "64"},
    "the whole memory": {S + "vllm_gpu_memory_utilization": 1.0},
    "LoRA said off": {S + "vllm_enable_lora": False, S + "vllm_max_lora_rank": None},
    "no devices listed": {L + "gpus": {}},
    "the learner's devices alone": {L + "gpus": {"learner": ["7"]}},
    "LoRA that is meant": {S + "vllm_enable_lora": True, S + "lora_policy": "allow"},
    "null sections": {"tuner": None, "deepspeed": None},
    "deepspeed by name": {"deepspeed": "zero2"},
    "two sections that agree": {"training.seed": 1, "rlhf.seed": 1},
    "an immediate SIGKILL": {L + "shutdown": {"term_s": 0}},
    "a dry run as JSON": {L + "dry_run": "json"},
    "a virtual environment": {L + "runtime": {"kind": "venv", "path": "e"}},
    "an option's own values": {L + "runtime": "venv"},
    "a file of a token": {"model.tokenizer": "x", "rlhf.max_tokens": "5", "training.tokens": "y"},
    "an empty token": {"training.hub_token": ""},
    "an unset token": {"training.hub_token": None},
}


@pytest.mark.parametrize("changes", FINE.values(), ids=FINE.keys())
def test_what_is_fine_has_no_problem(changes: dict[str, Any]) -> None:
    assert problems(changes) == []


MESSAGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "vllm is off": (
        {"rlhf.use_vllm": False},
        ["rlhf.use_vllm: is false, not true, set use_vllm: true"],
    ),
    "vllm is on as text": (
        {"rlhf.use_vllm": "no"},
        ["rlhf.use_vllm: is 'no', not true, set use_vllm: true"],
    ),
    "colocate mode": (
        {"rlhf.vllm_mode": "colocate"},
        ["rlhf.vllm_mode: is 'colocate', this launcher runs server mode, set it to server"],
    ),
    "no host": (
        {"rlhf.vllm_server_host": []},
        ["rlhf.vllm_server_host: names no host, set it to [127.0.0.1]"],
    ),
    "addresses in another way": (
        {"rlhf.vllm_server_host": REMOVED, "rlhf.vllm_server_base_url": ["http://a:8080"]},
        [
            (
                "rlhf.vllm_server_base_url: 'a' is not this machine, where the rollout server "
                "must be, set it to [127.0.0.1], or start them separately with role=server and "
                "role=learner"
            )
        ],
    ),
    "vllm is off in another section": (
        {"rlhf.use_vllm": REMOVED, "training.use_vllm": False},
        ["training.use_vllm: is false, not true, set use_vllm: true"],
    ),
    "two hosts": (
        {"rlhf.vllm_server_host": ["127.0.0.1", "localhost"]},
        [
            (
                "rlhf.vllm_server_host: names 2 hosts, but vllm_server_port names 1 port (8080) "
                "(x.yaml: rlhf.vllm_server_port), give one host for each port: "
                "[HOST]"
            )
        ],
    ),
    "another machine": (
        {"rlhf.vllm_server_host": "10.0.0.1"},
        [
            (
                "rlhf.vllm_server_host: '10.0.0.1' is not this machine, where the rollout server "
                "must be, set it to [127.0.0.1], or start them separately with role=server and "
                "role=learner"
            )
        ],
    ),
    "no port": (
        {"rlhf.vllm_server_port": []},
        ["rlhf.vllm_server_port: names no port, set it to [8080]"],
    ),
    "port 0": (
        {"rlhf.vllm_server_port": 0},
        ["rlhf.vllm_server_port: 0 is not a port, use a number from 1 to 65535"],
    ),
    "a port above 65535": (
        {"rlhf.vllm_server_port": [65536]},
        ["rlhf.vllm_server_port: 65536 is not a port, use a number from 1 to 65535"],
    ),
    "a port that is a word": (
        {"rlhf.vllm_server_port": "http"},
        ["rlhf.vllm_server_port: 'http' is not a port, use a number from 1 to 65535"],
    ),
    "true is not a port": (
        {"rlhf.vllm_server_port": True},
        ["rlhf.vllm_server_port: true is not a port, use a number from 1 to 65535"],
    ),
    "a null port": (
        {"rlhf.vllm_server_port": [None]},
        ["rlhf.vllm_server_port: null is not a port, use a number from 1 to 65535"],
    ),
    "no model": (
        {"model": REMOVED},
        ["model.model: is not set, set it to a model's name or directory"],
    ),
    "a blank model": (
        {"model.model": " "},
        ["model.model: is ' ', set it to a model's name or directory"],
    ),
    "a block that is a list": (
        {"custom.extra.rollout_server": [1], "custom.extra.launch": REMOVED},
        ["custom.extra.rollout_server: is [1], not a mapping, write 'key: value' lines below"],
    ),
    "what holds the blocks is a list": (
        {"custom": [1]},
        ["custom: is [1], not a mapping, write 'key: value' lines below"],
    ),
    "a launch block that is text": (
        {"custom.extra.launch": "gpus"},
        ["custom.extra.launch: is 'gpus', not a mapping, write 'key: value' lines below"],
    ),
    "no DP": (
        {S + "vllm_data_parallel_size": REMOVED, L + "gpus.server": ["0"]},
        [
            S + "vllm_data_parallel_size: is required in custom.extra.rollout_server, set it to a "
            "positive integer, or to null for ms-swift's default"
        ],
    ),
    "more devices than the defaults take": (
        {"custom.extra.rollout_server": None},
        [
            L + "gpus.server: lists 2 devices (0, 1), but TP x DP is 1 x 1 (the default of "
            f"ms-swift), list 1 device, or set {S}vllm_data_parallel_size to 2"
        ],
    ),
    "TP 0": (
        {S + "vllm_tensor_parallel_size": 0, L + "gpus": REMOVED},
        [S + "vllm_tensor_parallel_size: 0 is below 1, use a positive integer"],
    ),
    "no memory": (
        {S + "vllm_gpu_memory_utilization": 0},
        [
            S + "vllm_gpu_memory_utilization: 0 is not a fraction of the memory, "
            "use a number in (0, 1]"
        ],
    ),
    "more than all memory": (
        {S + "vllm_gpu_memory_utilization": 60},
        [S + "vllm_gpu_memory_utilization: 60 is not a fraction of the memory, did you mean 0.6?"],
    ),
    "memory that is no number": (
        {S + "vllm_gpu_memory_utilization": float("nan")},
        [
            S + "vllm_gpu_memory_utilization: nan is not a fraction of the memory, "
            "use a number in (0, 1]"
        ],
    ),
    "an empty flag": (
        {S + "vllm_quantization": ""},
        [S + "vllm_quantization: is empty, remove it or give a value"],
    ),
    "LoRA": (
        {S + "vllm_enable_lora": True, S + "vllm_max_lora_rank": 8},
        [
            S + "vllm_enable_lora: LoRA on the rollout server is forbidden, "
            "set it to false, or set custom.extra.rollout_server.lora_policy to allow",
            S + "vllm_max_lora_rank: LoRA on the rollout server is forbidden, "
            "remove it, or set custom.extra.rollout_server.lora_policy to allow",
        ],
    ),
    "too few devices": (
        {L + "gpus": {"server": ["0"]}},
        [
            L + "gpus.server: lists 1 device (0), but TP x DP is 1 x 2 "
            f"(x.yaml: {S}vllm_tensor_parallel_size and {S}vllm_data_parallel_size), "
            f"list 2 devices, or set {S}vllm_data_parallel_size to 1"
        ],
    ),
    "a device twice": (
        {L + "gpus": {"server": ["0", "0"], "learner": ["3", "2", "3", "2"]}},
        [
            L + "gpus.server: lists 0 more than once, list each once",
            L + "gpus.learner: lists 2, 3 more than once, list each once",
        ],
    ),
    "a shared device": (
        {L + "gpus.learner": ["1", "2"]},
        [
            L + "gpus.learner: shares device 1 with gpus.server, "
            "give server and learner their own devices"
        ],
    ),
    "no device to learn": (
        {L + "gpus.learner": []},
        [L + "gpus.learner: is empty, list at least one device"],
    ),
    "a server that is too short": (
        {"global_max_length": 128},
        [
            S + "vllm_max_model_len: 64 is below global_max_length 128 "
            "(x.yaml: global_max_length), set it to 128"
        ],
    ),
    "a length that is a word": (
        {"global_max_length": "long"},
        ["global_max_length: 'long' is not a length, use a positive integer"],
    ),
    "a length below 1": (
        {"global_max_length": 0},
        ["global_max_length: 0 is not a length, use a positive integer"],
    ),
    "a section that is a list": (
        {"training": ["x"]},
        ["training: is ['x'], not a mapping, write 'key: value' lines below"],
    ),
    "an unknown section": (
        {"extras": {"seed": 1}},
        [
            (
                "extras: is no section, no node of the launcher and no flag of the learner, "
                "move it below one of model, template, data, tuner, training, rlhf, deepspeed, "
                "or below custom"
            )
        ],
    ),
    "sections that disagree": (
        {"training.seed": 1, "rlhf.seed": 2},
        ["rlhf.seed: is 2, but training.seed is 1, keep one of them"],
    ),
    "deadlines": (
        {L + "health": {"timeout_s": 0}, L + "shutdown": {"term_s": -1, "kill_s": float("inf")}},
        [
            L + "health.timeout_s: 0.0 s is not a time limit, use a positive number",
            L + "shutdown.kill_s: inf s is not a time limit, use a positive number",
            L + "shutdown.term_s: -1.0 s is not a time limit, use 0 or a positive number",
        ],
    ),
    "watchdog and restarts": (
        {L + "watchdog": {"stall_s": float("nan"), "probe_s": 0}, L + "restart": {"budget": -1}},
        [
            L + "watchdog.stall_s: nan s is not a time limit, use 0 or a positive number",
            L + "restart.budget: -1 is not a number of restarts, use 0 or more",
        ],
    ),
    "a relative health path": (
        {L + "health": {"path": "health"}},
        [L + "health.path: 'health' is not a path, begin it with /"],
    ),
    "an unknown dry run": (
        {L + "dry_run": "yaml"},
        [L + "dry_run: 'yaml' is unknown, use true, false or json"],
    ),
    "a conda environment without a name": (
        {L + "runtime": {"kind": "conda", "name": ""}},
        [
            L + f"runtime.kind: is conda, but {L}runtime.name is not set, "
            f"set {L}runtime.name to a conda environment"
        ],
    ),
    "names that no shell accepts": (
        {L + "env": {"set": {"A-B": "x", "OK_1": "x"}, "defaults": {"1A": "x", "C": "\0"}}},
        [
            L + "env.defaults.1A: '1A' is not a name of a variable, use letters, digits and _",
            L + "env.defaults.C: holds a zero byte, remove it",
            L + "env.set.A-B: 'A-B' is not a name of a variable, use letters, digits and _",
        ],
    ),
    "secrets": (
        {
            "training.hub_token": "hf_x",
            "training.api_keys": ["k"],
            L + "env": {"set": {"WANDB_API_KEY": "k"}, "defaults": {"MY_PASSWORD": "p"}},
        },
        [
            f"{where}: a secret in the configuration would be recorded, "
            "export it in the environment of the launcher instead"
            for where in (
                "training.hub_token",
                "training.api_keys",
                L + "env.set.WANDB_API_KEY",
                L + "env.defaults.MY_PASSWORD",
            )
        ],
    ),
}


@pytest.mark.parametrize(("changes", "wanted"), MESSAGES.values(), ids=MESSAGES.keys())
def test_what_is_wrong_is_said_with_its_place_and_what_to_do(
    changes: dict[str, Any], wanted: list[str]
) -> None:
    assert problems(changes) == wanted


def test_a_value_from_the_command_line_is_blamed_on_the_command_line() -> None:
    assert problems({}, "train.rlhf.vllm_server_port=0", "gpus.server=[5]") == [
        "command line: train.rlhf.vllm_server_port: 0 is not a port, use a number from 1 to 65535",
        (
            "command line: gpus.server: lists 1 device (5), but TP x DP is 1 x 2 "
            f"(x.yaml: {S}vllm_tensor_parallel_size and {S}vllm_data_parallel_size), "
            f"list 2 devices, or set {S}vllm_data_parallel_size to 1"
        ),
    ]


def test_a_name_for_anchors_is_a_warning_and_everything_else_an_error() -> None:
    severities = [problem.severity for problem in found({"x-other": 1, "rlhf.use_vllm": False})]
    assert severities == [Severity.WARNING, Severity.ERROR]


def test_all_problems_are_reported_together_in_the_order_of_the_rules() -> None:
    everything = {
        "rlhf": {"vllm_server_port": 0},
        "model": REMOVED,
        "data": 3,
        L + "gpus": {"server": ["0", "1"], "learner": ["1"]},
        L + "health": {"path": "x"},
        "training.api_key": "s",
    }
    keys = [line.partition(": ")[0] for line in problems(everything)]
    assert keys == [
        "data",
        "rlhf.vllm_server_port",
        L + "gpus.learner",
        L + "health.path",
        "training.api_key",
        "model.model",
    ]


TRAINS = {"rlhf.reward_funcs": ["x"], "rlhf.max_completion_length": 16}
"""What GOOD lacks to pass the rules of the other modules."""


def test_errors_stop_the_launch_all_at_once() -> None:
    wrong = {"rlhf.use_vllm": False, "model": REMOVED}
    Path("x.yaml").write_text(yaml.safe_dump(changed({**TRAINS, **wrong})))
    with pytest.raises(InvalidConfigError) as caught:
        require_valid(compose("x"))
    assert caught.value.status == 2
    assert caught.value.lines() == [
        (
            "x.yaml: rlhf.use_vllm: is false, not true, set use_vllm: true"
            " [checks.warn: vllm_mode_is_server]"
        ),
        (
            "x.yaml: model.model: is not set, set it to a model's name or directory"
            " [checks.warn: model_is_set]"
        ),
    ]


def test_warnings_do_not_stop_the_launch() -> None:
    Path("x.yaml").write_text(yaml.safe_dump(changed({**TRAINS, "x-other": 1})))
    warnings = require_valid(compose("x"))
    assert {problem.severity for problem in warnings} == {Severity.WARNING}
    assert any("other" in problem.where for problem in warnings)


@pytest.mark.slow
def test_shipped_experiments_are_valid() -> None:
    for name in ("summary_1024", "summary_1024_attr_key_recall", "tiny_cpu"):
        assert validate(compose(name)) == []
        assert validate(compose(name, ["accelerator=cpu"])) == []


# Data that nobody expects

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=2),
    st.dates(),
    st.just({"a"}),
    st.sampled_from(["server", "127.0.0.1", "8080", "1e5", "1e999", "nan", "${x}", "9" * 400]),
)
_keys = st.one_of(
    st.sampled_from(["model", "hub_token", "seed", "enabled", "config", "rollout_server"]),
    st.none(),
    st.integers(0, 2),
    st.just(datetime.date(2020, 1, 1)),
)
_anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=5,
)
READ = (
    "global_max_length",
    "model",
    "model.model",
    "rlhf",
    "rlhf.use_vllm",
    "rlhf.vllm_mode",
    "rlhf.vllm_server_host",
    "rlhf.vllm_server_port",
    "training",
    "training.hub_token",
    "training.seed",
    "rlhf.seed",
    "deepspeed",
    "custom",
    "custom.extra",
    "custom.extra.rollout_server",
    "custom.extra.launch",
)


@functools.cache
def _composed(directory: Path) -> LaunchConfig:
    path = directory / "good.yaml"
    path.write_text(yaml.safe_dump(GOOD, sort_keys=False))
    return compose(str(path))


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(READ), _anything, max_size=4), _keys, _anything)
def test_no_rule_raises_whatever_the_experiment_holds(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any], key: Any, value: Any
) -> None:
    data: dict[Any, Any] = copy.deepcopy(GOOD)
    data[key] = value
    for dotted, item in sorted(changes.items()):
        *above, last = dotted.split(".")
        node = data
        for part in above:
            if not isinstance(node.get(part), dict):
                node[part] = {}
            node = node[part]
        node[last] = item
    config = dataclasses.replace(_composed(tmp_path_factory.getbasetemp()), train=data)
    for problem in validate(config):
        assert "\n" not in str(problem).strip("\n") or "\n" in repr(data)


_numbers = st.none() | st.integers(-1, 3)
_devices = st.none() | st.lists(st.sampled_from(["0", "1", "2", ""]), max_size=4)


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "vllm_tensor_parallel_size": st.integers(-2, 3),
            "vllm_data_parallel_size": st.integers(-2, 3),
            "vllm_max_model_len": st.integers(-2, 100),
            "vllm_gpu_memory_utilization": st.floats(),
            "vllm_quantization": st.text(max_size=2),
            "vllm_enable_lora": st.booleans(),
            "vllm_max_lora_rank": st.integers(-1, 3),
        },
    ),
    st.builds(schema.Gpus, server=_devices, learner=_devices),
    st.builds(schema.Health, path=st.text(max_size=2), timeout_s=st.floats()),
    st.builds(schema.Shutdown, term_s=st.floats(), kill_s=st.floats()),
    st.sampled_from([True, False, "json", None, [], {}, 3, "x"]),
)
def test_no_rule_raises_whatever_the_typed_nodes_hold(
    tmp_path_factory: pytest.TempPathFactory,
    flags: dict[str, Any],
    gpus: schema.Gpus,
    health: schema.Health,
    shutdown: schema.Shutdown,
    dry_run: Any,
) -> None:
    config = dataclasses.replace(
        _composed(tmp_path_factory.getbasetemp()),
        rollout_server=flags,
        gpus=gpus,
        health=health,
        shutdown=shutdown,
        dry_run=dry_run,
    )
    validate(config)


@pytest.mark.slow
def test_halves_on_two_machines_are_started_apart() -> None:
    far = {"rlhf.vllm_server_host": "10.0.0.1"}
    assert problems(far, "role=learner") == []
    (refused,) = problems(far, "role=server")
    assert "'10.0.0.1' is not this machine, so there is no server to start" in refused
