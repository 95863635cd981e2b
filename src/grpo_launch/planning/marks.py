"""The marks in the plans of a loop's stages, and what replaces them in an iteration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from grpo_launch.plan import (
    ITERATION_MARK,
    MODEL_MARK,
    NEXT_MARK,
    PYTHON_MARK,
    VERSION_MARK,
)

_Value = TypeVar("_Value")


def filled(
    value: _Value, iteration: int, version: int, model: str, python: str = "python"
) -> _Value:
    """The plan of a stage, or a text of it, in one iteration.

    Args:
        value: with marks.
        iteration: its number, from 0.
        version: how many updates made ``model``.
        model: what is served and trained: a directory, absolute, or a hub's name.
        python: the launcher's own interpreter.
    """
    values = {
        PYTHON_MARK: python,
        ITERATION_MARK: directory(iteration),
        MODEL_MARK: model,
        VERSION_MARK: str(version),
        NEXT_MARK: str(version + 1),
    }
    return _replaced(value, values)


def directory(iteration: int) -> str:
    """The name of an iteration's directory."""
    return f"{iteration:04d}"


def _replaced(value: _Value, marks: Mapping[str, str]) -> _Value:
    """``value`` with the marks in all its texts replaced."""
    if isinstance(value, str):
        text: Any = value
        for mark, meant in marks.items():
            text = text.replace(mark, meant)
        return text
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        changed = {name: _replaced(held, marks) for name, held in fields.items()}
        return type(value)(**changed)
    if isinstance(value, tuple | list):
        items = cast("tuple[Any, ...] | list[Any]", value)
        return cast("_Value", type(items)(_replaced(item, marks) for item in items))
    if isinstance(value, Mapping):
        body = cast("Mapping[str, Any]", value)
        return cast("_Value", {_replaced(k, marks): _replaced(v, marks) for k, v in body.items()})
    return value
