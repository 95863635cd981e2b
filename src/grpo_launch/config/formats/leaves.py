"""Carry plain YAML data through OmegaConf unchanged.

OmegaConf is not YAML: ``${...}`` in a string is an interpolation, ``???`` means
missing, and dates, sets, and mappings with null or date keys are refused. What
OmegaConf would read differently travels in an :class:`Opaque` leaf.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import yaml

_KEY_TYPES = (str, int, float, bytes)


class Opaque(yaml.YAMLObject):
    """A value that OmegaConf must not look into.

    It prints as the value itself in ``--cfg job``, since it represents itself
    so to YAML.
    """

    yaml_tag = "!opaque"  # PyYAML registers only tagged classes; the tag itself is never written
    yaml_dumper = yaml.Dumper
    yaml_loader: list[Any] = []  # noqa: RUF012  # never read back from a file

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self.value == other.value

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __copy__(self) -> Opaque:
        return self  # nobody looks into it, so nobody can tell

    def __deepcopy__(self, memo: dict[int, Any]) -> Opaque:
        return self

    def __repr__(self) -> str:
        return repr(self.value)

    @classmethod
    def to_yaml(cls, dumper: Any, data: Opaque) -> yaml.Node:
        """Represent the value that is carried."""
        return dumper.represent_data(data.value)


def encode(value: Any) -> Any:
    """``value`` with all that OmegaConf would change wrapped in :class:`Opaque`.

    What is wrapped already stays as it is.
    """
    if isinstance(value, dict):
        mapping = cast("dict[Any, Any]", value)
        if all(isinstance(key, _KEY_TYPES) for key in mapping):
            return {key: encode(item) for key, item in mapping.items()}
        return Opaque(mapping)
    if isinstance(value, list):
        return [encode(item) for item in cast("list[Any]", value)]
    if isinstance(value, str):
        return Opaque(value) if "${" in value or value == "???" else value
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    return value if isinstance(value, Opaque) else Opaque(value)


def decode(value: Any) -> Any:
    """The inverse of :func:`encode`, on plain containers; the result is the caller's own."""
    if isinstance(value, Opaque):
        return decode(value.value)
    if isinstance(value, dict):
        return {key: decode(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [decode(item) for item in cast("list[Any]", value)]
    return copy.deepcopy(value) if isinstance(value, set | tuple) else value
