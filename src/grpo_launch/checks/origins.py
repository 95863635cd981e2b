"""What the schema, the files, variables and the command line each say of a value."""

from __future__ import annotations

import functools
from typing import Any, cast

from grpo_launch.checks.keys import plain
from grpo_launch.config import rollout, topology
from grpo_launch.config.formats import extends
from grpo_launch.config.hydra import hints
from grpo_launch.config.launch_config import LaunchConfig, legacy_keys


def before_accelerator(config: LaunchConfig, path: str) -> Any:
    """What the schema and the files give together, whatever the accelerator; plain data."""
    return _with_default(config, path, _before(config, path))


def of_files(config: LaunchConfig, path: str) -> Any:
    """What the schema and the files give together, without groups and the command line.

    What the experiment says for the chosen accelerator is of its file, too.
    """
    value = _before(config, path)
    if config.block is not None and config.block.says(path):
        over = config.block.value(path)
        both = isinstance(value, dict) and isinstance(over, dict)
        value = extends.merge(cast("dict[Any, Any]", value), over) if both else over
    return _with_default(config, path, value)


def default_of(path: str, engine: str) -> Any:
    """The schema's default of a typed key, as plain data; None for other keys."""
    node: Any = None if path.startswith("train") else rollout.launch(engine)()
    for part in path.split("."):
        node = getattr(node, part, None)
    return plain(node)


def overrides_of(config: LaunchConfig, path: str) -> list[str]:
    """The overrides of the command line that say ``path``, as typed."""
    names = [(hints.key_of(item), item) for item in config.overrides]
    return [item for name, item in names if path == name or path.startswith(name + ".")]


def variables_of(config: LaunchConfig, path: str) -> list[tuple[str, Any]]:
    """Where variables say ``path``, and what; those included that the command line beats."""
    said = [(taken, taken.value) for taken in config.environment.taken]
    said += [(taken, taken.text) for taken in config.environment.covered]
    return [
        (f"{taken.place}: {taken.variable}", value)
        for taken, value in said
        if path == taken.key or path.startswith(taken.key + ".")
    ]


def is_said_later(config: LaunchConfig, path: str) -> bool:
    """Whether a variable, a topology or the command line says the value."""
    by_topology = topology.value(config.overrides, path) is not None
    return bool(overrides_of(config, path) or variables_of(config, path) or by_topology)


def is_same(said: Any, value: Any) -> bool:
    """Whether a value is what was said, converted to its type; null is "not said"."""
    if isinstance(said, dict) and isinstance(value, dict):
        first, second = cast("dict[Any, Any]", said), cast("dict[Any, Any]", value)
        keys = {*first, *second} - {"lora_policy"}  # of the node, but no flag
        return all(is_same(first.get(key), second.get(key)) for key in keys)
    if isinstance(said, list) and isinstance(value, list):
        return [*map(str, cast("list[Any]", said))] == [*map(str, cast("list[Any]", value))]
    if said == value or str(said) == str(value):
        return True
    try:
        return float(str(said)) == float(str(value))
    except ValueError:
        return False


def step(node: Any, key: Any) -> Any:
    """What a mapping has for a key; None for anything else."""
    return cast("dict[Any, Any]", node).get(key) if isinstance(node, dict) else None


def _before(config: LaunchConfig, path: str) -> Any:
    said = config.legacy
    tree = extends.load(config.path).data if said is None else said.train
    keys = tuple(path.split(".")) if said is None else legacy_keys(path)
    return functools.reduce(step, keys, cast("Any", tree))


def _with_default(config: LaunchConfig, path: str, value: Any) -> Any:
    default = default_of(path, config.engine.name)
    if isinstance(default, dict) and isinstance(value, dict):
        return {**default, **value}
    return default if value is None else value
