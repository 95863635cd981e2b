"""Move the launcher's own settings out of a legacy tree.

A legacy experiment keeps the rollout server's flags in
``custom.extra.rollout_server`` and launch settings in ``custom.extra.launch``.
They are lifted into typed nodes when the file is loaded, so that the command
line overrides them; ``written_back.py`` is the way back.
"""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from enum import Enum
from typing import Any, TypeGuard, cast

from grpo_launch.config import kinds, rollout, schema
from grpo_launch.config.formats import leaves, naming
from grpo_launch.config.formats.forms import ACCELERATORS as ACCELERATORS
from grpo_launch.config.formats.forms import LAUNCH_BLOCK as LAUNCH_BLOCK
from grpo_launch.config.formats.forms import NODES
from grpo_launch.config.formats.forms import SERVER as SERVER
from grpo_launch.config.formats.forms import SERVER_BLOCK as SERVER_BLOCK
from grpo_launch.config.mistake import KeyPath, Mistake
from grpo_launch.errors import ConfigError

_NAMED = "services"
"""The node that holds a mapping for each name, which OmegaConf does not know the types of."""

Where = Callable[..., str]
"""Keys of the legacy tree -> the place to name in a message."""


@dataclass(frozen=True)
class Lifted:
    """What a legacy tree says to the launcher.

    Attributes:
        nodes: values by root node (``rollout_server``, ``gpus``, ...), converted to the
            schema's types and encoded for OmegaConf (see ``leaves``).
        choices: the options chosen for groups (``runtime``, ...); several of a group that
            takes several (``tracking``).
        mistakes: unknown keys and values of the wrong type; they are left out.
    """

    nodes: dict[str, Any]
    choices: dict[str, str | list[str]]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class Typed:
    """The keys of a block that a dataclass has, and the mistakes of the others."""

    values: dict[str, Any]
    mistakes: tuple[Mistake, ...]


def read(train: Mapping[Any, Any], where: Where) -> Lifted:
    """The typed nodes and group choices that a legacy tree asks for.

    Args:
        train: the merged legacy tree.
        where: names the file and key for messages.
    """
    flags = block(train, SERVER_BLOCK)
    said = block(train, LAUNCH_BLOCK) or {}
    above = SERVER_BLOCK[:-1]
    server = settings({SERVER: flags or None}, above, where, (SERVER,), engine=said.get("engine"))
    rest = {name: value for name, value in said.items() if name != ACCELERATORS}
    launch = settings(rest, LAUNCH_BLOCK, where, NODES)
    mistakes = (*server.mistakes, *launch.mistakes)
    return Lifted({**server.nodes, **launch.nodes}, launch.choices, mistakes)


def settings(
    values: Mapping[Any, Any],
    above: KeyPath,
    where: Where,
    known: Iterable[str],
    *,
    choosing: bool = True,
    engine: Any = None,
) -> Lifted:
    """What a block that is keyed by the names of root nodes says to the launcher.

    Args:
        values: by node the mapping of its keys; by group, where it stands for an option, a name.
        above: where the block stands in the legacy tree.
        where: names the file and key for messages.
        known: the names that may stand in the block.
        choosing: whether an option's name may stand for a group, for messages.
        engine: what the experiment says of its engine, whose settings are ``rollout_server``.
    """
    nodes: dict[str, Any] = {}
    choices: dict[str, str | list[str]] = {}
    mistakes: list[Mistake] = []

    def take(node_type: type, values: Mapping[Any, Any], keys: KeyPath) -> dict[str, Any]:
        found = typed(node_type, values, where, keys)
        mistakes.extend(found.mistakes)
        return _for_hydra(node_type, found.values)

    node_types = typing.get_type_hints(schema.Launch)
    if SERVER in values:
        node_types[SERVER] = rollout.settings(engine)
        said, twice = naming.with_own_names(values[SERVER], (*above, SERVER), where, engine)
        values = {**values, SERVER: said}
        mistakes.extend(twice)
    for name, value in values.items():
        keys = (*above, name)
        if name not in known:
            mistakes.append(unknown(where, keys, known))
        elif name in schema.GROUPS and isinstance(value, str):
            choices[name] = value
        elif name in schema.SEVERAL and _are_names(value):
            choices[name] = [*value]
        elif value is None:
            continue
        elif not is_dataclass(node_types[name]) and (name != _NAMED or isinstance(value, dict)):
            nodes |= take(schema.Launch, {name: value}, above)
        elif isinstance(value, dict):
            values_of = cast("dict[Any, Any]", value)
            if name == "launch":
                values_of, wrong = _without_nodes(values_of, above, where)
                mistakes.extend(wrong)
            nodes[name] = take(node_types[name], values_of, keys)
        else:
            group = choosing and name in schema.GROUPS
            allowed = "an option's name or a mapping" if group else "a mapping"
            several = choosing and name in schema.SEVERAL
            allowed = f"a list of names, {allowed}" if several else allowed
            what = f"must be {allowed}, not {kinds.said(value)}"
            mistakes.append(Mistake(ConfigError(where(*keys), what, "write keys below"), (keys,)))
    return Lifted(nodes, choices, tuple(mistakes))


def _without_nodes(
    values: Mapping[Any, Any], above: KeyPath, where: Where
) -> tuple[dict[Any, Any], list[Mistake]]:
    """The node ``launch`` without what belongs beside it, and a mistake for each of those."""
    misplaced = [name for name in values if name in (*NODES, SERVER)]
    mistakes: list[Mistake] = []
    for name in misplaced:
        beside = where(*above, "launch").rpartition(": ")[2].removesuffix("launch")
        place = ".".join(SERVER_BLOCK) if name == SERVER and beside else f"{beside}{name}"
        what = "is no setting of how a run is started"
        error = ConfigError(where(*above, "launch", name), what, f"move it to {place}")
        mistakes.append(Mistake(error, ((*above, name),)))
    return {name: item for name, item in values.items() if name not in misplaced}, mistakes


