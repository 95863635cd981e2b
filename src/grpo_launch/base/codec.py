"""Frozen dataclasses back from JSON, whatever version of them wrote it.

``dataclasses.asdict`` and ``json.dumps`` are the way there. On the way back unknown keys are
noted and left out, missing keys take the field's default, and a value of another type is an
error that names its place: ``processes.0.argv``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from os import PathLike
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from grpo_launch.base import files

T = TypeVar("T")

_SHOWN = 60
"""Characters of a wrong value in a message."""


def read(path: str | PathLike[str]) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or no object.
    """
    return parse(files.text(path))


def parse(text: str) -> dict[str, Any]:
    """The JSON object that a text is.

    Raises:
        ValueError: it is none.
    """
    try:
        body: Any = files.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(body, dict):
        raise ValueError("not a JSON object")
    return cast("dict[str, Any]", body)


def decode(kind: type[T], body: Any, notes: list[str], at: str = "") -> T:
    """``body`` as a ``kind``.

    Args:
        kind: a dataclass of dataclasses, ``tuple[X, ...]``, ``Mapping[str, X]``, ``X | None``,
            ``Any``, and ``str``, ``int``, ``float``, ``bool``.
        body: what ``json.loads`` made.
        notes: gets a line for each key that is not understood.
        at: the place of ``body``, for notes and errors.

    Raises:
        ValueError: the place, and what is wrong there.
    """
    return cast("T", _decode(kind, body, notes, at))


def _decode(kind: Any, body: Any, notes: list[str], at: str) -> Any:
    if kind is Any:
        return body
    if dataclasses.is_dataclass(kind):
        return _object(cast("type[Any]", kind), body, notes, at)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (inner,) = (each for each in arguments if each is not NoneType)
        return None if body is None else _decode(inner, body, notes, at)
    if origin is tuple:
        items = cast("list[Any]", _checked(body, list, "list", at))
        return tuple(_decode(arguments[0], v, notes, _place(at, i)) for i, v in enumerate(items))
    if origin is Mapping:
        values = cast("dict[str, Any]", _checked(body, dict, "object", at))
        return {k: _decode(arguments[1], v, notes, _place(at, k)) for k, v in values.items()}
    if kind is float and type(body) is int and abs(body) < 2**1000:
        return float(body)
    return _checked(body, kind, kind.__name__, at)


def _object(kind: type[Any], body: Any, notes: list[str], at: str) -> Any:
    given = cast("dict[str, Any]", _checked(body, dict, "object", at))
    known = {field.name: field for field in dataclasses.fields(kind)}
    notes += [f"{_place(at, key)}: not understood" for key in given if key not in known]
    types = _types(kind)
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in given:
            values[name] = _decode(types[name], given[name], notes, _place(at, name))
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{_place(at, name)}: is missing")
    try:
        return kind(**values)
    except ValueError as error:  # of its __post_init__
        raise ValueError(_place(at, error)) from None


@functools.cache
def _types(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _checked(body: Any, kind: type[Any], name: str, at: str) -> Any:
    if type(body) is not kind:  # true is no number
        raise ValueError(f"{at or 'all of it'}: {repr(body)[:_SHOWN]} is no {name}")
    return body


def _place(at: str, name: object) -> str:
    return f"{at}.{name}" if at else str(name)
