"""Where a value comes from: every place that says it, the weakest first."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

from grpo_launch import schema
from grpo_launch.compose import document, hints
from grpo_launch.compose.config import LaunchConfig, legacy_keys
from grpo_launch.errors import ConfigError
from grpo_launch.learners import arguments
from grpo_launch.validate import Facts

_DERIVED = {
    "gradient_accumulation_steps": "max(1, ceil(effective_batch_size / "
    "(per_device_train_batch_size x learner devices)))",
    "max_length": "global_max_length",
    "deepspeed": "deepspeed.config where deepspeed.enabled",
    "rlhf_type": "grpo, unless the experiment says otherwise",
}
"""What the launcher makes of an experiment, by argument of the learner."""


@dataclass(frozen=True)
class Saying:
    """One place that says a value.

    Attributes:
        place: ``FILE:LINE``, ``default``, ``batch plan``, ``accelerator=...``,
            ``command line`` or ``derived``.
        value: what it says there; for ``derived`` the rule and its result.
    """

    place: str
    value: Any


@dataclass(frozen=True)
class Explanation:
    """Where a value comes from.

    Attributes:
        key: as it was asked for.
        chain: what says it, the weakest first.
        value: what it is in the end.
    """

    key: str
    chain: tuple[Saying, ...]
    value: Any


def explain(config: LaunchConfig, key: str, facts: Facts) -> Explanation:
    """The chain of places that set ``key``.

    Args:
        config: a composed configuration.
        key: dotted; a key of the experiment with or without ``train.``, of
            ``rollout_server``, or of another typed node.
        facts: for derived values.

    Raises:
        ConfigError: nothing sets or derives the key; names near ones.
    """
    path = _full(key)
    chain = [*_defaults(path), *_files(config, path)]
    value = _final(config, path)
    if chain and chain[-1].value != value and not _said(config, path):
        brought = f"accelerator={config.accelerator.kind.value}"
        chain.append(Saying(brought if path.startswith("train.") else f"groups, {brought}", value))
    chain += [Saying("command line", text) for text in _said(config, path)]
    if (derived := _derived(config, path, facts)) is not None and derived.value != value:
        chain.append(derived)
        value = derived.value
    if not chain:
        known = [k.removeprefix("train.") for k in _keys(config)]
        near = difflib.get_close_matches(key.removeprefix("train."), known, n=3)
        fix = f"did you mean {' or '.join(near)}?" if near else "name a key that is set"
        raise ConfigError(f"command line: key={key}", "nothing sets this key", fix)
    return Explanation(key, tuple(chain), value)


def _full(key: str) -> str:
    first = key.partition(".")[0]
    typed = first == "rollout_server" or hints.type_of(first) is not None
    return key if typed else f"train.{key}"


def _defaults(path: str) -> Iterator[Saying]:
    """The schema's default of a typed key."""
    node: Any = None if path.startswith("train") else schema.Launch()
    for part in path.split("."):
        node = getattr(node, part, None)
    if node is not None and not path.startswith("train"):
        yield Saying("default", _plain(node))


def _files(config: LaunchConfig, path: str) -> Iterator[Saying]:
    said = config.legacy
    if said is None:
        value = _final(config, path)
        if value is not None:
            yield Saying(document.shown(config.path), value)
        return
    keys = legacy_keys(path)
    for origin, value in said.tree.sayings(*keys):
        yield Saying(f"{document.shown(origin.file)}:{origin.line}", value)
    if keys in said.expanded:
        source = ".".join(said.expanded[keys])
        value = functools.reduce(_step, keys, cast("Any", said.train))
        yield Saying(f"batch plan ({source})", value)


def _said(config: LaunchConfig, path: str) -> list[str]:
    names = [(hints.key_of(item), item) for item in config.overrides]
    return [item for name, item in names if path == name or path.startswith(name + ".")]


def _derived(config: LaunchConfig, path: str, facts: Facts) -> Saying | None:
    name = path.rpartition(".")[2]
    if name not in _DERIVED or not path.startswith("train.") or not facts.world_size:
        return None
    try:
        flat = arguments.flatten(config, facts.world_size, "")
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None  # of what is no number nothing is derived; role=check says so
    return Saying(f"derived: {_DERIVED[name]}", flat[name]) if name in flat else None


def _final(config: LaunchConfig, path: str) -> Any:
    first, *rest = path.split(".")
    if first == "rollout_server" and rest == ["lora_policy"]:
        return config.lora_policy.value
    node: Any = getattr(config, first, None)
    for part in rest:
        node = node.get(part) if isinstance(node, dict) else getattr(node, part, None)
    return _plain(node)


def _keys(config: LaunchConfig) -> Iterator[str]:
    def walk(node: Any, prefix: str) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in cast("dict[Any, Any]", node).items():
                yield f"{prefix}.{key}"
                yield from walk(value, f"{prefix}.{key}")

    yield from walk(config.train, "train")
    yield from (f"rollout_server.{name}" for name in config.rollout_server)


def _step(node: Any, key: Any) -> Any:
    return cast("dict[Any, Any]", node).get(key) if isinstance(node, dict) else None


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return vars(value) if hasattr(value, "__dataclass_fields__") else value
