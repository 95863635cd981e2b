"""Who gets which devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grpo_launch import schema
from grpo_launch.compose.config import LaunchConfig
from grpo_launch.errors import PreflightError


@dataclass(frozen=True)
class Devices:
    """The split of the devices.

    Attributes:
        server: ids of the rollout server, TP x DP of them.
        learner: ids of the learner, one process each.
        cuda: whether the ids are CUDA devices; on a CPU they only count processes.
    """

    server: tuple[str, ...]
    learner: tuple[str, ...]
    cuda: bool


def world_size(config: LaunchConfig) -> int | None:
    """TP x DP of the rollout server, or None where one of them is missing."""
    tp = config.rollout_server.get("vllm_tensor_parallel_size")
    dp = config.rollout_server.get("vllm_data_parallel_size")
    return None if tp is None or dp is None else tp * dp


def assign(config: LaunchConfig, visible: Sequence[str]) -> Devices:
    """Split the devices between the two halves.

    What ``gpus.*`` says is taken; otherwise the first TP x DP visible devices
    serve and the rest learn. On a CPU one process learns.

    Args:
        config: a valid configuration.
        visible: the ids of the CUDA devices that this process may use.

    Raises:
        PreflightError: there are too few devices for a half that did not list its own.
    """
    needed = world_size(config) or 0
    cuda = config.accelerator.kind is schema.AcceleratorKind.cuda
    pool = list(visible) if cuda else [str(i) for i in range(needed + 1)]
    server = config.gpus.server
    if server is None:
        free = [device for device in pool if device not in (config.gpus.learner or ())]
        server = free[:needed]
        if len(server) < needed:
            if not pool:
                raise PreflightError(
                    config.where("gpus.server"),
                    "is not set, and no CUDA device is visible",
                    "set gpus.server=[...], or accelerator=cpu for a machine without a GPU",
                )
            raise PreflightError(
                config.where("gpus.server"),
                f"is not set, and {len(free)} of the {needed} devices that TP x DP needs are free",
                "set gpus.server=[...] or a smaller rollout_server.vllm_data_parallel_size",
            )
    learner = config.gpus.learner
    if learner is None:
        learner = [device for device in pool if device not in server]
    return Devices(tuple(server), tuple(learner), cuda)


def needs_discovery(config: LaunchConfig) -> bool:
    """Whether :func:`assign` needs to know the visible CUDA devices."""
    cuda = config.accelerator.kind is schema.AcceleratorKind.cuda
    return cuda and (config.gpus.server is None or config.gpus.learner is None)
