"""The types of the schema for people: which values pass for them, and what to say of others."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterable
from enum import Enum
from typing import Any, cast

from grpo_launch.base import redaction
from grpo_launch.errors import ConfigError


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


def is_list(hint: Any) -> bool:
    """Whether a type hint is a list, or one that may be null."""
    return any(typing.get_origin(one) is list for one in (hint, *typing.get_args(hint)))


def is_mapping(hint: Any) -> bool:
    """Whether a type hint is a mapping with free keys."""
    return typing.get_origin(hint) is dict


def _is_one_of(hint: Any, kind: type) -> bool:
    return kind in (hint, *typing.get_args(hint)) and typing.get_origin(hint) not in (list, dict)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal())


def nests(value: Any) -> bool:
    """Whether a list or a mapping holds another one; OmegaConf takes that for strings."""
    if not isinstance(value, dict | list):
        return False
    container = cast("dict[Any, Any] | list[Any]", value)
    items = container.values() if isinstance(container, dict) else container
    return any(isinstance(item, dict | list) for item in items)


def said_at(key: str, value: Any) -> str:
    """As :func:`said`, with stars where ``key`` is that of a secret; a file may stand before it."""
    is_secret = redaction.is_secret_place(key.rpartition(": ")[2])
    return said(redaction.without_named(value, "token" if is_secret else ""))


def said(value: Any) -> str:
    """``value`` for a message, as YAML spells it: ``false``, ``null``, ``[1, 'a']``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(said, cast('list[Any]', value)))}]"
    if isinstance(value, dict):
        pairs = (f"{_key(k)}: {said(v)}" for k, v in cast("dict[Any, Any]", value).items())
        return f"{{{', '.join(pairs)}}}"
    try:
        return repr(value) if isinstance(value, str | int | float | bytes) else str(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number too long to print"


def _key(key: Any) -> str:
    return key if isinstance(key, str) else said(key)


def wrong_type(where: str, hint: Any, value: Any) -> ConfigError:
    """The error for a value of the wrong type."""
    what = f"{said_at(where, value)} is not {describe(hint)}"
    return ConfigError(where, what, _EXAMPLES[_kind(hint)])


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


def unknown_key(where: str, name: Any, known: Iterable[str], prefix: str = "") -> ConfigError:
    """The error for a key ``name`` that a typed node at ``prefix`` does not have."""
    names = sorted(known)
    meant = nearest(name, names)
    fix = f"did you mean {prefix}{meant}?" if meant else f"use one of {', '.join(names)}"
    return ConfigError(where, "unknown key", fix)


def nearest(name: Any, names: Iterable[str]) -> str | None:
    """The one of ``names`` that ``name`` may be a misspelling of, if any."""
    import difflib

    return next(iter(difflib.get_close_matches(str(name), list(names), n=1)), None)


def counted(number: int, noun: str) -> str:
    """``1 device``, ``2 devices``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
