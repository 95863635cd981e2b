"""The backend that a configuration chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpo_launch.plugins import BACKENDS

if TYPE_CHECKING:  # grpo-runs composes nothing
    from grpo_launch.backends.base import Backend
    from grpo_launch.config.launch_config import LaunchConfig

KEY = "launch.backend"


def of(config: LaunchConfig) -> Backend:
    """The backend that a configuration chooses.

    Raises:
        ConfigError: see :func:`get`.
    """
    return get(config.launch.backend, config.where(KEY))


def get(name: str, where: str = KEY) -> Backend:
    """The backend of that name; no other one is imported.

    Args:
        name: a value of ``launch.backend``.
        where: the place that says it, for messages.

    Raises:
        ConfigError: there is none of that name, or it cannot be used.
    """
    return BACKENDS.get(name, where)
