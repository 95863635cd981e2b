"""The learner's arguments file: an experiment's sections as one flat mapping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from grpo_launch import resources
from grpo_launch.compose import lift
from grpo_launch.compose.config import LaunchConfig
from grpo_launch.errors import ConfigError
from grpo_launch.schema import SECTIONS


def flatten(config: LaunchConfig, world_size: int, output_dir: str) -> dict[str, Any]:
    """The arguments of ``swift rlhf`` for a valid configuration.

    Null means "not said" and is left out. ``effective_batch_size`` becomes
    ``gradient_accumulation_steps = max(1, ceil(effective / (per device x world)))``,
    ``global_max_length`` becomes ``max_length`` (ms-swift 4.6 has no truncation
    strategy ``raise``; overlong rows follow ``truncation_strategy``).

    Args:
        config: a valid configuration.
        world_size: processes of the learner.
        output_dir: where the learner writes, unless ``training.output_dir`` is set.

    Raises:
        ConfigError: batch sizes contradict each other or are not positive integers.
    """
    arguments: dict[str, Any] = {"rlhf_type": "grpo"}
    for section in SECTIONS:
        value = config.train.get(section)
        if section == "deepspeed":
            value = _deepspeed(value)
        if isinstance(value, dict):
            mapping = cast("dict[Any, Any]", value)
            arguments.update({str(k): v for k, v in mapping.items() if v is not None})
    if (length := config.get("global_max_length")) is not None:
        arguments.setdefault("max_length", int(float(length)))
    _expand_effective_batch_size(config, arguments, world_size)
    arguments.setdefault("output_dir", output_dir)
    return arguments


def _deepspeed(value: Any) -> Any:
    """``zero2``, ``{enabled: true, config: zero2}`` or ``{deepspeed: zero2}`` as an argument."""
    if isinstance(value, str):
        return {"deepspeed": value}
    if isinstance(value, dict) and ("enabled" in value or "config" in value):
        mapping = cast("dict[str, Any]", value)
        return {"deepspeed": mapping.get("config")} if mapping.get("enabled", True) else {}
    return value


def _expand_effective_batch_size(
    config: LaunchConfig, arguments: dict[str, Any], world_size: int
) -> None:
    effective = arguments.pop("effective_batch_size", None)
    if effective is None:
        return
    per_device = arguments.get("per_device_train_batch_size", 1)
    effective = _positive(config, "effective_batch_size", effective)
    per_device = _positive(config, "per_device_train_batch_size", per_device)
    steps = max(1, math.ceil(effective / (per_device * world_size)))
    said: Any = cast("Mapping[str, Any]", arguments).get("gradient_accumulation_steps", steps)
    if said != steps:
        raise ConfigError(
            config.where("train.training.gradient_accumulation_steps"),
            f"is {said}, but effective_batch_size {effective} over {per_device} x {world_size} "
            f"gives {steps}",
            "remove one of the two",
        )
    arguments["gradient_accumulation_steps"] = steps


def _positive(config: LaunchConfig, key: str, value: Any) -> int:
    if lift.fits(int, value) and int(float(value)) >= 1:
        return int(float(value))
    raise ConfigError(
        config.where(f"train.training.{key}"), f"{value!r} is no size", "use a positive integer"
    )


_FILES = ("dataset", "val_dataset", "external_plugins", "custom_register_path")
"""Arguments that may name a file of the project."""


def located(key: str, value: Any, cwd: Path) -> Any:
    """``value`` with the files of shipped experiments found.

    A relative path that does not exist in the working directory but does among
    the files that ship with grpo_launch becomes absolute; anything else stays as
    it is. A dataset's ``#rows`` suffix is kept.
    """
    if key not in _FILES:
        return value
    if isinstance(value, list):
        return [located(key, item, cwd) for item in cast("list[Any]", value)]
    if not isinstance(value, str) or not value:
        return value
    name, hash_, rows = value.partition("#")
    shipped = resources.path(name)
    if (cwd / name).exists() or not shipped.exists():
        return value
    return f"{shipped}{hash_}{rows}"
