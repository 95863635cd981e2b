"""Overrides that Hydra would misread, accept silently or answer unhelpfully."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Sequence
from typing import Any, cast

from grpo_launch.config import kinds, rollout, schema, services
from grpo_launch.config.formats import experiment, lift, sorting
from grpo_launch.errors import ConfigError

NOT_A_STRING = re.compile(
    r"[+-]?\d[\d_]*(\.\d*)?([eE][+-]?\d+)?|true|false|null|nan|[+-]?inf", re.IGNORECASE
)
"""What Hydra's grammar reads as a number, a boolean or null."""

ROOTS = frozenset((*typing.get_type_hints(schema.Launch), "hydra", "config"))
"""The first parts of keys that there are."""

_SCALARS = ("train.deepspeed", "train.global_max_length")
"""Keys of ``train`` without a section that may be one value: ``deepspeed: zero3``."""

_MOVED = ((".".join(lift.SERVER_BLOCK), "rollout_server."), (".".join(lift.LAUNCH_BLOCK), ""))
_BELOW_ACCELERATORS = re.compile(rf"{lift.ACCELERATORS}(\.[^.]*\.?)?")
_VARIABLE = re.compile(r"env\.((server|learner)\.)?(set|defaults)\.")
_NUMBER = re.compile(r"[+-]?[\d.]+([eE][+-]?\d+)?")
_LONGEST_NAME = 255  # of a file, in bytes
_PLAIN_NAME = re.compile(r"[\w./:%+-]+", re.ASCII)


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse what Hydra would misread, accept silently or answer unhelpfully.

    Raises:
        ConfigError: what is wrong with them, all of it; see :func:`wrong`.
    """
    if errors := wrong(overrides):
        raise experiment.as_one([*errors.values()])


def wrong(overrides: Sequence[str]) -> dict[str, ConfigError]:
    """What Hydra would misread, accept silently or answer unhelpfully, by override.

    A list or an unquoted number as ``config=``; a list as the option of another group; a
    key that is lifted out of ``train``, in its legacy spelling; an unknown key of a typed
    node; a number that an integer or a boolean would change.
    """
    return {item: error for item in overrides if (error := _error(item))}


def _error(override: str) -> ConfigError | None:
    own = _with_own_name(override)
    try:
        _check(own)
    except ConfigError as error:
        said, taken = key_of(override), key_of(own)
        return ConfigError(error.where.replace(taken, said), error.what, error.fix)
    return None


def _with_own_name(override: str) -> str:
    """An override of a server's setting by the name that the chosen engine has for it."""
    said, equals, value = override.partition("=")
    key = key_of(said)
    return said.replace(key, rollout.own_key(key)) + equals + value if key else override


def _check(override: str) -> None:
    said, equals, value = override.partition("=")
    key = key_of(override)
    if equals and not key:
        raise ConfigError(where(override), "names no key", "write KEY=VALUE")
    if equals and key == "config":
        _check_name(value)
    if decides(override):
        _check_option(key, value)
    if key in ("engine", "engine.name") and "," in value:
        what = "a sweep has one engine, its settings are the engine's own"
        raise ConfigError(where(override), what, "start one sweep for each engine")
    _check_spelling(override)
    for group in schema.SERVER_GROUPS:
        if key in (group.rpartition("/")[2], group.replace("/", ".")):
            raise ConfigError(where(key), "no such key", f"write {group}={value or 'NAME'}")
    _check_known(key)
    if said.startswith("~"):
        _check_deletion(key)
    if equals and not said.startswith("~"):
        _check_number(key, value)
        _check_whole(override)
    if equals and key == "train" and not value.startswith("{"):
        raise ConfigError(where(key), f"{value!r} is not a mapping", "override keys below it")


def culprit(error: ConfigError, overrides: Sequence[str]) -> str | None:
    """The override that an error is about, unless it decides about the rest."""
    said = (item for item in overrides if not decides(item))
    return next((item for item in said if where(key_of(item)) == error.where), None)


def decides(override: str) -> bool:
    """Whether an override chooses the experiment, the role or another group's option."""
    groups = ("config", "role", "rollout_server", "compat")
    return key_of(override) in (*groups, *schema.SERVER_GROUPS, *schema.GROUPS)


