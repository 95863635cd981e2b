"""What a loop needs of this machine besides what its servers and its learner need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from grpo_launch.base.shipped_files import found
from grpo_launch.config import loops
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.machine_checks import FILES, PACKAGES
from grpo_launch.config.problem import Problem
from grpo_launch.plan import LaunchPlan

_COLLECTOR = ("aiohttp",)
"""What ``grpo_launch.rollout`` imports besides the launcher's own packages."""


def problems(
    config: LaunchConfig, plan: LaunchPlan, environ: Mapping[str, str], cwd: Path
) -> Iterator[Problem]:
    """Files, packages and keys that are not there.

    Args:
        config: the configuration of the plan, for messages.
        plan: what would be started.
        environ: of the launcher.
        cwd: what relative paths are relative to.
    """
    if plan.loop is None:
        return
    if config.role != loops.UPDATE:
        from grpo_launch.checks import collecting

        missing = list(_of_collector(config, environ, cwd))
        yield from missing or collecting.problems(config, plan, environ, cwd)
    if plan.loop.free is not None and find_spec("pynvml") is None:
        what = "nothing tells when the GPUs that servers and learner share are free"
        fix = "pip install 'grpo_launch[nvml]'"
        yield Problem("gpu_wait", what, fix, rule=PACKAGES.name)


def _of_collector(config: LaunchConfig, environ: Mapping[str, str], cwd: Path) -> Iterator[Problem]:
    collector = config.collector
    files = {"collector.plugins": collector.plugins}
    for split in ("train", "eval"):
        key = f"{split}_tasks"
        files[f"collector.{key}"] = [getattr(collector, key)]
    for key, paths in files.items():
        for path in filter(None, paths):
            if not (cwd / found(path, cwd)).is_file():
                what, fix = f"{path} does not exist", "name a file that is there"
                yield Problem(config.where(key), what, fix, rule=FILES.name)
    if (key := collector.key) is not None:
        known = {**config.env.defaults, **environ, **config.env.set}
        if not str(known.get(key) or "").strip():
            what = f"the variable {key} is not set"
            yield Problem(config.where("collector.key"), what, f"export {key}")
    own = [value for value in vars(collector.runtime).values() if value is not None]
    for name in () if own else _COLLECTOR:
        if find_spec(name) is None:
            what = f"{name} is not installed beside the launcher"
            fix = "pip install 'grpo_launch[rollout]'"
            yield Problem("collector", what, fix, rule=PACKAGES.name)