def _are_names(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(
        isinstance(item, str) for item in cast("list[Any]", value)
    )


def block(train: Mapping[Any, Any], keys: tuple[str, ...]) -> dict[Any, Any] | None:
    """The mapping at ``keys``, or None where there is none."""
    node: Any = train
    for key in keys:
        if not isinstance(node, Mapping):
            return None
        node = cast("Mapping[Any, Any]", node).get(key)
    return cast("dict[Any, Any]", node) if isinstance(node, dict) else None


def has(train: Mapping[Any, Any], keys: tuple[str, ...]) -> bool:
    """Whether there is a value at ``keys``."""
    above = block(train, keys[:-1])
    return above is not None and keys[-1] in above


def _for_hydra(node_type: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The converted values as Hydra must get them: text stays text."""
    free = {name for name, hint in typing.get_type_hints(node_type).items() if hint is Any}
    return {k: leaves.encode(v) if k in free else _literal(v) for k, v in values.items()}


def typed(node_type: type, values: Mapping[Any, Any], where: Where, keys: KeyPath) -> Typed:
    """``values`` converted to the field types of a schema dataclass.

    Args:
        node_type: the dataclass.
        values: a block of a legacy tree.
        where: names the file and key for messages.
        keys: where the block stands in the tree.
    """
    hints, node = _fields(node_type)
    converted: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for name, value in values.items():
        if name not in hints:
            found = _unknown_setting if keys == SERVER_BLOCK else unknown
            mistakes.append(found(where, (*keys, name), hints))
            continue
        hint = hints[name]
        if keys[-1:] == SERVER_BLOCK[-1:] and kinds.is_list(hint) and isinstance(value, str):
            value = [value]  # as a flag takes one word
        if value is None and type(None) not in typing.get_args(hint) and hint is not Any:
            continue  # nothing is said, and the default is another one
        if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
            below = typed(hint, cast("dict[Any, Any]", value), where, (*keys, name))
            converted[name] = below.values
            mistakes.extend(below.mistakes)
            continue
        try:
            converted[name] = _converted(node, name, hint, value, where(*keys, name))
        except ConfigError as error:
            mistakes.append(Mistake(error, ((*keys, name),)))
    return Typed(converted, tuple(mistakes))


@functools.cache
def _fields(node_type: type) -> tuple[dict[str, Any], Any]:
    """The field types of a dataclass, and a node that converts a value assigned to a field.

    Making the node costs more than all conversions; what was assigned before is never read.
    """
    from omegaconf import OmegaConf

    return typing.get_type_hints(node_type), OmegaConf.structured(node_type)


def _converted(node: Any, name: str, hint: Any, value: Any, where: str) -> Any:
    """``value`` as the field ``name`` of an OmegaConf node holds it.

    Raises:
        ConfigError: it has the wrong type.
    """
    from omegaconf.errors import OmegaConfBaseException

    if hint is Any:
        return value
    if _is_missing(value):
        what = f"{kinds.said(value)} stands for a missing value"
        raise ConfigError(where, what, "give the value")
    if not kinds.fits(hint, value):
        raise kinds.wrong_type(where, hint, value)
    _check_items(value, where)
    plain = value
    if kinds.is_integer(hint) and isinstance(value, float | str):
        plain = int(float(value))
    elif kinds.is_mapping(hint) and isinstance(value, dict):
        plain = _spelled_as_yaml(cast("dict[Any, Any]", value))
    elif isinstance(value, list):
        plain = [*_spelled_as_yaml(dict(enumerate(cast("list[Any]", value)))).values()]
    try:
        node[name] = _literal(plain)
        return _plain(node[name])
    except OmegaConfBaseException:
        raise kinds.wrong_type(where, hint, value) from None


def _check_items(value: Any, where: str) -> None:
    """Refuse what is no string in a list or a mapping of strings; OmegaConf lets it pass.

    Raises:
        ConfigError: an item is null, a list or a mapping.
    """
    if not isinstance(value, dict | list):
        return
    container = cast("dict[Any, Any] | list[Any]", value)
    pairs = container.items() if isinstance(container, dict) else enumerate(container)
    for key, item in pairs:
        if item is None or isinstance(item, dict | list):
            what = f"{kinds.said_at(f'{where}.{key}', item)} is not a string"
            raise ConfigError(f"{where}.{key}", what, "write a string there")


def _spelled_as_yaml(pairs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Variables and words of a command: OmegaConf would turn ``false`` into ``False``."""
    return {k: kinds.said(v) if isinstance(v, bool) else v for k, v in pairs.items()}


def _plain(value: Any) -> Any:
    """A value of an OmegaConf node as plain data, enumerations by name."""
    from omegaconf import OmegaConf

    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    return value.name if isinstance(value, Enum) else value


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


def unknown(where: Where, keys: KeyPath, known: Iterable[str]) -> Mistake:
    """The mistake of a key that a block does not know."""
    names = sorted(known)
    meant = kinds.nearest(keys[-1], names)
    error = kinds.unknown_key(where(*keys), keys[-1], names)
    return Mistake(error, ((*keys[:-1], meant),) if meant else ())


def _unknown_setting(where: Where, keys: KeyPath, known: Iterable[str]) -> Mistake:
    """The same for the settings of a server, which may be flags that nothing else sets."""
    meant = kinds.nearest(keys[-1], [*known, *rollout.flags()])
    error = rollout.unknown(where(*keys), keys[-1])
    return Mistake(error, ((*keys[:-1], meant),) if meant else ())
