"""A command line of ``swift rlhf`` read back into the keys of a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from grpo_launch.config.arguments import SIZES
from grpo_launch.engines.swift.importing import taken_apart
from grpo_launch.engines.swift.serve import render

PROGRAM = "rlhf"

_SECTIONS = {
    "model": ("model", "model_type", "model_revision", "torch_dtype", "use_hf"),
    "template": ("template", "max_length", "truncation_strategy", "system"),
    "data": ("dataset", "val_dataset", "split_dataset_ratio", "external_plugins", "columns"),
    "tuner": ("tuner_type", "train_type", "lora_rank", "lora_alpha", "target_modules"),
    "deepspeed": ("deepspeed",),
    "rlhf": (
        *("rlhf_type", "ref_model", "reward_funcs", "reward_weights", "beta", "epsilon"),
        *("temperature", "top_p", "top_k"),
        *("max_completion_length", "loss_type", "log_completions", "async_generate", "gym_env"),
        *("use_gym_env", "multi_turn_scheduler", "max_turns", "use_vllm"),
    ),
}


def command(entry: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
    """The command line that gives each argument as a flag; a list is several words."""
    words = [*entry, PROGRAM]
    for name, value in arguments.items():
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        words += [f"--{name}", *map(render, items)]
    return words


def keys_of(argv: Sequence[str]) -> dict[str, Any]:
    """The keys that a command line says; its arguments are ``arguments.flatten`` of them again.

    Args:
        argv: the whole command line; what stands before ``rlhf`` is ``learner.entry``.

    Raises:
        ValueError: it is no command line of ``swift rlhf``; names the word that is wrong.
    """
    entry, flags = taken_apart(argv, PROGRAM)
    keys: dict[str, Any] = {"learner.entry": entry}
    for name, words in flags.items():
        if (name, words) != ("rlhf_type", ["grpo"]):  # which is what nothing else says
            values = [*map(_value, words)]
            keys[f"train.{section(name)}.{name}"] = values[0] if len(values) == 1 else values
    return keys


def _value(word: str) -> Any:
    """A word as the value that is rendered as that word."""
    try:
        value = json.loads(word)
    except ValueError:
        return word
    return word if value is None else value


def section(name: str) -> str:
    """The section that people keep an argument in; any other argument is ``training``'s."""
    homes = {item: section for section, names in _SECTIONS.items() for item in names}
    usual = (
        "rlhf"
        if name.startswith(("rlhf_type", "vllm_", "num_generations", "reward_"))
        else "training"
    )
    return SIZES.get(name) or homes.get(name, usual)
