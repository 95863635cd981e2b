"""Which nodes of the configuration a key names: people say ``max_turns`` and mean one of them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, cast

from grpo_launch.config import rollout
from grpo_launch.config.formats import lift
from grpo_launch.config.hydra import hints
from grpo_launch.config.launch_config import LaunchConfig


def nodes(config: LaunchConfig, key: str, arguments: Collection[str]) -> tuple[str, ...]:
    """The dotted keys of the configuration that ``key`` means; more than one where it is short.

    Args:
        config: a composed configuration.
        key: whole, or the end of a key: ``max_turns``, ``wandb.name``; with or without ``train.``.
        arguments: names of the learner's arguments, those included that nothing sets.

    Returns:
        Those that are set, or else all that there are; at least one. An argument of the
        learner that no section sets is ``train.NAME``.
    """
    for block, node in ((lift.SERVER_BLOCK, "rollout_server."), (lift.LAUNCH_BLOCK, "")):
        prefix = f"{'.'.join(block)}."
        if key.removeprefix("train.").startswith(prefix):
            return (node + key.removeprefix("train.").removeprefix(prefix),)
    first = key.partition(".")[0]
    if hints.type_of(first) is not None:
        return (key,)
    if first in config.train:
        return (f"train.{key}",)
    known = [*_typed(rollout.launch(config.engine.name), ""), *_of_sections(config)]
    found = [path for path in dict.fromkeys(known) if path.endswith(f".{key}")]
    if key in arguments and not any(path.startswith("train.") for path in found):
        found.append(f"train.{key}")
    found_set = [path for path in found if value(config, path) is not None]
    return tuple(found_set or found or [f"train.{key}"])


def every(config: LaunchConfig) -> Iterator[str]:
    """The dotted keys of the typed nodes, and those that the experiment sets."""
    yield from _typed(rollout.launch(config.engine.name), "")
    yield from _below(config.train, "train")


def value(config: LaunchConfig, path: str) -> Any:
    """What a dotted key of the configuration is in the end, as plain data."""
    first, *rest = path.split(".")
    if first == "rollout_server" and rest == ["lora_policy"]:
        return plain(config.lora_policy)
    node: Any = getattr(config, first, None)
    for part in rest:
        node = node.get(part) if isinstance(node, Mapping) else getattr(node, part, None)
    return plain(node)


def plain(node: Any) -> Any:
    """A typed node, or a value of one, as plain data."""
    if isinstance(node, Enum):
        return node.value
    if isinstance(node, Path):
        return str(node)
    if dataclasses.is_dataclass(node):
        return {name: plain(item) for name, item in vars(node).items()}
    return node


def _typed(owner: type, prefix: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(owner).items():
        if name.startswith("_"):
            continue
        yield f"{prefix}{name}"
        if dataclasses.is_dataclass(hint):
            yield from _typed(cast("type", hint), f"{prefix}{name}.")


def _of_sections(config: LaunchConfig) -> Iterator[str]:
    """What the sections set; of an argument that several set the last counts."""
    said: dict[str, str] = {}
    for section in config.sections:
        block = config.train.get(section)
        if not isinstance(block, dict):
            continue
        for name, item in cast("dict[Any, Any]", block).items():
            if item is not None or name not in said:
                said[str(name)] = f"train.{section}.{name}"
    yield from said.values()


def _below(node: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, item in cast("dict[Any, Any]", node).items():
            yield f"{prefix}.{key}"
            yield from _below(item, f"{prefix}.{key}")
