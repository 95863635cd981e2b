"""Limits of this machine that a run would meet minutes later: shared memory, descriptors, disk."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.config import arguments, schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.machine_checks import DISK
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.engines.base import engine
from grpo_launch.plan import LEARNER, LaunchPlan

_SHM = Path("/dev/shm")  # noqa: S108 (where libraries share memory)

SHM = 1 << 30
"""Bytes of shared memory that processes with several GPUs want: NCCL's documentation starts
containers with ``--shm-size=1g``, and vLLM's queue to its workers alone may fill 160 MiB (ten
chunks of VLLM_MQ_MAX_CHUNK_BYTES_MB). Docker gives 64 MiB."""

OPEN_FILES = 1024
"""The soft limit that Linux begins with (``INR_OPEN_CUR``): what is below has been lowered."""

THREADS = 32
"""Threads of a process besides a pool with one for each core: NCCL, torch, gloo, HTTP."""

_OPTIMIZER = 2
"""Copies of the weights that Adam's state takes at the least, in the type of the weights."""


@dataclass(frozen=True)
class Machine:
    """What this machine gives; None where it does not tell, or sets no limit.

    Attributes:
        shm: bytes of ``/dev/shm``.
        open_files: ``ulimit -n``.
        processes: ``ulimit -u``, which counts threads; root has none.
        cores: that may be used.
    """

    shm: int | None
    open_files: int | None
    processes: int | None
    cores: int

    @staticmethod
    def here() -> Machine:
        """This machine, as this process sees it."""
        return Machine(
            shm=shutil.disk_usage(_SHM).total if _SHM.is_dir() else None,
            open_files=_limit(resource.RLIMIT_NOFILE),
            processes=_limit(resource.RLIMIT_NPROC) if os.geteuid() else None,
            cores=len(os.sched_getaffinity(0)),
        )


def problems(config: LaunchConfig, plan: LaunchPlan, cwd: Path) -> Iterator[Problem]:
    """What of this machine is too small for the plan."""
    tensor_parallel = engine(config.engine.name).sizes(config.rollout_server).tensor_parallel
    cuda = config.accelerator.kind is schema.AcceleratorKind.cuda
    learning = len(plan.main.devices) if plan.main else 0
    together = max(learning, (tensor_parallel or 1) if plan.services else 1)
    processes = sum(len(spec.devices) + 1 for spec in plan.processes)
    yield from limits(Machine.here(), processes, together if cuda else 1)
    if any(spec.part == LEARNER for spec in plan.processes):
        yield from disk(config, cwd / plan.output_dir, cwd)


def limits(machine: Machine, processes: int, together: int) -> Iterator[Problem]:
    """Warnings of limits.

    Args:
        machine: this one.
        processes: that a run starts.
        together: GPUs that compute together, at most.
    """
    if machine.shm is not None and machine.shm < SHM and together > 1:
        what = f"has {machine.shm >> 20} MiB, which NCCL and vLLM fill with {together} GPUs"
        fix = "start the container with --shm-size=1g or more"
        yield Problem(str(_SHM), what, fix, Severity.WARNING)
    if machine.open_files is not None and machine.open_files < OPEN_FILES:
        what = f"{machine.open_files} open files are few for servers and data loaders"
        yield Problem("ulimit -n", what, f"set it to {OPEN_FILES} or more", Severity.WARNING)
    wanted = processes * (machine.cores + THREADS)
    if machine.processes is not None and machine.processes < wanted:
        what = f"{machine.processes} threads are few for {processes} processes on "
        what += f"{machine.cores} cores"
        yield Problem("ulimit -u", what, f"set it to {wanted} or more", Severity.WARNING)


def disk(config: LaunchConfig, output: Path, cwd: Path) -> Iterator[Problem]:
    """Whether the checkpoints of a full tuning fit; only where the model is a local directory."""
    if arguments.find(config, "tuner_type")[1] != "full":
        return  # an adapter is small
    if arguments.find(config, "save_strategy")[1] == "no":
        return
    model = config.model
    weights = _weights(cwd / model) if isinstance(model, str) and "\0" not in model else 0
    there = next((path for path in (output, *output.parents) if path.is_dir()), None)
    if not weights or there is None:
        return
    only_weights = arguments.is_true(arguments.find(config, "save_only_model")[1])
    kept = arguments.size(arguments.find(config, "save_total_limit")[1]) or 1
    free = shutil.disk_usage(there).free
    yield from room(free, weights, kept, str(output), only_weights=only_weights)


def room(
    free: int, weights: int, kept: int, where: str, *, only_weights: bool
) -> Iterator[Problem]:
    """An error where not even the weights fit, a warning where the checkpoints do not.

    Args:
        free: bytes.
        weights: bytes of one copy of the weights.
        kept: checkpoints that stay, ``save_total_limit``.
        where: they are written.
        only_weights: whether a checkpoint holds no state of the optimizer.
    """
    each = weights if only_weights else weights * (1 + _OPTIMIZER)
    if free < weights:
        what = f"{_size(free)} are free, the weights of one checkpoint take {_size(weights)}"
        yield Problem(where, what, "make room, or set output_dir", rule=DISK.name)
    elif free < each * kept:
        count = "one checkpoint takes" if kept == 1 else f"{kept} checkpoints take"
        what = f"{_size(free)} are free, {count} at least {_size(each * kept)}"
        fix = "make room, or lower save_total_limit"
        fix += "" if only_weights else " or set save_only_model"
        yield Problem(where, what, fix, Severity.WARNING)


def _limit(kind: int) -> int | None:
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft


def _weights(model: Path) -> int:
    return sum(path.stat().st_size for path in model.glob("*.safetensors") if path.is_file())


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