def for_hydra(overrides: Sequence[str]) -> list[str]:
    """``overrides`` as Hydra must get them to do what they say.

    With ``++`` before those that give the learner an argument or say something of a service,
    without ``+`` before keys that nothing would read, the booleans of ``env`` as text, and one
    value for a flag of the server that takes several as a list.

    Hydra wants ``+`` for a key that no file sets, but ``train.training.max_steps=10`` works
    whether or not the experiment sets it. Whether there is such an argument is judged by the
    rules, which know the flags of the installed learner.
    """
    named = map(_with_own_name, overrides)
    added = (f"++{item}" if _needs_no_plus(item) else item for item in named)
    own_groups = any(key_of(item) == "hydra.searchpath" for item in overrides)
    return [_as_list(_with_text(_not_forced(item, own_groups))) for item in added]


def _not_forced(override: str, own_groups: bool) -> str:
    """An override without ``+`` where it would add a key that nothing reads: Hydra refuses it.

    A group of the user's own, which ``hydra.searchpath`` brings, stays.
    """
    key = key_of(override)
    if not override.startswith("+") or "/" in key or "@" in key:
        return override
    root, *below = key.split(".")
    if root == "train":
        sections = sorting.sections()
        known = not (below and sections) or below[0] in (*sections, *schema.BESIDE_SECTIONS)
    else:
        known = root in ROOTS or (own_groups and not below)
    return override if known else override.lstrip("+")


def as_typed(override: str) -> str:
    """An override without the ``++`` of :func:`for_hydra`, for messages."""
    plain = override.removeprefix("++")
    return plain if _needs_no_plus(plain) else override


def _with_text(override: str) -> str:
    """An override of an environment variable with ``false`` as text, not as ``False``."""
    said, equals, value = override.partition("=")
    if not (equals and _VARIABLE.match(key_of(said)) and value.lower() in ("true", "false")):
        return override
    return f"{said}={quoted(value)}"


def _as_list(override: str) -> str:
    said, equals, value = override.partition("=")
    key = key_of(said)
    is_one = (
        equals and value not in ("", "null") and value[:1] not in ("[", "$") and "," not in value
    )
    if not is_one or not key.startswith(f"{rollout.NODE}.") or not kinds.is_list(type_of(key)):
        return override
    return f"{said}=[{value}]"


def _needs_no_plus(override: str) -> bool:
    """Whether it gives the learner an argument, or is about a service."""
    key, equals, _ = override.partition("=")
    path = key.split(".")
    is_argument = key in _SCALARS
    if path[0] == "train" and not is_argument:
        sections = sorting.sections()
        is_argument = len(path) == 3 and path[1] in sections if sections else len(path) > 1
    return bool(equals) and (is_argument or (path[0] == services.NODE and len(path) > 1))


def where(key: str) -> str:
    """The place to name for an override that is at fault."""
    return f"command line: {key}"


def key_of(override: str) -> str:
    """The key of an override, without ``+`` and ``~``."""
    return override.partition("=")[0].lstrip("+~")


def quoted(name: str) -> str:
    """``name`` as a quoted string of Hydra's override grammar."""
    escaped = re.sub(r"(\\*)'", lambda m: m.group(1) * 2 + "\\'", name)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{escaped[len(escaped) - trailing :]}'"


