"""What the chosen accelerator replaced in an experiment, and with what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from grpo_launch.checks import keys, origins
from grpo_launch.config.formats import leaves
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.overlay import overlay


def by_accelerator(config: LaunchConfig) -> dict[str, dict[str, Any]]:
    """By dotted key: ``was``, what the experiment's files say for every accelerator, and ``is``.

    Of the overlay (``config/overlay.py``) and of the experiment's own block. What the command line
    or a variable says again is not listed, nor what stays as it was.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in _paths(config):
        was, now = origins.before_accelerator(config, path), keys.value(config, path)
        if not origins.is_same(was, now) and not origins.is_said_later(config, path):
            found[path] = {"was": keys.plain(was), "is": now}
    return found


def _paths(config: LaunchConfig) -> list[str]:
    kind = config.accelerator.kind.value
    replaced = overlay(kind, config.engine.name, config.learner.name)
    block = leaves.decode(config.block.nodes) if config.block else {}
    return [*dict.fromkeys((*_leaves(replaced, ""), *_leaves(block, "")))]


def _leaves(node: Any, prefix: str) -> Iterator[str]:
    for name, value in cast("dict[Any, Any]", node).items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
