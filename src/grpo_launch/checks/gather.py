"""Gather what validation wants to know: the installed engine's flags, the model, the devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from grpo_launch import runtimes
from grpo_launch.base.host import Host, nvidia_smi
from grpo_launch.config import endpoint, schema, services
from grpo_launch.config.facts import DeviceMemory, Facts, WorldSize
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.engines import asking
from grpo_launch.engines.base import engine
from grpo_launch.engines.flag_facts import flag_facts
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.engines.snapshot import FlagQuestion
from grpo_launch.errors import PreflightError
from grpo_launch.learners.base import learner
from grpo_launch.plan import LEARNER, SERVER
from grpo_launch.planning import devices
from grpo_launch.planning.nodes import Nodes

_MIB_PER_GIB = 1024


def placed(config: LaunchConfig, host: Host) -> LaunchConfig:
    """``config`` with what it calls this machine: whose servers are meant depends on it."""
    urls = (url.hostname for url in services.addresses(config).values())
    named = {str(name) for name in (*endpoint.hosts(config), *urls) if name}
    own = frozenset(name for name in named - {*endpoint.LOCAL_HOSTS} if host.owns(name))
    return replace(config, own_hosts=own)


def gather(config: LaunchConfig, host: Host, say: Callable[[str], None] = lambda _: None) -> Facts:
    """The facts about ``config`` on this machine.

    What the installed engine tells is kept in ``$XDG_CACHE_HOME/grpo_launch``.

    Args:
        config: the configuration.
        host: this machine.
        say: told when something takes seconds.
    """
    shape = _shape(config, host.cwd)
    gib = _memory(config) if shape else None
    nodes = Nodes.of(config, host.environ)
    facts = (
        *learner(config.learner.name).facts(config, host),
        *([shape] if shape else []),
        *([DeviceMemory(gib)] if gib is not None else []),
        nodes,
        *of_devices(split(config, host), nodes),
    )
    return _flags(config, host, say).updated(Facts.of(*facts))


def of_devices(
    split: devices.Devices | None, nodes: Nodes | None = None
) -> list[devices.Devices | WorldSize]:
    """The facts that a split of the devices gives, with the nodes that the learner runs on."""
    if split is None:
        return []
    count = Nodes().count if nodes is None else nodes.count
    if count is None:
        return [split]
    split = replace(split, nodes=count)
    return [split, WorldSize(count * len(split.learner))] if split.learner else [split]


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


def _flags(config: LaunchConfig, host: Host, say: Callable[[str], None]) -> Facts:
    """The flags of the engine and of the learner, as installed where they are started."""
    served = engine(config.engine.name).flags if endpoint.has_servers(config) else None
    trained = learner(config.learner.name).flags_of(config)
    return flag_facts(
        served and _asked(served, SERVER, config.engine.entry, config, host, say),
        trained and _asked(trained, LEARNER, config.learner.entry, config, host, say),
    )


def _asked(
    question: FlagQuestion,
    part: str,
    entry: Sequence[str],
    config: LaunchConfig,
    host: Host,
    say: Callable[[str], None],
) -> asking.FlagAnswer:
    python = runtimes.of(config.runtime_of(part)).python(entry, host.environ, host.cwd)
    return asking.flags_of(question, python, host.environ, _cache(host), say)


def _cache(host: Host) -> Path:
    said = host.environ.get("XDG_CACHE_HOME")
    home = Path(said) if said else Path(host.environ.get("HOME", "/tmp")) / ".cache"  # noqa: S108
    return home / "grpo_launch"


def _shape(config: LaunchConfig, cwd: Path) -> ModelShape | None:
    model = config.model
    if not isinstance(model, str) or not model or "\0" in model:
        return None
    directory = cwd / model
    return ModelShape.read(directory) if directory.is_dir() else None


def _memory(config: LaunchConfig) -> float | None:
    """GiB of the smallest device, as said or as nvidia-smi tells."""
    if config.accelerator.memory_gib is not None:
        return config.accelerator.memory_gib
    if config.accelerator.kind is not schema.AcceleratorKind.cuda:
        return None
    sizes = [float(line) for line in nvidia_smi("memory.total") if line.replace(".", "").isdigit()]
    return min(sizes) / _MIB_PER_GIB if sizes else None
