"""What an engine is: a program that serves rollouts, and what is known of it.

An engine gets a :class:`ServeRequest`, not the configuration, and gives back data: a command
line, the questions that tell whether it is ready, the signs of its health. All of it goes into
the plan, so that whatever executes a plan imports no engine. Only its rules and its part of the
summary of ``role=check`` see the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from grpo_launch.plan import HttpCheck, Reload, Signs
from grpo_launch.plugins import ENGINES

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context, Rule
    from grpo_launch.engines.snapshot import FlagQuestion

GROUP = "group"
"""Weight transfer: the learner joins a group of processes with the engine's, and broadcasts."""

RELOAD = "reload"
"""Weight transfer: the engine reads new weights from a directory while it runs."""

RESTART = "restart"
"""Weight transfer: the engine is started again with the new weights."""


@dataclass(frozen=True)
class Sizes:
    """The size that an engine's settings give it, its own defaults included; None: not known.

    Attributes:
        tensor_parallel: devices that one replica of the model is split over.
        data_parallel: replicas of the model.
        max_model_len: tokens of prompt and completion together, at most.
    """

    tensor_parallel: int | None
    data_parallel: int | None
    max_model_len: int | None

    @property
    def devices(self) -> int | None:
        """TP x DP, or None where one of them is not known or not positive."""
        tp, dp = self.tensor_parallel, self.data_parallel
        return None if tp is None or dp is None or tp < 1 or dp < 1 else tp * dp


@dataclass(frozen=True)
class SizeKeys:
    """What the settings of an engine's size are called; None where there is no such setting.

    Attributes:
        tensor_parallel, data_parallel: see :class:`Sizes`.
        max_num_seqs: takes the sequences that one replica decodes at a time.
    """

    tensor_parallel: str | None = None
    data_parallel: str | None = None
    max_num_seqs: str | None = None


@dataclass(frozen=True)
class OwnPorts:
    """Ports that an engine gives to itself, besides those that it is told.

    Attributes:
        variable: takes the first of them; the engine counts on from it.
        count: how many it may take.
    """

    variable: str
    count: int


@dataclass(frozen=True)
class ServeRequest:
    """One server to start, or to ask.

    Attributes:
        entry: the words before the engine's own arguments.
        model: name or directory of the model.
        host, port: where it listens.
        group_port: the port of its weight-sync channel; None where it has none.
        settings: the engine's own settings that are set, by key.
        encoding: what decides how a prompt is encoded, by the experiment's names
            (``model_type``, ``template``, ...): server and learner must agree on it.
        cwd: the working directory.
        url: the base URL, where the experiment says one.
        run_dir: the run directory, absolute or relative to ``cwd``; empty: there is none.
        devices: ids of the devices that it gets, where they are known.
    """

    entry: tuple[str, ...]
    model: str
    host: str
    port: int
    group_port: int | None
    settings: Mapping[str, Any]
    encoding: Mapping[str, Any]
    cwd: Path
    url: str = ""
    run_dir: str = ""
    devices: tuple[str, ...] = ()


class Engine(Protocol):
    """An engine.

    Attributes:
        product: what people call it.
        entry: the default of ``engine.entry``, the words before its arguments.
        cpu_entry: the same on a machine without a GPU.
        environment: the virtual environment that ``scripts/setup_engine.sh`` makes for it, entered
            where ``runtime=venv`` names none; empty: it makes none.
        cpu_overlay: what ``accelerator=cpu`` replaces in an experiment because of it: a tree of the
            configuration (``base.shipped_files.overlay`` reads one).
        managed: whether it can be started; False: it is a server that somebody else runs.
        settings: the structured config of the node ``rollout_server``. Fields ``host`` and ``port``
            (and ``url``) say where the servers are; without them the learner's arguments do. A
            field ``model`` says what they serve, where that is not what the learner trains.
        size_keys: those of the settings that say its size.
        max_num_seqs: sequences that one replica decodes at a time where its settings do not say
            it; None: nobody knows.
        signs: what its log and its processes tell.
        transfers: how it can take new weights, of :data:`GROUP`, :data:`RELOAD`, :data:`RESTART`.
        health_path: the default of ``health.path``.
        packages: distributions whose versions the record of a run names.
        rules: what it demands of a configuration.
        flags: how its flags are known; None: nobody checks them.
    """

    @property
    def product(self) -> str: ...  # noqa: D102
    @property
    def entry(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def cpu_entry(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def environment(self) -> str: ...  # noqa: D102
    @property
    def cpu_overlay(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def managed(self) -> bool: ...  # noqa: D102
    @property
    def settings(self) -> type: ...  # noqa: D102
    @property
    def size_keys(self) -> SizeKeys: ...  # noqa: D102
    @property
    def max_num_seqs(self) -> int | None: ...  # noqa: D102
    @property
    def signs(self) -> Signs: ...  # noqa: D102
    @property
    def transfers(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def health_path(self) -> str: ...  # noqa: D102
    @property
    def packages(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def rules(self) -> Sequence[Rule]: ...  # noqa: D102
    @property
    def flags(self) -> FlagQuestion | None: ...  # noqa: D102

    def sizes(self, settings: Mapping[str, Any]) -> Sizes:
        """Its size with ``settings``; what they leave open is what the engine then takes."""
        ...

    def own_ports(self, settings: Mapping[str, Any]) -> OwnPorts | None:
        """The ports that one server gives to itself; None: the kernel chooses them."""
        ...

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """What ``role=check`` tells of a valid configuration: values by name, by title.

        ``defaults`` has what the engine takes though nobody said it, and who says it then.
        """
        ...

    def argv(self, request: ServeRequest) -> list[str]:
        """The whole command line of one server."""
        ...

    def env(self, request: ServeRequest) -> Mapping[str, str]:
        """Variables that one server needs, whatever the caller's environment says."""
        ...

    def checks(self, request: ServeRequest, health_path: str) -> tuple[HttpCheck, ...]:
        """The questions whose answers make a server ready, in their order; health is the first."""
        ...

    def generation(self, request: ServeRequest) -> HttpCheck | None:
        """The question that makes the engine generate one token; None: it has none."""
        ...

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """The keys of a configuration that :meth:`argv` turns into ``argv`` again.

        Raises:
            ValueError: it is no command line of this engine; names the word that is wrong.
        """
        ...


@runtime_checkable
class Reloading(Protocol):
    """What an engine has as well where its servers take new weights from a directory."""

    def reload(self, request: ServeRequest) -> Reload | None:
        """How a server takes new weights while it runs; None: it does not."""
        ...


@runtime_checkable
class Own(Protocol):
    """What an engine may say besides, whose signs are in its settings."""

    def signs_of(self, settings: Mapping[str, Any]) -> Signs:
        """What its log and its processes tell with ``settings``."""
        ...


def engine(name: str) -> Engine:
    """The engine called ``name``.

    Raises:
        ConfigError: there is none of that name; composing has refused it already.
    """
    return ENGINES.get(name)
