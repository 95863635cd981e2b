"""The rules: each a pure function from a configuration to what is wrong with it.

They follow the validation list of the launcher that this project replaces, and
ms-swift 4.6 (``swift/arguments/rlhf_args.py``, ``deploy_args.py``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from grpo_launch.base import redaction
from grpo_launch.checks import servers
from grpo_launch.config import kinds, schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Rule
from grpo_launch.config.schema import SECTIONS

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def server_mode_is_on(config: LaunchConfig) -> list[Problem]:
    """``rlhf.use_vllm`` is true and ``rlhf.vllm_mode`` is ``server``."""
    problems: list[Problem] = []
    use_vllm = config.get("rlhf.use_vllm")
    if use_vllm is not True:
        where = config.where("train.rlhf.use_vllm")
        problems.append(Problem(where, f"is {_said(use_vllm)}, not true", "set use_vllm: true"))
    mode = config.get("rlhf.vllm_mode")
    if mode != "server":
        where = config.where("train.rlhf.vllm_mode")
        problems.append(
            Problem(where, f"is {_said(mode)}, this launcher runs server mode", "set it to server")
        )
    return problems


def model_is_named(config: LaunchConfig) -> list[Problem]:
    """``model.model`` is a non-empty string: both halves load it."""
    model = config.get("model.model")
    if isinstance(model, str) and model.strip():
        return []
    where = config.where("train.model.model")
    return [Problem(where, f"is {_said(model)}", "set it to a model's name or directory")]


def required_sizes(config: LaunchConfig) -> list[Problem]:
    """TP, DP and the longest sequence are given, and positive."""
    problems: list[Problem] = []
    for key in (
        "vllm_tensor_parallel_size",
        "vllm_data_parallel_size",
        "vllm_max_model_len",
    ):
        value = config.rollout_server.get(key)
        if value is None:
            where = config.where(f"rollout_server.{key}")
            problems.append(Problem(where, "is required", "set it to a positive integer"))
        elif value < 1:
            where = config.where(f"rollout_server.{key}")
            problems.append(Problem(where, f"{value} is below 1", "use a positive integer"))
    return problems


def memory_share(config: LaunchConfig) -> list[Problem]:
    """``vllm_gpu_memory_utilization`` is above 0 and at most 1."""
    share = config.rollout_server.get("vllm_gpu_memory_utilization")
    if share is None or 0 < share <= 1:
        return []
    where = config.where("rollout_server.vllm_gpu_memory_utilization")
    fix = f"did you mean {share / 100:g}?" if 1 < share <= 100 else "use a number in (0, 1]"
    return [Problem(where, f"{share:g} is no share of the memory", fix)]


def server_holds_a_full_sequence(config: LaunchConfig) -> list[Problem]:
    """``vllm_max_model_len`` is at least ``global_max_length``, if that is set."""
    longest = config.rollout_server.get("vllm_max_model_len")
    wanted = config.get("global_max_length")
    if wanted is None or longest is None:
        return []
    key = "train.global_max_length"
    if not kinds.fits(int, wanted) or int(float(wanted)) < 1:
        what = f"{kinds.said(wanted)} is no length"
        return [Problem(config.where(key), what, "use a positive integer")]
    wanted = int(float(wanted))
    if longest >= wanted:
        return []
    return [
        Problem(
            config.where("rollout_server.vllm_max_model_len"),
            f"{longest} is below global_max_length {wanted} ({config.where(key)})",
            f"set it to {wanted}",
        )
    ]


def lora_policy_holds(config: LaunchConfig) -> list[Problem]:
    """LoRA flags of the server are refused unless ``rollout_server.lora_policy`` allows them.

    A learner that syncs full weights to a LoRA server leaves it generating from the
    old ones, so serving adapters has to be meant.
    """
    if config.lora_policy is schema.LoraPolicy.allow:
        return []
    return [
        Problem(
            config.where(f"rollout_server.{key}"),
            "LoRA on the rollout server is forbidden",
            f"{fix}, or set {config.spelled('rollout_server.lora_policy')} to allow",
        )
        for key, fix in (
            ("vllm_enable_lora", "set it to false"),
            ("vllm_max_lora_rank", "remove it"),
        )
        if config.rollout_server.get(key) not in (None, False)
    ]


def flags_are_not_empty(config: LaunchConfig) -> list[Problem]:
    """No flag is an empty string: it would swallow the flag after it."""
    return [
        Problem(config.where(f"rollout_server.{key}"), "is empty", "remove it or give a value")
        for key, value in config.rollout_server.items()
        if isinstance(value, str) and not value.strip()
    ]


def sections_agree(config: LaunchConfig) -> list[Problem]:
    """An argument that two sections give has one value."""
    seen: dict[Any, tuple[str, Any]] = {}
    problems: list[Problem] = []
    for section in SECTIONS:
        value = config.train.get(section)
        if not isinstance(value, dict):
            continue
        for key, item in cast("dict[Any, Any]", value).items():
            first, before = seen.setdefault(key, (section, item))
            if item != before:
                problems.append(
                    Problem(
                        config.where(f"train.{section}.{key}"),
                        f"is {_said(item)}, but {first}.{key} is {_said(before)}",
                        "keep one of them",
                    )
                )
    return problems


def probe_and_dry_run(config: LaunchConfig) -> list[Problem]:
    """The health path is a path, ``dry_run`` is one of its values."""
    problems: list[Problem] = []
    if not config.health.path.startswith("/"):
        what = f"{kinds.said(config.health.path)} is no path"
        problems.append(Problem(config.where("health.path"), what, "begin it with /"))
    if config.dry_run not in (True, False, "json"):
        what = f"{kinds.said(config.dry_run)} is unknown"
        problems.append(Problem(config.where("dry_run"), what, "use true, false or json"))
    return problems


def runtime_is_complete(config: LaunchConfig) -> list[Problem]:
    """A virtual environment has a path, a conda environment has a name."""
    runtime = config.runtime
    if runtime.kind is schema.RuntimeKind.venv and not runtime.path:
        return [_without(config, "runtime.path", "a directory")]
    if runtime.kind is schema.RuntimeKind.conda and not runtime.name:
        return [_without(config, "runtime.name", "a conda environment")]
    return []


def env_names_are_names(config: LaunchConfig) -> list[Problem]:
    """What ``env`` sets has a name that every shell accepts, and is free of zero bytes."""
    problems: list[Problem] = []
    for kind, pairs in _env(config):
        for name, value in pairs:
            where = config.where(f"env.{kind}.{name}")
            if not _NAME.fullmatch(name):
                what = f"{kinds.said(name)} is no name of a variable"
                problems.append(Problem(where, what, "use letters, digits and _"))
            if "\0" in value:
                problems.append(Problem(where, "holds a zero byte", "remove it"))
    return problems


def no_secrets(config: LaunchConfig) -> list[Problem]:
    """Tokens and passwords come from the environment: configurations are recorded."""
    said = [(f"env.{kind}.{key}", value) for kind, pairs in _env(config) for key, value in pairs]
    for section in SECTIONS:
        value = config.train.get(section)
        if isinstance(value, dict):
            pairs = cast("dict[Any, Any]", value).items()
            said += [(f"train.{section}.{key}", item) for key, item in pairs]
    return [
        Problem(
            config.where(key),
            "a secret in the configuration would be recorded",
            "export it in the environment of the launcher instead",
        )
        for key, value in said
        if isinstance(value, str) and value and redaction.is_secret_name(key.rpartition(".")[2])
    ]


RULES: Sequence[Rule] = (
    server_mode_is_on,
    servers.server_hosts,
    servers.server_ports,
    servers.one_host_a_port,
    model_is_named,
    required_sizes,
    memory_share,
    flags_are_not_empty,
    lora_policy_holds,
    servers.sizes_match_devices,
    servers.devices_are_disjoint,
    server_holds_a_full_sequence,
    sections_agree,
    probe_and_dry_run,
    runtime_is_complete,
    env_names_are_names,
    no_secrets,
)
"""All rules, in the order in which their findings are reported."""


def _env(config: LaunchConfig) -> list[tuple[str, Any]]:
    return [("defaults", config.env.defaults.items()), ("set", config.env.set.items())]


def _said(value: Any) -> str:
    return "not set" if value is None else kinds.said(value)


def _without(config: LaunchConfig, key: str, value: str) -> Problem:
    """A kind of environment that lacks what it needs."""
    beside = config.spelled("runtime.kind").removesuffix("kind") + key.rpartition(".")[2]
    what = f"is {config.runtime.kind.value}, but {beside} is not set"
    return Problem(config.where("runtime.kind"), what, f"set {beside} to {value}")
