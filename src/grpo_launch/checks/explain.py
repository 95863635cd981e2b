"""Where a value comes from: every place that says it, the weakest first."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpo_launch.checks import origins
from grpo_launch.checks.keys import every, nodes
from grpo_launch.checks.keys import value as final
from grpo_launch.config import endpoint, rollout, schema, topology
from grpo_launch.config.facts import Facts, WorldSize
from grpo_launch.config.formats import accelerated, document, extends
from grpo_launch.config.hydra import hints
from grpo_launch.config.launch_config import LaunchConfig, legacy_keys
from grpo_launch.config.rule import Context
from grpo_launch.engines.base import engine
from grpo_launch.engines.flag_facts import LearnerFlags, ServerFlags
from grpo_launch.errors import ConfigError
from grpo_launch.learners.base import TrainRequest, learner
from grpo_launch.learners.batches import BatchArithmetic, given
from grpo_launch.planning.devices import Devices

_DERIVED = {
    "gradient_accumulation_steps": "max(1, ceil(effective_batch_size / "
    "(per_device_train_batch_size x learner devices)))",
    "max_length": "global_max_length",
    "deepspeed": "deepspeed.config where deepspeed.enabled",
    "rlhf_type": "grpo, unless the experiment says otherwise",
    "output_dir": "output/ of the run directory",
    "report_to": "what tracking chooses",
    "run_name": "tracking.wandb.name, or the experiment's name",
}
"""What the launcher makes of an experiment, by argument of the learner."""

_SERVER_MODE = ("use_vllm", "vllm_mode", "vllm_server_host")
"""What a learner of server mode must be told, and the launcher says where nobody does."""

_DEFAULT = "default of {product}"

_RECKONED = {
    "gradient_accumulation_steps": _DEFAULT,
    "per_device_train_batch_size": _DEFAULT,
    "num_generations": _DEFAULT,
    "num_iterations": _DEFAULT,
    "steps_per_generation": "generation_batch_size / (per_device_train_batch_size x learner "
    "devices), or gradient_accumulation_steps where that is not set",
    "generation_batch_size": "per_device_train_batch_size x learner devices x steps_per_generation",
}
"""What the learner makes of the batch sizes, by argument."""

_SPLIT = {
    "gpus.server": "the first TP x DP devices that are visible",
    "gpus.learner": "the visible devices that do not serve",
}
"""How the devices are split where nobody says it (``devices.py``)."""


@dataclass(frozen=True)
class Saying:
    """One place that says a value.

    Attributes:
        place: ``FILE:LINE``, ``default``, ``batch plan``, ``group ...``,
            ``accelerator=...``, ``environment: VARIABLE``, ``command line``, ``derived`` or
            ``not set``.
        value: what it says there; for ``derived`` the rule and its result.
    """

    place: str
    value: Any


@dataclass(frozen=True)
class Explanation:
    """Where a value comes from.

    Attributes:
        key: as it was asked for.
        chain: what says it, the weakest first.
            value: what it is in the end.
        node: the dotted key of the configuration that it names.
    """

    key: str
    chain: tuple[Saying, ...]
    value: Any
    node: str


def explain(config: LaunchConfig, key: str, facts: Facts) -> tuple[Explanation, ...]:
    """The chains of places that set what ``key`` names, one for each node that it may mean.

    Args:
        config: a composed configuration.
        key: dotted; a key of the experiment with or without ``train.``, of
            ``rollout_server``, or of another typed node; or the end of one: ``max_turns``.
        facts: for derived values, and the defaults of the engine and the learner.

    Raises:
        ConfigError: nothing sets or derives the key; names near ones.
    """
    key = rollout.own_key(key, config.engine.name)
    paths = nodes(config, key, _flags(facts))
    found = [_explanation(config, key, path, facts) for path in paths]
    if not any(explanation.chain for explanation in found):
        raise _unknown(config, key, paths[0], facts)
    return tuple(explanation for explanation in found if explanation.chain)


def _explanation(config: LaunchConfig, key: str, path: str, facts: Facts) -> Explanation:
    """The chain of one node; empty where there is no such key."""
    chain = [*_defaults(path, config.engine.name), *_files(config, path), *_block(config, path)]
    value = final(config, path)
    said = origins.overrides_of(config, path)
    by_topology = topology.value(config.overrides, path)
    written = origins.of_files(config, path)
    if not origins.is_said_later(config, path) and not origins.is_same(written, value):
        chain.append(Saying(_bringer(config, path), value))
    chain += [Saying(*said) for said in origins.variables_of(config, path)]
    if by_topology is not None:
        chain.append(Saying(topology.place(config.overrides, path), by_topology))
    chain += [Saying("command line", text) for text in said]
    derived = _derived(config, path, value, facts)
    if derived is not None:
        chain.append(derived)
        value = derived.value
    if value is None and (default := _of_program(path, facts)) is not None:
        chain.append(default)
        value = default.value
    if not chain and _is_known(path, facts):
        chain.append(Saying("not set", _left_open(config, path, facts)))
    return Explanation(key, tuple(chain), value, path)


def _defaults(path: str, engine: str) -> Iterator[Saying]:
    """The schema's default of a typed key that is no node."""
    default = origins.default_of(path, engine)
    if default is not None and not isinstance(default, dict):
        yield Saying("default", default)


