"""The composed configuration as plain Python: what validation and planning read."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from grpo_launch.config import rollout, schema, services, topology
from grpo_launch.config.compat.environment import NOTHING, FromEnvironment
from grpo_launch.config.compat.reading import without_choice
from grpo_launch.config.formats import accelerated, document, experiment, lift, naming
from grpo_launch.config.mistake import Mistake
from grpo_launch.config.schema_services import Service
from grpo_launch.plugins import ENGINES, LEARNERS

if TYPE_CHECKING:
    from grpo_launch.config.formats import jobs

TYPED = (
    *("gpus", "health", "shutdown", "restart", "watchdog", "run", "console", "checks", "sweep"),
    *schema.OF_LOOP,
)
"""Nodes that are no groups and become the dataclasses of the schema."""


@dataclass(frozen=True)
class LaunchConfig:
    """One composed and resolved configuration.

    Attributes:
        experiment: the experiment's name.
        path: its file, absolute.
        role: the role's name.
        callback: the dotted name of the function that runs the role.
        rollout_server: the server's flags that are set, by name.
        lora_policy: what is said of LoRA adapters on the server; see :attr:`allows_lora`.
        key, output, part, verbose: what the roles ``explain`` and ``check`` were asked for.
        train: the experiment as plain data, exactly what the legacy rules give
            plus what the accelerator and the command line changed.
        overrides: the command line's overrides, as typed.
        mistakes: what was wrong with the experiment, and with variables of ``compat=env``,
            and has been left out of all this.
        environment: what variables of the caller's environment say, with ``compat=env``.
        loaded: the legacy experiment as it was composed, where that is known.
        accelerated: the accelerator whose block of the experiment was merged; empty: none.
        own_hosts: hosts of the experiment that are this machine, besides the loopback ones.
        services: the side processes, by name.
    """

    experiment: str
    path: Path
    role: str
    callback: str
    engine: schema.Engine
    learner: schema.Learner
    runtime: schema.Runtime
    accelerator: schema.Accelerator
    rollout_server: Mapping[str, Any]
    lora_policy: schema.LoraPolicy | None
    gpus: schema.Gpus
    health: schema.Health
    shutdown: schema.Shutdown
    env: schema.Env
    tracking: schema.Tracking
    run: schema.Run
    console: schema.Console
    checks: schema.Checks
    sweep: schema.Sweep
    launch: schema.LaunchBackend
    restart: schema.Restart
    watchdog: schema.Watchdog
    loop: schema.Loop
    collector: schema.Collector
    update: schema.Update
    publish: schema.Publish
    gpu_wait: schema.GpuWait
    on_failure: schema.FailurePolicy
    resume: str | None
    ports: schema.PortPolicy
    compat: schema.Compat
    rehearse: bool | None
    preflight: bool
    dry_run: Any
    key: str | None
    output: schema.OutputFormat
    part: schema.Part
    verbose: bool
    train: dict[Any, Any]
    overrides: tuple[str, ...]
    mistakes: tuple[Mistake, ...] = ()
    environment: FromEnvironment = NOTHING
    loaded: experiment.Experiment | None = field(default=None, repr=False, compare=False)
    accelerated: str = ""
    own_hosts: frozenset[str] = frozenset()
    services: Mapping[str, Service] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        """The value at a dotted ``key`` of ``train``; ``default`` where there is none or null."""
        node: Any = self.train
        for part in key.split("."):
            if not isinstance(node, dict):
                return default
            node = cast("dict[Any, Any]", node).get(part)
        return default if node is None else node

    def where(self, key: str) -> str:
        """Where ``key`` was said, for messages.

        Args:
            key: dotted; ``train.rlhf.use_vllm``, ``rollout_server.vllm_max_model_len``,
                ``gpus.server``.

        Returns:
            ``command line: KEY``; ``environment: VARIABLE``; ``FILE: KEY`` as the file
            spells it, also for what it says for the chosen accelerator; for a value that
            the accelerator brought ``accelerator=NAME: KEY``, or a topology
            ``rollout_server/topology=NAME: KEY``;
            for one that only a group says, ``KEY``.
        """
        return ": ".join(filter(None, self._place(key)))

    def spelled(self, key: str) -> str:
        """``key`` as the place that says it spells it, to be written there: see :meth:`where`."""
        return self._place(key)[1]

    def _place(self, key: str) -> tuple[str, str]:
        for override in self.overrides:
            name, _, value = override.lstrip("+~").partition("=")
            # An option's name says nothing of the keys below the group.
            says_more = name not in schema.GROUPS or value.lstrip().startswith("{")
            if rollout.own_key(name, self.engine.name) == key or (
                says_more and key.startswith(name + ".")
            ):
                return "command line", key
        if (taken := self.environment.of(key)) is not None:
            return taken.place, taken.variable
        by_topology = topology.value(self.overrides, key)
        if by_topology is not None and not isinstance(by_topology, dict):
            return topology.place(self.overrides, key), key
        said = self.legacy
        keys = naming.said_keys(said.train if said else {}, legacy_keys(key))
        if self.block is not None and self.block.says(key):
            keys = accelerated.keys_of(self.block.said, key, native=said is None)
            return said.place(*keys) if said else (document.shown(self.path), ".".join(keys))
        if said is None:
            return document.shown(self.path), key
        value = functools.reduce(_step, keys, said.train)
        if key.startswith("train.") and value != functools.reduce(_step, keys, self.train):
            return f"accelerator={self.accelerator.kind.value}", key
        if value is None and key.partition(".")[0] in schema.GROUPS:
            return "", key
        return said.place(*keys)

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections of the learner's arguments; empty: they stand in ``train`` itself."""
        return LEARNERS.get(self.learner.name).sections

    @property
    def model(self) -> Any:
        """What the servers serve and the learner trains, as said; None where nothing says it."""
        key = LEARNERS.get(self.learner.name).model_key
        served = self.rollout_server.get("model")
        return self.get(key) if served is None and key else served

    @property
    def starts_servers(self) -> bool:
        """Whether its rollout servers are the launcher's to start, and not somebody else's."""
        return self.engine.managed and ENGINES.get(self.engine.name).managed

    def runtime_of(self, part: str) -> schema.Runtime:
        """The environment of a half.

        Args:
            part: ``server`` or ``learner``; what belongs to neither has that of both.
        """
        half = {"server": self.runtime.server, "learner": self.runtime.learner}.get(part)
        own = {} if half is None else {k: v for k, v in vars(half).items() if v is not None}
        return replace(self.runtime, **own)

    @property
    def trains(self) -> bool:
        """Whether it is about a learner: a server alone needs nothing of what only that reads."""
        return self.role not in ("server", "rollout")

    @property
    def rehearses(self) -> bool:
        """Whether the learner's arguments are to be rehearsed."""
        return self.role in ("both", "learner") if self.rehearse is None else self.rehearse

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data, for the record of a run."""
        plain: dict[str, Any] = {"experiment": self.experiment, "path": str(self.path)}
        for name in ("role", "rollout_server", "rehearse", "preflight", "dry_run", "resume"):
            plain[name] = getattr(self, name)
        plain["train"] = self.train
        plain["lora_policy"] = self.lora_policy and self.lora_policy.value
        for name in ("on_failure", "ports", "compat"):
            plain[name] = getattr(self, name).value
        plain[services.NODE] = {name: asdict(one) for name, one in self.services.items()}
        plain["environment"] = {taken.source: taken.text for taken in self.environment.taken}
        for name in (*schema.GROUPS, *TYPED):
            plain[name] = asdict(getattr(self, name), dict_factory=plain_enums)
        return plain

    @property
    def retyped(self) -> list[str]:
        """The overrides that give this configuration in any environment, for the record."""
        if self.compat is schema.Compat.none:
            return [*self.overrides]
        return [*self.environment.overrides, *without_choice(self.overrides)]

    @functools.cached_property
    def legacy(self) -> experiment.Experiment | None:
        """The experiment's own file and bases, or None for a native Hydra file."""
        from grpo_launch.config.hydra import source

        if self.loaded is not None:
            return self.loaded
        return None if source.is_native(self.path) else experiment.read(self.path)

    @property
    def job(self) -> jobs.Mapped | None:
        """The job that the experiment is, or extends; None for others."""
        return self.legacy.tree.job if self.legacy else None

    @property
    def allows_lora(self) -> bool:
        """Whether the server may serve LoRA adapters; unsaid, one form of its block forbids it."""
        if self.lora_policy is not None:
            return self.lora_policy is schema.LoraPolicy.allow
        return self.legacy is None or not self.legacy.server_below_custom

    @functools.cached_property
    def block(self) -> accelerated.Block | None:
        """What the experiment says for the accelerator, where it says something."""
        if not self.accelerated:
            return None
        if self.legacy is None:
            return accelerated.of_native(self.path, self.accelerated)
        return self.legacy.accelerators.blocks.get(self.accelerated)


def legacy_keys(key: str) -> tuple[str, ...]:
    """The keys of a legacy file that say a dotted key of the configuration."""
    first, *rest = key.split(".")
    if first == "train":
        return tuple(rest)
    block = lift.SERVER_BLOCK[:-1] if first == "rollout_server" else lift.LAUNCH_BLOCK
    return (*block, first, *rest)


def _step(node: Any, key: str) -> Any:
    return cast("dict[Any, Any]", node).get(key) if isinstance(node, dict) else None


def plain_enums(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """A ``dict_factory`` of ``dataclasses.asdict``: an enumeration becomes its value."""
    return {key: value.value if isinstance(value, Enum) else value for key, value in items}
