"""Move the launcher's own settings out of a legacy tree, and back.

A legacy experiment keeps the rollout server's flags in
``custom.extra.rollout_server`` and launch settings in ``custom.extra.launch``.
They are lifted into typed nodes when the file is loaded, so that the command
line overrides them, and overridden flags are written back after composition, so
that both spellings read the same.
"""

from __future__ import annotations

import difflib
import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, cast

from grpo_launch import schema
from grpo_launch.compose import leaves
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
        schema's types and encoded for OmegaConf (see ``leaves``), and the options
        chosen for groups (``runtime``, ...).

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    nodes: dict[str, Any] = {}
    choices: dict[str, str] = {}
    flags = block(train, SERVER_BLOCK)
    if flags:
        nodes["rollout_server"] = _node(schema.RolloutServer, flags, where, SERVER_BLOCK)
    launch = block(train, LAUNCH_BLOCK) or {}
    node_types = typing.get_type_hints(schema.Launch)
    known = (*schema.LIFTED, *schema.GROUPS)
    for name, value in launch.items():
        keys = (*LAUNCH_BLOCK, name)
        if name not in known:
            raise unknown_key(where(*keys), name, known)
        if name in schema.GROUPS and isinstance(value, str):
            choices[name] = value
        elif value is None:
            continue
        elif name in ("preflight", "dry_run"):
            nodes |= _node(schema.Launch, {name: value}, where, LAUNCH_BLOCK)
        elif isinstance(value, dict):
            mapping = cast("dict[Any, Any]", value)
            nodes[name] = _node(node_types[name], mapping, where, keys)
        else:
            allowed = "an option's name or a mapping" if name in schema.GROUPS else "a mapping"
            raise ConfigError(where(*keys), f"must be {allowed}, not {value!r}", "write keys below")
    return nodes, choices


def block(train: Mapping[Any, Any], keys: tuple[str, ...]) -> dict[Any, Any] | None:
    """The mapping at ``keys``, or None where there is none."""
    node: Any = train
    for key in keys:
        if not isinstance(node, Mapping):
            return None
        node = cast("Mapping[Any, Any]", node).get(key)
    return cast("dict[Any, Any]", node) if isinstance(node, dict) else None


def _node(
    node_type: type, values: Mapping[Any, Any], where: Where, keys: tuple[Any, ...]
) -> dict[str, Any]:
    """The converted values as Hydra must get them: text stays text."""
    free = {name for name, hint in typing.get_type_hints(node_type).items() if hint is Any}
    converted = typed(node_type, values, where, keys)
    return {k: leaves.encode(v) if k in free else _literal(v) for k, v in converted.items()}


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
        hint = hints[name]
        if hint is Any:
            converted[name] = value
            continue
        if _is_missing(value):
            what = f"{value!r} stands for a missing value"
            raise ConfigError(where(*keys, name), what, "give the value")
        if not fits(hint, value):
            raise wrong_type(where(*keys, name), hint, value)
        integral = is_integer(hint) and isinstance(value, float | str)
        try:
            node[name] = int(float(value)) if integral else _literal(value)
            converted[name] = _plain(node[name])
        except OmegaConfBaseException:
            raise wrong_type(where(*keys, name), hint, value) from None
    return converted


def _plain(value: Any) -> Any:
    """A value of an OmegaConf node as plain data, enumerations by name."""
    from omegaconf import OmegaConf

    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    return value.name if isinstance(value, Enum) else value


def fits(hint: Any, value: Any) -> bool:
    """Whether ``value`` may become ``hint`` without losing anything.

    OmegaConf alone would cut 12000.7 to 12000 and read 2 as true. Integral floats
    and numeric strings pass for integers, as they always did; booleans do not.
    """
    if value is None:
        return True
    try:
        if is_integer(hint):
            return not isinstance(value, bool) and float(value) == int(float(value))
        if _is_one_of(hint, bool) and _is_number(value):
            return float(value) in (0, 1)
        if _is_one_of(hint, float) and isinstance(value, int):
            return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def is_integer(hint: Any) -> bool:
    """Whether a type hint is ``int`` or ``int | None``."""
    return _is_one_of(hint, int)


def is_mapping(hint: Any) -> bool:
    """Whether a type hint is a mapping with free keys."""
    return typing.get_origin(hint) is dict


def _is_one_of(hint: Any, kind: type) -> bool:
    return kind in (hint, *typing.get_args(hint)) and typing.get_origin(hint) not in (list, dict)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal())


def _is_missing(value: Any) -> bool:
    """Whether OmegaConf would take ``value``, or a part of it, for a missing one."""
    if isinstance(value, dict | list):
        container = cast("dict[Any, Any] | list[Any]", value)
        return any(
            map(_is_missing, container.values() if isinstance(container, dict) else container)
        )
    return value == "???"


def _literal(value: Any) -> Any:
    """``value`` with ``${`` escaped: in a legacy file it is text, not an interpolation."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_literal(item) for item in cast("list[Any]", value)]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", value)
    return value


def wrong_type(where: str, hint: Any, value: Any) -> ConfigError:
    """The error for a value of the wrong type."""
    return ConfigError(where, f"{value!r} is not {describe(hint)}", _EXAMPLES[_kind(hint)])


def describe(hint: Any) -> str:
    """A type for people: ``an integer``, ``true or false``, ``one of http, generate``."""
    kind = _kind(hint)
    if kind is Enum:
        inner = next(t for t in (hint, *typing.get_args(hint)) if _is_enum(t))
        return "one of " + ", ".join(inner.__members__)
    return _NAMES[kind]


_NAMES = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "a mapping of names to strings",
    object: "a mapping",
}
_EXAMPLES = {
    int: "write an integer there",
    float: "write a number there",
    bool: "write true or false",
    str: "write a string there",
    list: "write a list, [a, b]",
    dict: "write a mapping, {NAME: 'value'}",
    object: "set the keys below it",
    Enum: "choose one of them",
}


def _kind(hint: Any) -> type:
    """The key of ``hint`` in the tables above; ``object`` stands for a typed node."""
    for candidate in (hint, *typing.get_args(hint)):
        kind = typing.get_origin(candidate) or candidate
        if kind in _NAMES:
            return kind
        if _is_enum(kind):
            return Enum
    return object


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def unknown_key(
    where: str, name: Any, known: typing.Iterable[str], prefix: str = ""
) -> ConfigError:
    """The error for a key ``name`` that a typed node at ``prefix`` does not have."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    fix = f"did you mean {prefix}{near[0]}?" if near else f"use one of {', '.join(names)}"
    return ConfigError(where, "unknown key", fix)


def write_back(
    train: dict[Any, Any],
    flags: Mapping[str, Any],
    where: Where = lambda *keys: ".".join(map(str, keys)),
) -> None:
    """Write flags that were overridden after the lift into the legacy block.

    Args:
        train: the legacy tree, changed in place.
        flags: the final ``rollout_server`` node; None means "not said".
        where: names the file and key for messages.

    Raises:
        ConfigError: the block, which nothing checked in a native file, is wrong.
    """
    present = block(train, SERVER_BLOCK) or {}
    lifted = typed(schema.RolloutServer, present, where, SERVER_BLOCK)
    changed = {key: value for key, value in flags.items() if value != lifted.get(key)}
    if not changed:
        return
    node = train
    for key in SERVER_BLOCK:
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    node.update(changed)
