"""Gather what validation wants to know: the installed engine's flags, the model, the devices."""

from __future__ import annotations

import shutil
from pathlib import Path

from grpo_launch.base.host import Host, nvidia_smi
from grpo_launch.checks.examine import Episodes, Facts, GymFacts, Problem, Severity
from grpo_launch.config import schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.flags import EngineFlags, introspect, snapshot
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.errors import PreflightError
from grpo_launch.learners.swift import dataset_rows, episodes, plugin_source
from grpo_launch.planning import devices
from grpo_launch.runtimes.enter import conda_environments

_MIB_PER_GIB = 1024


def gather(config: LaunchConfig, host: Host) -> Facts:
    """The facts about ``config`` on this machine.

    What is read from the installed engine is kept in ``$XDG_CACHE_HOME/grpo_launch``.
    """
    shape = _shape(config, host.cwd)
    return Facts(
        flags=_flags(config, host),
        devices=split(config, host),
        shape=shape,
        gpu_memory_gib=_memory(config) if shape else None,
        gym=_gym(config, host.cwd),
    )


def split(config: LaunchConfig, host: Host) -> devices.Devices | None:
    """The split of the devices, or None where the machine has too few."""
    visible = host.visible_devices() if devices.needs_discovery(config) else []
    try:
        return devices.assign(config, visible)
    except PreflightError:
        return None


def unchecked(config: LaunchConfig) -> list[Problem]:
    """A warning for what preflight could not check on this machine: GPUs without nvidia-smi."""
    if config.accelerator.kind is not schema.AcceleratorKind.cuda or nvidia_smi("index"):
        return []
    what = "the GPUs could not be checked, nvidia-smi is absent or lists none"
    fix = "run this check on the machine that has them"
    return [Problem(config.where("gpus.server"), what, fix, Severity.WARNING)]


def _flags(config: LaunchConfig, host: Host) -> EngineFlags:
    """The installed engine's flags, read from its files, else the pinned version's."""
    sites = (site for prefix in _prefixes(config, host) if (site := introspect.find(prefix)))
    site = next(sites, None)
    if site is None:
        return snapshot()
    try:
        return introspect.cached(site, _cache(host))
    except (LookupError, OSError):
        return snapshot()  # a version whose source reads differently


def _prefixes(config: LaunchConfig, host: Host) -> list[Path]:
    runtime = config.runtime
    if runtime.kind is schema.RuntimeKind.venv:
        return [host.cwd / runtime.path] if runtime.path else []
    if runtime.kind is schema.RuntimeKind.conda:
        conda = shutil.which("conda", path=host.environ.get("PATH"))
        found = conda_environments(conda, runtime.name or "", host.environ) if conda else ()
        return [prefix for prefix in found if prefix.is_dir()]
    command = shutil.which(config.engine.entry[0], path=host.environ.get("PATH"))
    # Not resolved: the link in a virtual environment's bin leads out of it.
    return [Path(command).parent.parent] if command else []


def _cache(host: Host) -> Path:
    said = host.environ.get("XDG_CACHE_HOME")
    home = Path(said) if said else Path(host.environ.get("HOME", "/tmp")) / ".cache"  # noqa: S108
    return home / "grpo_launch"


def _shape(config: LaunchConfig, cwd: Path) -> ModelShape | None:
    model = config.get("model.model")
    if not isinstance(model, str) or not model or "\0" in model:
        return None
    directory = cwd / model
    return ModelShape.read(directory) if directory.is_dir() else None


def _gym(config: LaunchConfig, cwd: Path) -> GymFacts:
    """The files of an experiment that plays episodes, of the half that reads them here.

    The rollout server reads no data set, and ``role=learner`` may have it on another machine.
    """
    played = Episodes.of(config)
    if played is None:
        return GymFacts()
    elsewhere = "learner" if played.on_server else "server"
    entries = [entry for _, entry in episodes.data_sets(config)]
    return GymFacts(
        rows=None if config.role == "server" else tuple(dataset_rows.read(e, cwd) for e in entries),
        plugins=None
        if config.role == elsewhere
        else tuple(plugin_source.read(file, cwd) for file in played.plugins),
    )


def _memory(config: LaunchConfig) -> float | None:
    """GiB of the smallest device, as said or as nvidia-smi tells."""
    if config.accelerator.memory_gib is not None:
        return config.accelerator.memory_gib
    if config.accelerator.kind is not schema.AcceleratorKind.cuda:
        return None
    sizes = [float(line) for line in nvidia_smi("memory.total") if line.replace(".", "").isdigit()]
    return min(sizes) / _MIB_PER_GIB if sizes else None
