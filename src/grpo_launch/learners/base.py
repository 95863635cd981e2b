"""What a learner is: a program that trains, and what is known of it.

Everything that is needed while a run goes on is data in the plan: how to go on from a
checkpoint, where metrics are and what their fields are called, how a checkpoint is laid out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from grpo_launch.base.host import Host
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.learners.batches import Sizes
from grpo_launch.learners.publication import Publication
from grpo_launch.plan import CheckpointLayout, Metrics, PlannedFile, Resuming, Signs
from grpo_launch.plugins import LEARNERS

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context, Rule
    from grpo_launch.engines.snapshot import FlagQuestion


@dataclass(frozen=True)
class TrainRequest:
    """One training to start.

    Attributes:
        config: a valid configuration.
        devices: ids of the learner's devices on this machine, one process each.
        cuda: whether they are CUDA devices; on a CPU they only count processes.
        run_dir: the run directory, absolute or relative to ``cwd``.
        output_dir: where the learner writes.
        cwd: the working directory.
        nodes: machines that the learner runs on, this one included, with as many devices on each.
    """

    config: LaunchConfig
    devices: tuple[str, ...]
    cuda: bool
    run_dir: str
    output_dir: str
    cwd: Path
    nodes: int = 1

    @property
    def world_size(self) -> int:
        """Processes of the learner on all its nodes."""
        return self.nodes * len(self.devices)

    @property
    def visible(self) -> str:
        """CUDA_VISIBLE_DEVICES of the learner."""
        return ",".join(self.devices) if self.cuda else ""


@dataclass(frozen=True)
class Resume:
    """How a learner is told to go on: keys of its arguments file (YAML, one key a line).

    Attributes:
        checkpoint_key: takes the path of a checkpoint.
        output_key: takes the output directory.
    """

    checkpoint_key: str
    output_key: str


class Learner(Protocol):
    """A learner.

    Attributes:
        product: what people call it.
        entry: the default of ``learner.entry``, the words before its arguments.
        cpu_entry: the same on a machine without a GPU.
        environment, cpu_overlay: as an engine has them (see ``engines/base.py``).
        sections: the mappings of ``train`` that hold its arguments; empty: ``train`` is its own
            mapping, and holds them itself.
        own_keys: what ``train`` may hold besides its flags, where it has no sections.
        model_key: the key below ``train`` with the model that it trains; empty: none.
        output_key: the key below ``train`` with the directory that it writes into; empty: none.
        stages: what ``learner.stage`` may say; empty: it trains one thing.
        transfers: how it can give new weights to an engine (see ``engines/base.py``).
        packages: distributions whose versions the record of a run names.
        rules: what it demands of a configuration.
        flags: how all flags are known that an experiment may say; None: nobody checks them.
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
    def sections(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def own_keys(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def model_key(self) -> str: ...  # noqa: D102
    @property
    def output_key(self) -> str: ...  # noqa: D102
    @property
    def stages(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def transfers(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def packages(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def rules(self) -> Sequence[Rule]: ...  # noqa: D102
    @property
    def flags(self) -> FlagQuestion | None: ...  # noqa: D102

    def needs_servers(self, config: LaunchConfig) -> bool:
        """Whether it trains against rollout servers, as long as it runs."""
        ...

    def demands(self, config: LaunchConfig) -> Mapping[str, Any]:
        """The settings of ``rollout_server``, by key, that its servers must have."""
        ...

    def flags_of(self, config: LaunchConfig) -> FlagQuestion | None:
        """How the flags of what the configuration trains are known; see ``flags``."""
        ...

    def metrics(self, config: LaunchConfig) -> Metrics | None:
        """Where it logs its steps; None: nobody knows."""
        ...

    def checkpoints(self, config: LaunchConfig) -> CheckpointLayout | None:
        """How its checkpoints lie; None: it makes none."""
        ...

    def signs(self, config: LaunchConfig) -> Signs:
        """What its log tells."""
        ...

    def resume(self, config: LaunchConfig) -> Resume | None:
        """How it goes on from a checkpoint; None: it cannot."""
        ...

    def facts(self, config: LaunchConfig, host: Host) -> Iterable[object]:
        """What its rules know of files; at most one fact of a type (see ``config/facts.py``).

        Args:
            config: as composed, it need not be valid.
            host: this machine: the working directory and the environment.
        """
        ...

    def batches(self, arguments: Mapping[str, Any], world_size: int) -> Sizes | None:
        """The sizes of its batches.

        Args:
            arguments: by name, of an experiment or of a run; None is "not given".
            world_size: its processes.

        Returns:
            The sizes; None where one of them is none, or where it has no such batches.
        """
        ...

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """What ``role=check`` tells of a valid configuration: values by name, by title.

        The titles ``model``, ``tuner``, ``data``, ``rewards`` and ``training`` come first;
        ``defaults`` has what is planned though nobody said it, and who says it then.
        """
        ...

    def output_dir(self, config: LaunchConfig, default: str) -> str:
        """Where it writes, as the experiment says; ``default`` where it does not."""
        ...

    def is_versioned(self, config: LaunchConfig) -> bool:
        """Whether each start makes a directory of its own below the output directory."""
        ...

    def arguments(self, request: TrainRequest) -> dict[str, Any]:
        """Its arguments by name, as :meth:`files` writes them."""
        ...

    def files(self, request: TrainRequest) -> tuple[PlannedFile, ...]:
        """What is written before it starts; the first one holds its arguments."""
        ...

    def argv(self, request: TrainRequest) -> list[str]:
        """The whole command line."""
        ...

    def env(self, request: TrainRequest) -> Mapping[str, str]:
        """Variables that it needs, whatever the caller's environment says."""
        ...

    def rehearsal(self, request: TrainRequest, max_model_len: int | None) -> list[str]:
        """What tries its arguments where it will run, see ``runs/rehearsals.py``.

        It needs no device and no server, makes no directory, and has the variables of
        :meth:`env`.

        Args:
            request: the training.
            max_model_len: tokens of prompt and completion together that its servers take;
                None: not known.

        Returns:
            The whole command line; empty: it cannot be rehearsed.
        """
        ...

    def section(self, argument: str) -> str:
        """The section of an experiment that an argument belongs to, where a file has it at the top.

        Empty where it has no sections.

        Args:
            argument: its name; it need not be one that there is.
        """
        ...

    def command(self, entry: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
        """The command line that a person would type to give it these arguments."""
        ...

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """The keys of a configuration whose arguments are those of a :meth:`command`.

        Raises:
            ValueError: it is no command line of this learner; names the word that is wrong.
        """
        ...


@dataclass(frozen=True)
class Member:
    """One of the processes of a learner that is started as several.

    Attributes:
        argv: the whole command line.
        env: its variables, whatever the caller's environment says.
        devices: ids of those of the learner's devices that it gets.
        cwd: its working directory, absolute or relative to the learner's; empty: the same.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    devices: tuple[str, ...]
    cwd: str = ""


@runtime_checkable
class Particular(Protocol):
    """What a learner may say besides, where it is not started and continued as most are."""

    def members(self, request: TrainRequest) -> tuple[Member, ...]:
        """Its processes on this machine; its progress is told by the first."""
        ...

    def resuming(self, request: TrainRequest) -> Resuming:
        """How a restart tells it where to go on."""
        ...

    def silence_s(self, config: LaunchConfig) -> float:
        """Seconds that it may be silent before its first step; 0: no longer than later."""
        ...


@runtime_checkable
class OnTrajectories(Protocol):
    """What a learner says besides that a loop can train on what it has collected.

    Attributes:
        publication: what of its checkpoints servers load.
        data_key: the key below ``train`` with the files that it trains on.
    """

    @property
    def data_key(self) -> str: ...  # noqa: D102
    @property
    def publication(self) -> Publication: ...  # noqa: D102

    def described(self, file: str, *, images: bool) -> Mapping[str, str]:
        """Files that tell it what a file beside them holds, text by name; none: it needs none.

        Args:
            file: its name; a line is ``{"messages": [{"role", "content"}]}``.
            images: whether a line has paths in ``images`` as well.
        """
        ...


@runtime_checkable
class Counting(Protocol):
    """What a learner says besides whose own command does not start a process for each device."""

    def processes(self, environ: Mapping[str, str]) -> int | None:
        """How many its own command starts on one machine; None: nobody knows.

        Args:
            environ: the variables that it gets.
        """
        ...


@runtime_checkable
class TakesData(Protocol):
    """What a learner says besides whose program takes what its file of arguments holds as it is.

    The program of any other learner makes a command line of its file.
    """

    def read_file(self, text: str, overrides: Sequence[str]) -> dict[str, Any]:
        """What its program reads in a file.

        Args:
            text: of the file.
            overrides: ``name=value``, words behind the file.

        Raises:
            ValueError: the program cannot read it; says why.
        """
        ...


def learner(name: str) -> Learner:
    """The learner called ``name``.

    Raises:
        ConfigError: there is none of that name; composing has refused it already.
    """
    return LEARNERS.get(name)