def _files(config: LaunchConfig, path: str) -> Iterator[Saying]:
    said = config.legacy
    keys = tuple(path.split(".")) if said is None else legacy_keys(path)
    tree = extends.load(config.path) if said is None else said.tree
    first = path.partition(".")[0]
    if said is not None and first in schema.GROUPS and first != path:
        for origin, option in tree.sayings(*legacy_keys(first)):
            if isinstance(option, list):
                option = f"[{', '.join(map(str, cast('list[Any]', option)))}]"
            if isinstance(option, str):
                yield Saying(_place(origin), f"{first}: {option}")
    for origin, value in tree.sayings(*keys):
        yield Saying(_place(origin), value)
    if said is not None and keys in said.expanded:
        source = said.expanded[keys]  # a size for evaluation may be the one for training
        above = (source[:depth] for depth in range(len(source), 0, -1))
        origin = next((found for part in above if (found := said.tree.origin(*part))), None)
        where = f"batch plan, {_place(origin)}" if origin else "batch plan"
        value = functools.reduce(origins.step, keys, cast("Any", said.train))
        yield Saying(f"{where} {source[-1]}", value)


def _block(config: LaunchConfig, path: str) -> Iterator[Saying]:
    """What the experiment says for the chosen accelerator."""
    if config.block is None:
        return
    keys = accelerated.keys_of(config.block.said, path, native=config.legacy is None)
    tree = config.legacy.tree if config.legacy else extends.load(config.path)
    for origin, value in tree.sayings(*keys):
        yield Saying(_place(origin), value)


def _place(origin: document.Origin) -> str:
    return f"{document.shown(origin.file)}:{origin.line}"


def _bringer(config: LaunchConfig, path: str) -> str:
    """Who else than the files brought a value."""
    if path.startswith("train."):
        return f"accelerator={config.accelerator.kind.value}" if config.legacy else "composed"
    first = path.partition(".")[0]
    brought = f"groups, accelerator={config.accelerator.kind.value}"
    return f"group {first}" if first in schema.GROUPS else brought


