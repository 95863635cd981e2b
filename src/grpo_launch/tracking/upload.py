"""What follows a training that ended well: its newest checkpoint becomes an artifact."""

from __future__ import annotations

from pathlib import Path

from grpo_launch import runtimes
from grpo_launch.base import resources
from grpo_launch.base.shipped_files import relative
from grpo_launch.config.env import of_half
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.plan import LEARNER, UPLOAD, ProcessSpec
from grpo_launch.tracking import variables

MANIFEST = "checkpoint_upload.json"
"""In the run directory: which files are to be uploaded; written when the training has ended."""


def upload(config: LaunchConfig, run_id: str, run_dir: str, cwd: Path) -> ProcessSpec:
    """The program that uploads the checkpoint, in the learner's environment.

    Args:
        config: a valid configuration.
        run_id: names the run.
        run_dir: the run directory, absolute or relative to ``cwd``.
        cwd: the working directory of the processes.
    """
    wandb = config.tracking.wandb
    words = ["python", relative(resources.path("scripts/upload_checkpoint.py"), cwd)]
    words += [f"{run_dir}/{MANIFEST}", "--name", variables.artifact_name(config)]
    for alias in wandb.artifact_aliases:
        words += ["--alias", alias]
    entered = runtimes.of(config.runtime_of(LEARNER)).enter(words, cwd)
    own = of_half(config.env, LEARNER)
    tracked = variables.of_upload(config, run_id, str(cwd / run_dir))
    return ProcessSpec(
        name=UPLOAD,
        part=UPLOAD,
        argv=entered.argv,
        cwd=str(cwd),
        log=f"{run_dir}/logs/{UPLOAD}.log",
        env={**entered.env, "CUDA_VISIBLE_DEVICES": "", **own.set, **tracked.said},
        env_defaults={**own.defaults, **tracked.defaults},
        path=entered.path,
        timeout_s=wandb.upload_timeout_s,
    )
