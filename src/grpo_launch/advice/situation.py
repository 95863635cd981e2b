"""What a run computes on, and in which batches: read from its own directory.

``config.yaml`` says the rollout server's side, ``learner_arguments.yaml`` the learner's,
``plan.json`` who got which devices. Whatever cannot be read is unknown, not assumed; so is what
only the run's engine or learner knows, where it is not installed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from grpo_launch.config.arguments import listed, size
from grpo_launch.config.formats import document
from grpo_launch.config.schema import ENGINE, LEARNER
from grpo_launch.engines.base import Engine, SizeKeys
from grpo_launch.errors import ConfigError
from grpo_launch.learners.base import Learner
from grpo_launch.learners.batches import Sizes
from grpo_launch.plan import SERVER
from grpo_launch.plugins import ENGINES, LEARNERS, Registry
from grpo_launch.runs import plans

Plugin = TypeVar("Plugin")


@dataclass(frozen=True)
class Situation:
    """One run.

    Attributes:
        learns: whether it has a learner.
        is_timed: whether its learner was told to write ``timing.jsonl``.
        cuda: whether its devices are GPUs; on a CPU they only count processes.
        server: ids of the rollout servers' devices; none of a server of another launcher.
        server_count: how many devices serve, TP x DP of all servers.
        learner: ids of the learner's devices.
        servers: how many rollout servers.
        tensor_parallel: devices of one replica of the model.
        max_num_seqs: sequences that one replica decodes at a time; None where nobody knows.
        max_num_seqs_said: whether the experiment says so, or the engine's default holds.
        keys: of the engine's settings that say its size.
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
    max_num_seqs: int | None
    max_num_seqs_said: bool
    keys: SizeKeys
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
    try:
        plan, _ = plans.read(directory)
    except (OSError, ValueError):
        return None
    if not (config := _yaml(directory / "config.yaml")):
        return None
    arguments = _yaml(directory / "learner_arguments.yaml")
    flags = _mapping(config.get("rollout_server"))
    training = _mapping(_mapping(config.get("train")).get("training"))
    engine: Engine | None = _plugin(ENGINES, config.get("engine"), ENGINE)
    keys = engine.size_keys if engine else SizeKeys()
    tp = _setting(flags, keys.tensor_parallel) or 1
    dp = _setting(flags, keys.data_parallel) or 1
    servers = max(1, len(listed(arguments.get("vllm_server_port"))))
    serving = [spec for spec in plan.services if spec.part == SERVER]
    server = tuple(device for spec in serving for device in spec.devices)
    limit = _setting(flags, keys.max_num_seqs)
    learner = plan.main.devices if plan.main else ()
    world_size = len(learner) * (size(plan.main.env.get("NNODES")) or 1) if plan.main else 0
    return Situation(
        learns=plan.main is not None,
        is_timed=_mapping(config.get("learner")).get("timing", True) is not False,
        cuda=_mapping(config.get("accelerator")).get("kind") == "cuda",
        server=server,
        server_count=len(server) + tp * dp * max(0, servers - len(serving)),
        learner=learner,
        servers=servers,
        tensor_parallel=tp,
        max_num_seqs=limit or (engine.max_num_seqs if engine else None),
        max_num_seqs_said=limit is not None,
        keys=keys,
        sizes=_sizes(_plugin(LEARNERS, config.get("learner"), LEARNER), arguments, world_size),
        steps_said=arguments.get("steps_per_generation") is not None,
        accumulation_follows=training.get("effective_batch_size") is not None
        and training.get("gradient_accumulation_steps") is None,
        is_async=arguments.get("async_generate") is True,
        is_multi_turn=flags.get("multi_turn_scheduler") is not None
        or arguments.get("multi_turn_scheduler") is not None,
    )


def _setting(flags: Mapping[str, Any], key: str | None) -> int | None:
    return size(flags.get(key)) if key else None


def _plugin(registry: Registry[Plugin], node: Any, usual: str) -> Plugin | None:
    """The plug-in that a node of the configuration names; None where it cannot be loaded."""
    try:
        return registry.get(str(_mapping(node).get("name", usual)))
    except ConfigError:
        return None


def _sizes(learner: Learner | None, arguments: Mapping[str, Any], world_size: int) -> Sizes | None:
    """The learner's batches, of the arguments that it was given."""
    if learner is None or not arguments or not world_size:
        return None
    sizes = learner.batches(arguments, world_size)
    return sizes if sizes is not None and sizes.is_whole else None


def _yaml(path: Path) -> dict[str, Any]:
    try:
        return _mapping(document.parse(path, document.read_bytes(path)))
    except ConfigError:
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
