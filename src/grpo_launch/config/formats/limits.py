"""How much a file may hold."""

from __future__ import annotations

from typing import Any, cast

from grpo_launch.errors import ConfigError

MAX_VALUES = 100_000
"""Above this many values, aliases and merge keys expanded, a file is refused (a bomb)."""

MAX_DEPTH = 50
"""Above this many levels a file is refused; Hydra gives up at about 70."""


def check_size(where: str, data: Any) -> None:
    """Refuse nesting without end, and aliases that expand without bound.

    Args:
        where: the file, for messages.
        data: what it says.

    Raises:
        ConfigError: it is refused.
    """
    sizes: dict[int, tuple[int, int]] = {}
    open_: set[int] = set()

    def size(value: Any) -> tuple[int, int]:
        """The number of values in ``value``, itself included, and their depth."""
        if not isinstance(value, dict | list | tuple):
            return 1, 0
        container = cast("dict[Any, Any] | list[Any] | tuple[Any, ...]", value)
        identity = id(container)
        if identity in sizes:
            return sizes[identity]
        if identity in open_:
            raise ConfigError(where, "an alias contains itself", "remove the alias")
        open_.add(identity)
        total, depth = 1, 0
        for child in container.values() if isinstance(container, dict) else container:
            values, below = size(child)
            total += values
            depth = max(depth, below)
        open_.discard(identity)
        sizes[identity] = total, depth + 1
        return sizes[identity]

    try:
        total, depth = size(data)
    except RecursionError:
        raise too_deep(where) from None
    if depth > MAX_DEPTH:
        raise too_deep(where)
    if total > MAX_VALUES:
        raise too_many_values(where)


def too_many_values(where: str) -> ConfigError:
    """The error for a file that is a bomb."""
    what = f"expands to more than {MAX_VALUES} values"
    return ConfigError(where, what, "remove aliases or split the file")


def too_deep(where: str) -> ConfigError:
    """The error for a file that nests without end."""
    return ConfigError(where, "is nested too deeply", "flatten it")
