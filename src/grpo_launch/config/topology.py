"""The group ``rollout_server/topology``: how many servers there are, and what each computes on.

Its options are merged behind the accelerator's overlay and the experiment's own block, so that
what the command line chooses wins over both (docs/adr/0017).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, cast

from grpo_launch.base import resources
from grpo_launch.config.schema import TOPOLOGY


def chosen(overrides: Sequence[str]) -> str | None:
    """The option that a command line chooses, or None."""
    said = (item.partition("=") for item in overrides)
    names = [value.strip("'\"") for key, _, value in said if key.lstrip("+") == TOPOLOGY]
    return names[-1] if names and names[-1] != "null" else None


def value(overrides: Sequence[str], key: str) -> Any:
    """What the chosen option says at a dotted key; None for nothing, or for an option of others."""
    name = chosen(overrides)
    node: Any = _content(name) if name else None
    for part in key.split("."):
        node = cast("dict[Any, Any]", node).get(part) if isinstance(node, dict) else None
    return node


def place(overrides: Sequence[str]) -> str:
    """How messages name the chosen option."""
    return f"{TOPOLOGY}={chosen(overrides)}"


@functools.cache
def _content(name: str) -> Any:
    import yaml

    path = resources.path(f"conf/{TOPOLOGY}/{name}.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
