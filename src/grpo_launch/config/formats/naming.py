"""Settings of a server that go by two names, by the one that its engine has for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from grpo_launch.config import kinds, rollout
from grpo_launch.config.mistake import KeyPath, Mistake
from grpo_launch.errors import ConfigError


def with_own_names(
    said: Any, above: KeyPath, where: Callable[..., str], engine: Any = None
) -> tuple[Any, list[Mistake]]:
    """The settings of a server by the names that its engine has for them.

    A mistake where one is said by both of its names, differently.
    """
    if not isinstance(said, dict):
        return said, []
    named: dict[Any, Any] = {}
    mistakes: list[Mistake] = []
    for name, value in cast("dict[Any, Any]", said).items():
        own = rollout.own_name(name, engine)
        if own in named and named[own] != value:
            other = next(n for n in said if n != name and rollout.own_name(n, engine) == own)
            what = f"is {kinds.said(value)}, but {other}, the same setting, is "
            what += kinds.said(named[own])
            error = ConfigError(where(*above, name), what, "keep one of them")
            mistakes.append(Mistake(error, ((*above, own),)))
        named[own] = value
    return named, mistakes


def said_keys(train: dict[Any, Any], keys: tuple[str, ...]) -> tuple[str, ...]:
    """Keys of a legacy tree with the other name of a server's setting, where that is said."""
    other = rollout.other_name(keys[-1])
    node: Any = train
    for key in keys[:-1] if other else ():
        node = cast("dict[Any, Any]", node).get(key) if isinstance(node, dict) else None
    says_other = other is not None and isinstance(node, dict) and keys[-1] not in node
    return (*keys[:-1], other) if other and says_other and other in node else keys
