"""The learner's arguments file: an experiment's sections as one flat mapping."""

from __future__ import annotations

import math
from typing import Any, cast

from grpo_launch.config import endpoint
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.schema import SECTIONS
from grpo_launch.learners.swift import stages
from grpo_launch.tracking import variables


def flatten(config: LaunchConfig, world_size: int, output_dir: str) -> dict[str, Any]:
    """The arguments of ``swift rlhf``, ``sft`` or ``pt`` for a valid configuration.

    Null means "not said" and is left out. ``effective_batch_size`` becomes
    ``gradient_accumulation_steps = max(1, ceil(effective / (per device x world)))``,
    ``global_max_length`` becomes ``max_length`` (ms-swift 4.6 has no truncation
    strategy ``raise``; overlong rows follow ``truncation_strategy``). What ``tracking``
    chooses replaces ``report_to``. What server mode needs is added (:func:`server_mode`).

    Args:
        config: a valid configuration.
        world_size: processes of the learner.
        output_dir: where the learner writes, unless ``training.output_dir`` is set.
    """
    stage = stages.of(config)
    arguments: dict[str, Any] = {"rlhf_type": stage.name} if stage.is_rlhf else {}
    for section in SECTIONS:
        value = config.train.get(section)
        if section == "deepspeed":
            value = _deepspeed(value)
        if isinstance(value, dict):
            mapping = cast("dict[Any, Any]", value)
            said = {str(k): v for k, v in mapping.items() if v is not None}
            passed = (name for name in said if stages.is_passed(config, f"train.{section}.{name}"))
            arguments.update({name: said[name] for name in passed})
    if (length := config.get("global_max_length")) is not None:
        arguments.setdefault("max_length", int(float(length)))
    _expand_effective_batch_size(arguments, world_size)
    for name, value in server_mode(config).items() if stage.needs_servers else ():
        arguments.setdefault(name, value)
    arguments.setdefault("output_dir", output_dir)
    arguments |= variables.arguments(config)
    return arguments


def server_mode(config: LaunchConfig) -> dict[str, Any]:
    """What the learner must be told of the servers, whether the experiment says it or not.

    ms-swift's own defaults are no vLLM, no mode and no host, and port 8000 (``VllmArguments``,
    ``GRPOArgumentsMixin`` in ``swift/rlhf_trainers/args_mixin.py``).
    """
    return {
        "use_vllm": True,
        "vllm_mode": "server",
        "vllm_server_host": endpoint.hosts(config),
        "vllm_server_port": endpoint.ports(config),
    }


def _deepspeed(value: Any) -> Any:
    """``zero2``, ``{enabled: true, config: zero2}`` or ``{deepspeed: zero2}`` as an argument."""
    if isinstance(value, str):
        return {"deepspeed": value}
    if isinstance(value, dict) and ("enabled" in value or "config" in value):
        mapping = cast("dict[str, Any]", value)
        return {"deepspeed": mapping.get("config")} if mapping.get("enabled", True) else {}
    return value


def _expand_effective_batch_size(arguments: dict[str, Any], world_size: int) -> None:
    """Replace the launcher's own key; that both agree is one of the ``batch_rules.py``."""
    effective = arguments.pop("effective_batch_size", None)
    if effective is None:
        return
    per_device = int(float(arguments.get("per_device_train_batch_size", 1)))
    steps = math.ceil(int(float(effective)) / (per_device * world_size))
    arguments["gradient_accumulation_steps"] = max(1, steps)