def unquoted(name: str) -> str:
    """The inverse of :func:`quoted`; a name without quotes is itself."""
    if len(name) < 2 or name[0] not in "'\"" or name[0] != name[-1]:
        return name
    return re.sub(rf"(\\+)({name[0]}|$)", lambda m: m[1][: len(m[1]) // 2] + m[2], name[1:-1])


def as_name(word: str) -> str:
    """A word as ``config=`` takes it: quoted, where Hydra would not read it as a string."""
    try:
        _check_name(word)
    except ConfigError:
        return word if word.startswith("[") or "${" in word else quoted(word)
    return word


def type_of(key: str) -> Any:
    """The type hint of a dotted key of the schema, or None where it has none."""
    hint: Any = rollout.launch()
    for part in key.split("."):
        if kinds.is_mapping(hint):
            hint = typing.get_args(hint)[1]
            continue
        hints = typing.get_type_hints(hint) if isinstance(hint, type) else {}
        if part not in hints:
            return None
        hint = hints[part]
    return hint


def keys_below(names: Sequence[str]) -> tuple[str, ...]:
    """The keys of the typed node at these names; empty where there is none."""
    hint: Any = rollout.launch()
    for name in names:
        hints = typing.get_type_hints(hint) if dataclasses.is_dataclass(hint) else {}
        hint = hints.get(name)
    return tuple(f.name for f in dataclasses.fields(hint)) if dataclasses.is_dataclass(hint) else ()


def _check_name(value: str) -> None:
    if value.startswith("["):
        raise ConfigError(
            f"command line: config={value}",
            "one run has one experiment, not a list",
            "write --multirun config=a,b",
        )
    if "${" in value:
        raise ConfigError(
            f"command line: config={value}",
            "Hydra reads ${ in a name as an interpolation",
            "rename the file",
        )
    if value.startswith(("'", '"')) or not value:
        return
    parts = value.split(",")
    if any(NOT_A_STRING.fullmatch(part) for part in parts) or not all(
        _PLAIN_NAME.fullmatch(part) for part in parts
    ):
        raise ConfigError(
            f"command line: config={value}",
            "Hydra does not read this name as a string",
            f'type "config={quoted(value)}", with both kinds of quotes',
        )


def _check_option(group: str, value: str) -> None:
    """Refuse what Hydra would take for a path or for several options."""
    if group in schema.SEVERAL and value.startswith("["):
        return
    if unquoted(value) in schema.NO_OPTIONS:
        raise ConfigError(where(group), f"{value} is its table, no option", "say compat=env")
    if value.startswith("[") or any(len(part) > _LONGEST_NAME for part in value.split("/")):
        one = "set rollout_server.KEY=VALUE" if group == "rollout_server" else "name one option"
        raise ConfigError(where(group), f"{value!r} is not the name of an option", one)


def _check_spelling(override: str) -> None:
    """Refuse keys that the lift has copied away: they have no effect any more."""
    key, _, value = key_of(override).removeprefix("train."), *override.partition("=")[1:]
    for old, new in _MOVED:
        if key == old or key.startswith(old + "."):
            rest = _BELOW_ACCELERATORS.sub("", key.removeprefix(old).removeprefix("."))
            raise ConfigError(
                where(key_of(override)),
                "is lifted out of train and has no effect here",
                f"write {new}{rest or 'KEY'}={'null' if override[0] == '~' else value}",
            )


def _check_whole(override: str) -> None:
    """Refuse a mapping, given whole, that holds a key that the lift has copied away."""
    key, _, value = override.partition("=")
    path = key_of(key).split(".")
    if path[0] != "train" or not value.startswith("{"):
        return
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        given = OverridesParser.create().parse_override(override).value()
    except HydraException:
        return  # Hydra says so itself
    for part in reversed(path[1:]):
        given = {part: given}
    for (old, new), keys in zip(_MOVED, (lift.SERVER_BLOCK, lift.LAUNCH_BLOCK), strict=True):
        if isinstance(given, dict) and lift.has(cast("dict[Any, Any]", given), keys):
            what = f"{old} is lifted out of train and has no effect here"
            raise ConfigError(where(key_of(key)), what, f"write {new}KEY=VALUE for each key")


def _check_known(key: str) -> None:
    """Refuse unknown keys of typed nodes; Hydra would let ``+`` add them."""
    hint: Any = rollout.launch()
    known = ""
    for part in key.split("."):
        if not dataclasses.is_dataclass(hint):
            if not (hint is Any or kinds.is_mapping(hint)):
                what = f"{known.rstrip('.')} has no keys below it"
                raise ConfigError(where(key), what, f"remove .{part}")
            return
        hints = typing.get_type_hints(hint)
        if part not in hints:
            if known == f"{rollout.NODE}.":
                raise rollout.unknown(where(key), part, prefix=known)
            if known:
                raise kinds.unknown_key(where(key), part, hints, known)
            return
        hint = hints[part]
        known += part + "."


def _check_deletion(key: str) -> None:
    """Hydra would delete a typed setting by giving it an empty text.

    Raises:
        ConfigError: it is one.
    """
    hint = type_of(key)
    if hint in (None, Any) or kinds.is_mapping(hint) or dataclasses.is_dataclass(hint):
        return
    may_be_null = type(None) in typing.get_args(hint)
    fix = f"write {key}=null for its default" if may_be_null else "remove the override"
    raise ConfigError(where(key), "is a setting, which has a value and cannot be deleted", fix)


def _check_number(key: str, value: str) -> None:
    hint = type_of(key)
    number = value.strip("'\"")
    if hint is None or not _NUMBER.fullmatch(number):
        return
    if not kinds.fits(hint, number):
        raise kinds.wrong_type(where(key), hint, number)
    if kinds.is_integer(hint) and not number.lstrip("+-").isdecimal():
        raise ConfigError(where(key), f"{number!r} is not an integer", f"write {float(number):.0f}")
