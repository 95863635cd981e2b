"""``role=check``: validate and preflight, start nothing, leave no file behind."""

from __future__ import annotations

from grpo_launch import plan, preflight
from grpo_launch.compose.config import LaunchConfig
from grpo_launch.host import Host
from grpo_launch.roles._launch import DRY_RUN_ID, make_plan


def run(config: LaunchConfig, host: Host) -> int:
    """Check; returns 0 when a launch could start now.

    Raises:
        InvalidConfigError: the configuration has errors.
        PreflightError: this machine cannot run it now.
    """
    planned = make_plan(config, host, (plan.SERVER, plan.LEARNER), DRY_RUN_ID)
    if config.preflight:
        preflight.check(config, planned, host.environ, host.cwd)
    for spec in planned.processes:
        devices = ",".join(spec.devices) if spec.env.get("CUDA_VISIBLE_DEVICES") else "cpu"
        print(f"{spec.name}: devices {devices}")
    print(f"gate: {planned.gate.url}{planned.gate.health_path}, TP x DP {planned.gate.world_size}")
    print(f"{config.experiment}: ready to launch")
    return 0