def _derived(config: LaunchConfig, path: str, value: Any, facts: Facts) -> Saying | None:
    """What the launcher or the learner makes of other values, where that differs from ``value``."""
    devices, world_size = facts.get(Devices), facts.get(WorldSize)
    trains = learner(config.learner.name)
    if path in _SPLIT and value is None and devices is not None:
        ids = devices.server if path == "gpus.server" else devices.learner
        return Saying(f"derived: {_SPLIT[path]}", list(ids))
    if path == endpoint.keys(config).group_port and value is None:
        return Saying(_DEFAULT.format(product=trains.product), endpoint.group_ports(config))
    name = path.rpartition(".")[2]
    if not path.startswith("train."):
        return None
    if name in _SERVER_MODE and value is None:
        told = _flat(config, 1).get(name)
        return None if told is None else Saying("by the launcher: server mode", told)
    if world_size is None:
        return None
    if name in _DERIVED and (flat := _flat(config, world_size.processes)).get(name, value) != value:
        return Saying(f"derived: {_DERIVED[name]}", flat[name])
    batch = BatchArithmetic.of(trains.batches(given(config), world_size.processes))
    if name in _RECKONED and value is None and batch is not None:
        reckoned = vars(batch) | {"per_device_train_batch_size": batch.per_device}
        rule = _RECKONED[name].format(product=trains.product)
        return Saying(f"derived: {rule}", reckoned[name])
    return None


def _flat(config: LaunchConfig, world_size: int) -> dict[str, Any]:
    run = config.run.dir or f"runs/{config.experiment}/<id>"
    request = TrainRequest(
        config=config,
        devices=tuple(map(str, range(world_size))),
        cuda=False,
        run_dir=run,
        output_dir=f"{run}/output",
        cwd=Path(),
    )
    try:
        return learner(config.learner.name).arguments(request)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return {}  # of what is no number nothing is derived; role=check says so


def _of_program(path: str, facts: Facts) -> Saying | None:
    """The default that the engine's or the learner's own program has."""
    table = _table(path, facts)
    default = table.defaults.get(path.rpartition(".")[2]) if table else None
    if table is None or default is None:
        return None
    return Saying(f"default of {table.product} ({table.program})", default)


def _table(path: str, facts: Facts) -> ServerFlags | LearnerFlags | None:
    """The flags of the program that gets the value at ``path``; None where none does."""
    first, *rest = path.split(".")
    if first == "rollout_server":
        return facts.get(ServerFlags)
    is_argument = first == "train" and (len(rest) == 1 or rest[0] in schema.SECTIONS)
    return facts.get(LearnerFlags) if is_argument else None


def _is_known(path: str, facts: Facts) -> bool:
    """Whether a key that nothing sets could be set."""
    if not path.startswith("train."):
        return hints.type_of(path) is not None
    *section, name = path.split(".")[1:]
    return name in _flags(facts) and (not section or section[0] in schema.SECTIONS)


def _flags(facts: Facts) -> Collection[str]:
    flags = facts.get(LearnerFlags)
    return flags.flags if flags else ()


def _left_open(config: LaunchConfig, path: str, facts: Facts) -> str:
    if path.startswith("rollout_server."):
        taken = engine(config.engine.name).summary(Context(config, facts)).get("defaults", {})
        if (default := taken.get(path.rpartition(".")[2])) is not None:
            return str(default)
    if (table := _table(path, facts)) is not None:
        return f"left to {table.product} ({table.program}), which has no default"
    if path.startswith("train."):
        return f"left to {learner(config.learner.name).product}"
    if path.startswith("rollout_server."):
        return f"left to {engine(config.engine.name).product}"
    return "see docs/training/REFERENCE.md"


def _unknown(config: LaunchConfig, key: str, path: str, facts: Facts) -> ConfigError:
    known = {k.removeprefix("train.") for k in every(config)}
    section = path.removeprefix("train.").rpartition(".")[0]
    if section in schema.SECTIONS:
        known |= {f"{section}.{flag}" for flag in _flags(facts)}
    near = difflib.get_close_matches(key.removeprefix("train."), sorted(known), n=3)
    fix = f"did you mean {' or '.join(near)}?" if near else "name a key that is set"
    return ConfigError(f"command line: key={key}", "nothing sets this key", fix)
