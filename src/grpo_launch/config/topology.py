"""The groups ``rollout_server/topology`` and ``rollout_server/preset``.

A topology says how many servers there are and what each computes on, a preset the settings that
a kind of use has. Their options are merged behind the accelerator's overlay and the experiment's
own block, so that what the command line chooses wins over both (docs/adr/0017).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, cast

from grpo_launch.base import resources
from grpo_launch.config.schema import SERVER_GROUPS


def chosen(overrides: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The groups in which a command line chooses, and the options, the one that wins first."""
    said = [item.partition("=") for item in overrides]
    found: list[tuple[str, str]] = []
    for group in reversed(SERVER_GROUPS):
        names = [value.strip("'\"") for key, _, value in said if key.lstrip("+") == group]
        if names and names[-1] != "null":
            found.append((group, names[-1]))
    return tuple(found)


def value(overrides: Sequence[str], key: str) -> Any:
    """What a chosen option says at a dotted key; None for nothing, or for an option of others."""
    return next((value for _, value in _said(overrides, key)), None)


def place(overrides: Sequence[str], key: str) -> str:
    """How messages name the chosen option that says a dotted key."""
    return next((place for place, _ in _said(overrides, key)), "")


def _said(overrides: Sequence[str], key: str) -> Iterator[tuple[str, Any]]:
    for group, name in chosen(overrides):
        node: Any = _content(group, name)
        for part in key.split("."):
            node = cast("dict[Any, Any]", node).get(part) if isinstance(node, dict) else None
        if node is not None:
            yield f"{group}={name}", node


@functools.cache
def _content(group: str, name: str) -> Any:
    import yaml

    path = resources.path(f"conf/{group}/{name}.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
