"""Any command as a learner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grpo_launch.base.host import Host
from grpo_launch.config import placeholders
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.base import GROUP, RELOAD, RESTART
from grpo_launch.learners.base import Member, Resume, TrainRequest
from grpo_launch.learners.batches import Sizes
from grpo_launch.learners.command import declared, process
from grpo_launch.plan import CheckpointLayout, Metrics, PlannedFile, Resuming, Signs
from grpo_launch.signs import DIRECTORY, NONE

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context, Rule


class CommandLearner:
    """What an experiment says trains; see ``learners/base.py`` for what each name means."""

    product = "the command"
    environment = ""
    cpu_overlay: Mapping[str, Any] = {}
    entry: tuple[str, ...] = ()
    cpu_entry: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    own_keys = declared.KEYS
    model_key = "model"
    output_key = "output_dir"
    stages: tuple[str, ...] = ()
    transfers = frozenset({GROUP, RELOAD, RESTART})
    packages: tuple[str, ...] = ()
    flags = None

    @property
    def rules(self) -> Sequence[Rule]:
        """What it demands of a configuration."""
        from grpo_launch.learners.command.rules import RULES

        return RULES

    def flags_of(self, config: LaunchConfig) -> None:
        """Nobody knows the flags of any command."""
        del config

    def needs_servers(self, config: LaunchConfig) -> bool:
        """See ``process.needs_server``."""
        return process.needs_server(config)

    def demands(self, config: LaunchConfig) -> Mapping[str, Any]:
        """``demands`` of the experiment."""
        return declared.read(config.train).demands or {}

    def metrics(self, config: LaunchConfig) -> Metrics | None:
        """``progress`` of the experiment."""
        return declared.read(config.train).metrics

    def checkpoints(self, config: LaunchConfig) -> CheckpointLayout | None:
        """``checkpoints`` of the experiment."""
        return declared.read(config.train).checkpoints

    def signs(self, config: LaunchConfig) -> Signs:
        """Nothing is known of its log but its progress."""
        del config
        return Signs()

    def resume(self, config: LaunchConfig) -> Resume | None:
        """Its own keys; one that finds its checkpoints itself is told the directory alone."""
        by = declared.read(config.train).resume_by
        if by == NONE:
            return None
        return Resume("" if by == DIRECTORY else "checkpoint", self.output_key)

    def resuming(self, request: TrainRequest) -> Resuming:
        """``resume_by`` of the experiment."""
        return process.resuming(request)

    def silence_s(self, config: LaunchConfig) -> float:
        """``silence_s`` of the experiment."""
        return declared.read(config.train).silence_s

    def facts(self, config: LaunchConfig, host: Host) -> Iterable[object]:
        """None: its files are its own."""
        del config, host
        return ()

    def batches(self, arguments: Mapping[str, Any], world_size: int) -> Sizes | None:
        """Nobody knows them."""
        del arguments, world_size
        return None

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """What is known of it: its steps, its checkpoints, and how it goes on."""
        said = declared.read(context.config.train)
        steps = (said.metrics.steps or None) if said.metrics else None
        layout = said.checkpoints
        training = {
            "steps": steps,
            "progress": _progress(said.metrics),
            "checkpoints": layout.directories[0] if layout else None,
            "resume": said.resume_by,
            "processes": len(said.members),
        }
        model = context.config.get("model")
        shown = {name: value for name, value in training.items() if value is not None}
        return {**({"model": {"model": str(model)}} if model else {}), "training": shown}

    def output_dir(self, config: LaunchConfig, default: str) -> str:
        """``output_dir``."""
        return str(config.get("output_dir", default))

    def is_versioned(self, config: LaunchConfig) -> bool:
        """Each start writes where it is told."""
        del config
        return False

    def arguments(self, request: TrainRequest) -> dict[str, Any]:
        """Its words: nobody knows which of them are arguments."""
        return {"argv": [*self.argv(request)[len(request.config.learner.entry) :]]}

    def files(self, request: TrainRequest) -> tuple[PlannedFile, ...]:
        """The file with ``config``."""
        return process.files(request)

    def members(self, request: TrainRequest) -> tuple[Member, ...]:
        """See ``process.members``."""
        return process.members(request)

    def argv(self, request: TrainRequest) -> list[str]:
        """The words of the first member."""
        return [*process.members(request)[0].argv]

    def env(self, request: TrainRequest) -> Mapping[str, str]:
        """The variables of the first member."""
        return process.members(request)[0].env

    def rehearsal(self, request: TrainRequest, max_model_len: int | None) -> list[str]:
        """Nobody knows how."""
        del request, max_model_len
        return []

    def section(self, argument: str) -> str:
        """It has none."""
        del argument
        return ""

    def command(self, entry: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
        """The words."""
        return [*entry, *arguments["argv"]]

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """Any command, its words as they are.

        Raises:
            ValueError: there is no word at all.
        """
        if not argv:
            raise ValueError("the command line is empty")
        return {"train.argv": [placeholders.literal(word) for word in argv]}


def _progress(metrics: Metrics | None) -> str:
    if metrics is None:
        return "its log grows"
    return ", ".join(metrics.files) if metrics.files else f"its log, {metrics.form}"


LEARNER = CommandLearner()
