"""The ports that the processes of a run listen on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpo_launch.config import endpoint, kinds
from grpo_launch.config.launch_config import LaunchConfig

MASTER_PORT_KEY = "learner.master_port"


def listening(config: LaunchConfig, parts: Sequence[str]) -> list[tuple[int, str]]:
    """The ports, and their keys, that the given halves of a valid configuration listen on.

    Args:
        config: a valid configuration.
        parts: of ``server`` and ``learner``.
    """
    found: list[tuple[int, str]] = []
    if "server" in parts:
        for address in endpoint.endpoints(config):
            found.append((address.port, endpoint.PORT_KEY))
            # The server's first worker listens on it when the learner comes.
            found.append((address.group_port, endpoint.GROUP_PORT_KEY))
    if "learner" in parts and config.learner.master_port is not None:
        found.append((config.learner.master_port, MASTER_PORT_KEY))
    return found


def is_port(value: Any) -> bool:
    """Whether a value of a configuration is a TCP port."""
    return value is not None and kinds.fits(int, value) and 1 <= int(float(value)) <= 65535
