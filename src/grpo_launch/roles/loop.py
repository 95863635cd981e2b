"""``role=loop``, ``rollout`` and ``update``: stages of a loop, see ``planning/loop.py``."""

from __future__ import annotations

from grpo_launch.base.host import Host
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.roles._launch import PARTS, launch


def run(config: LaunchConfig, host: Host) -> int:
    """Launch; returns the exit status.

    Raises:
        LaunchError: see the subclasses in ``errors``.
    """
    return launch(config, host, PARTS[config.role])
