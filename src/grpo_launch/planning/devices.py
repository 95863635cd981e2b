"""Who gets which devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grpo_launch.config import loops, schema, services
from grpo_launch.config.endpoint import are_elsewhere, numbers_here
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.base import engine
from grpo_launch.errors import PreflightError


@dataclass(frozen=True)
class Devices:
    """The split of the devices.

    Attributes:
        server: ids of this machine's rollout servers, TP x DP for each, one after the other.
        learner: ids of the learner, one process each.
        cuda: whether the ids are CUDA devices; on a CPU they only count processes.
        nodes: machines that the learner runs on, with as many devices on each.
    """

    server: tuple[str, ...]
    learner: tuple[str, ...]
    cuda: bool
    nodes: int = 1

    def of_servers(self, count: int) -> list[tuple[str, ...]]:
        """The ids of each of this machine's ``count`` servers, as many for one as for another."""
        each = len(self.server) // count if count else 0
        return [self.server[number * each :][:each] for number in range(count)]


def world_size(config: LaunchConfig) -> int | None:
    """TP x DP of each rollout server, or None where one of them is missing."""
    return engine(config.engine.name).sizes(config.rollout_server).devices


def needed(config: LaunchConfig) -> int | None:
    """Devices of this machine's rollout servers together, or None where TP or DP is missing."""
    each = world_size(config)
    return None if each is None else each * len(numbers_here(config))


def is_elsewhere(config: LaunchConfig, half: str) -> bool:
    """Whether the devices of ``half`` are said in another terminal.

    All servers may be on other machines, as their devices are then. With ``compat=env`` a half that
    is started alone gets its devices from CUDA_VISIBLE_DEVICES. What the experiment says of the
    other half is then not about this launch.
    """
    if half == "server" and are_elsewhere(config):
        return True
    other = {"server": "learner", "learner": "server"}[half]
    key = f"gpus.{half}"
    if config.role != other or config.environment.of(f"gpus.{other}") is None:
        return False
    return config.environment.of(key) is None and not config.where(key).startswith("command line")


def assign(config: LaunchConfig, visible: Sequence[str]) -> Devices:
    """Split the devices between the two halves.

    What ``gpus.*`` says is taken; otherwise the first TP x DP visible devices
    serve (of several servers of this machine each gets as many) and the rest learn;
    those of services are left out. Where a loop restarts its servers, both halves get them all,
    one after the other. On a CPU one process learns. A half whose devices are
    said in another terminal gets none here.

    Args:
        config: a valid configuration.
        visible: the ids of the CUDA devices that this process may use.

    Raises:
        PreflightError: there are too few devices for a half that did not list its own.
    """
    count = needed(config) or 0
    cuda = config.accelerator.kind is schema.AcceleratorKind.cuda
    taken = services.devices(config)
    free = [device for device in visible if device not in taken]
    pool = free if cuda else [str(i) for i in range(count + 1)]
    server = [] if are_elsewhere(config) else config.gpus.server
    if server is None and is_elsewhere(config, "server"):
        server = []
    if server is None and config.role == "learner" and config.gpus.learner is not None:
        server = []  # started in another terminal, which knows its devices
    shares = loops.shares_devices(config)
    if server is None:
        learns = () if shares else config.gpus.learner or ()
        free = [device for device in pool if device not in learns]
        server = free[:count]
        if len(server) < count:
            if cuda and not visible:
                raise PreflightError(
                    config.where("gpus.server"),
                    "is not set, and no CUDA device is visible",
                    "set gpus.server=[...], or accelerator=cpu for a machine without a GPU",
                )
            raise PreflightError(
                config.where("gpus.server"),
                f"is not set, and {len(free)} of the {count} devices that {_product(config)} needs "
                "are free",
                f"set gpus.server=[...]{_or_smaller(config)}",
            )
    learner = [] if config.learner.name == schema.NO_PLUGIN else config.gpus.learner
    if learner is None and is_elsewhere(config, "learner"):
        learner = []
    if learner is None:
        taken = () if shares and cuda else server
        learner = [device for device in pool if device not in taken]
    return Devices(tuple(server), tuple(learner), cuda)


def _product(config: LaunchConfig) -> str:
    """What decides how many devices serve."""
    count = len(numbers_here(config))
    return "TP x DP" if count == 1 else f"TP x DP of {count} servers"


def _or_smaller(config: LaunchConfig) -> str:
    key = engine(config.engine.name).size_keys.data_parallel
    return f" or a smaller rollout_server.{key}" if key else ""


def needs_discovery(config: LaunchConfig) -> bool:
    """Whether :func:`assign` needs to know the visible CUDA devices."""
    cuda = config.accelerator.kind is schema.AcceleratorKind.cuda
    return cuda and (config.gpus.server is None or config.gpus.learner is None)
