"""What a run computes on, and in which batches: read from its own directory.

``config.yaml`` says the rollout server's side, ``learner_arguments.yaml`` the learner's,
``plan.json`` who got which devices. Whatever cannot be read is unknown, not assumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from grpo_launch.config.arguments import listed, size
from grpo_launch.learners.swift.batches import Sizes
from grpo_launch.plan import LEARNER

DEFAULT_MAX_NUM_SEQS = 256
"""Where the experiment does not say it (``VllmEngine.__init__``, ms-swift 4.6)."""


@dataclass(frozen=True)
class Situation:
    """One run.

    Attributes:
        learns: whether it has a learner.
        is_timed: whether its learner was told to write ``timing.jsonl``.
        cuda: whether its devices are GPUs; on a CPU they only count processes.
        server: ids of the rollout servers' devices; empty for a server of another launcher.
        server_count: how many they are, TP x DP of all servers.
        learner: ids of the learner's devices.
        servers: how many rollout servers.
        tensor_parallel: devices of one replica of the model.
        max_num_seqs: sequences that one replica decodes at a time.
        max_num_seqs_said: whether the experiment says so, or the engine's default holds.
        sizes: of the learner's batches; None where they cannot be read.
        steps_said: whether ``steps_per_generation`` is set.
        accumulation_follows: whether ``gradient_accumulation_steps`` follows from
            ``effective_batch_size``, on however many devices.
        is_async: whether ``async_generate`` is on.
        is_multi_turn: whether one completion may take several requests to the engine.
    """

    learns: bool
    is_timed: bool
    cuda: bool
    server: tuple[str, ...]
    server_count: int
    learner: tuple[str, ...]
    servers: int
    tensor_parallel: int
    max_num_seqs: int
    max_num_seqs_said: bool
    sizes: Sizes | None
    steps_said: bool
    accumulation_follows: bool
    is_async: bool
    is_multi_turn: bool

    @property
    def replicas(self) -> int:
        """Replicas of the model that generate, over all servers."""
        return max(1, self.server_count // self.tensor_parallel)

    @property
    def devices(self) -> int:
        """All devices of the run."""
        return self.server_count + len(self.learner)


def read(directory: Path) -> Situation | None:
    """The situation of the run in ``directory``; None where its plan or configuration is lost."""
    plan, config = _json(directory / "plan.json"), _yaml(directory / "config.yaml")
    if not plan or not config:
        return None
    devices = _devices(plan)
    arguments = _yaml(directory / "learner_arguments.yaml")
    flags = _mapping(config.get("rollout_server"))
    training = _mapping(_mapping(config.get("train")).get("training"))
    tp = size(flags.get("vllm_tensor_parallel_size")) or 1
    dp = size(flags.get("vllm_data_parallel_size")) or 1
    servers = max(1, len(listed(arguments.get("vllm_server_port"))))
    server = tuple(d for name, ids in devices.items() if name != LEARNER for d in ids)
    said = size(flags.get("vllm_max_num_seqs"))
    learner = devices.get(LEARNER, ())
    return Situation(
        learns=LEARNER in devices,
        is_timed=_mapping(config.get("learner")).get("timing", True) is not False,
        cuda=_mapping(config.get("accelerator")).get("kind") == "cuda",
        server=server,
        server_count=len(server) or tp * dp * servers,
        learner=learner,
        servers=servers,
        tensor_parallel=tp,
        max_num_seqs=said or DEFAULT_MAX_NUM_SEQS,
        max_num_seqs_said=said is not None,
        sizes=_sizes(arguments, len(learner)),
        steps_said=arguments.get("steps_per_generation") is not None,
        accumulation_follows=training.get("effective_batch_size") is not None
        and training.get("gradient_accumulation_steps") is None,
        is_async=arguments.get("async_generate") is True,
        is_multi_turn=flags.get("multi_turn_scheduler") is not None
        or arguments.get("multi_turn_scheduler") is not None,
    )


def _sizes(arguments: Mapping[str, Any], world_size: int) -> Sizes | None:
    """The learner's batches, of the arguments that it was given."""
    if not arguments or not world_size:
        return None
    found = Sizes.of_arguments(arguments, world_size)
    return None if found.conflict or found.generation % found.group else found


def _devices(plan: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for spec in listed(plan.get("processes")):
        name = _mapping(spec).get("name")
        if isinstance(name, str):
            found[name] = tuple(map(str, listed(_mapping(spec).get("devices"))))
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        return _mapping(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        return _mapping(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
