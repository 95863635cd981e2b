"""Move the launcher's own settings out of a legacy tree, and back.

A legacy experiment keeps the rollout server's flags in
``custom.extra.rollout_server`` and launch settings in ``custom.extra.launch``.
They are lifted into typed nodes when the file is loaded, so that the command
line overrides them, and overridden flags are written back after composition, so
that both spellings read the same.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, cast

from grpo_launch import schema
from grpo_launch.errors import ConfigError

SERVER_BLOCK = ("custom", "extra", "rollout_server")
LAUNCH_BLOCK = ("custom", "extra", "launch")

Where = Callable[..., str]
"""Keys of the legacy tree -> the place to name in a message."""


def lift(train: Mapping[Any, Any], where: Where) -> tuple[dict[str, Any], dict[str, str]]:
    """The typed nodes and group choices that a legacy tree asks for.

    Args:
        train: the merged legacy tree.
        where: names the file and key for messages.

    Returns:
        Values by root node (``rollout_server``, ``gpus``, ...), converted to the
        schema's types, and the options chosen for groups (``runtime``, ...).

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    nodes: dict[str, Any] = {}
    choices: dict[str, str] = {}
    flags = block(train, SERVER_BLOCK)
    if flags:
        nodes["rollout_server"] = typed(schema.RolloutServer, flags, where, SERVER_BLOCK)
    launch = block(train, LAUNCH_BLOCK) or {}
    node_types = typing.get_type_hints(schema.Launch)
    known = (*schema.LIFTED, *schema.GROUPS)
    for name, value in launch.items():
        keys = (*LAUNCH_BLOCK, name)
        if name not in known:
            raise unknown_key(where(*keys), name, known)
        if name in schema.GROUPS and isinstance(value, str):
            choices[name] = value
        elif name in ("preflight", "dry_run"):
            nodes[name] = value
        elif isinstance(value, dict):
            mapping = cast("dict[Any, Any]", value)
            nodes[name] = typed(node_types[name], mapping, where, keys)
        elif value is not None:
            raise ConfigError(where(*keys), f"must be a mapping, not {value!r}", "write keys below")
    return nodes, choices


def block(train: Mapping[Any, Any], keys: tuple[str, ...]) -> dict[Any, Any] | None:
    """The mapping at ``keys``, or None where there is none."""
    node: Any = train
    for key in keys:
        if not isinstance(node, Mapping):
            return None
        node = cast("Mapping[Any, Any]", node).get(key)
    return cast("dict[Any, Any]", node) if isinstance(node, dict) else None


def typed(
    node_type: type, values: Mapping[Any, Any], where: Where, keys: tuple[Any, ...]
) -> dict[str, Any]:
    """``values`` converted to the field types of a schema dataclass.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    hints = typing.get_type_hints(node_type)
    node = OmegaConf.structured(node_type)
    converted: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise unknown_key(where(*keys, name), name, [f.name for f in fields(node_type)])
        if not fits(hints[name], value):
            raise wrong_type(where(*keys, name), hints[name], value)
        try:
            node[name] = value
        except OmegaConfBaseException:
            raise wrong_type(where(*keys, name), hints[name], value) from None
        converted[name] = value
    plain = cast("dict[str, Any]", OmegaConf.to_container(node, enum_to_str=True))
    return {name: plain[name] for name in converted}


def fits(hint: Any, value: Any) -> bool:
    """Whether ``value`` may become ``hint`` without losing anything.

    OmegaConf alone would cut 12000.7 to 12000. Integral floats and numeric
    strings pass for integers, as they always did; booleans do not.
    """
    if int not in (hint, *typing.get_args(hint)) or value is None:
        return True
    if isinstance(value, bool):
        return False
    try:
        return float(value) == int(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def wrong_type(where: str, hint: Any, value: Any) -> ConfigError:
    """The error for a value of the wrong type."""
    return ConfigError(where, f"{value!r} is not {describe(hint)}", f"write {_example(hint)}")


def describe(hint: Any) -> str:
    """A type for people: ``an integer``, ``true or false``, ``one of http, generate``."""
    kind = next((t for t in (typing.get_args(hint) or (hint,)) if t is not type(None)), hint)
    if isinstance(kind, type) and issubclass(kind, schema.Enum):
        return "one of " + ", ".join(kind.__members__)
    if typing.get_origin(hint) is dict:
        return "a mapping of names to strings"
    if typing.get_origin(kind) is list or typing.get_origin(hint) is list:
        return "a list"
    return {int: "an integer", float: "a number", bool: "true or false"}.get(kind, "a string")


def _example(hint: Any) -> str:
    text = describe(hint)
    return f"{text} there" if not text.startswith(("one of", "true")) else text


def unknown_key(where: str, name: Any, known: typing.Iterable[str]) -> ConfigError:
    """The error for a key that a typed node does not have."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    fix = f"did you mean {near[0]}?" if near else f"use one of {', '.join(names)}"
    return ConfigError(where, "unknown key", fix)


def write_back(train: dict[Any, Any], flags: Mapping[str, Any]) -> None:
    """Write flags that were overridden after the lift into the legacy block.

    Args:
        train: the legacy tree, changed in place.
        flags: the final ``rollout_server`` node; None means "not said".
    """
    present = block(train, SERVER_BLOCK) or {}
    lifted = typed(schema.RolloutServer, present, lambda *_: "", SERVER_BLOCK)
    changed = {key: value for key, value in flags.items() if value != lifted.get(key)}
    if not changed:
        return
    node = train
    for key in SERVER_BLOCK:
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    node.update(changed)
