"""ms-swift's GRPO trainer as a learner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_launch.base.host import Host
from grpo_launch.base.shipped_files import overlay
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.schema import SECTIONS
from grpo_launch.engines.base import GROUP
from grpo_launch.learners.base import Resume, TrainRequest
from grpo_launch.learners.batches import Sizes
from grpo_launch.learners.publication import TRANSFORMERS
from grpo_launch.learners.swift import arguments, batches, entry, importing, outputs, stages
from grpo_launch.plan import CheckpointLayout, Metrics, PlannedFile, Signs

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context, Rule
    from grpo_launch.engines.snapshot import FlagQuestion


class SwiftLearner:
    """``swift rlhf`` of ms-swift 4; see ``learners/base.py`` for what each name means."""

    product = "ms-swift"
    entry = ("swift",)
    cpu_entry = ("python", "-m", "grpo_cpu_engine")
    environment = ".venv-engine"
    sections = SECTIONS
    own_keys = ()
    model_key = "model.model"
    output_key = "training.output_dir"
    stages = stages.NAMES
    transfers = frozenset({GROUP})
    packages = ("ms_swift", "torch", "transformers", "trl", "deepspeed", "wandb")
    publication = TRANSFORMERS
    data_key = "data.dataset"

    @property
    def cpu_overlay(self) -> Mapping[str, Any]:
        """A tiny local model, float32, a few steps."""
        return overlay(Path(__file__).with_name("cpu.yaml"))

    @property
    def rules(self) -> Sequence[Rule]:
        """What it demands of a configuration."""
        from grpo_launch.learners.swift.rules import RULES

        return RULES

    @property
    def flags(self) -> FlagQuestion:
        """How the flags of ``swift rlhf`` are known."""
        from grpo_launch.learners.swift.flags import FLAGS

        return FLAGS

    def needs_servers(self, config: LaunchConfig) -> bool:
        """Where it generates: GRPO and GKD."""
        return stages.of(config).needs_servers

    def demands(self, config: LaunchConfig) -> Mapping[str, Any]:
        """Nothing: what both halves must agree on is given to both."""
        del config
        return {}

    def flags_of(self, config: LaunchConfig) -> FlagQuestion:
        """Those of ``swift rlhf``, ``swift sft`` or ``swift pt``."""
        return stages.of(config).flags

    def metrics(self, config: LaunchConfig) -> Metrics:
        """``logging.jsonl``."""
        del config
        return outputs.METRICS

    def checkpoints(self, config: LaunchConfig) -> CheckpointLayout:
        """Those of transformers."""
        del config
        return outputs.CHECKPOINTS

    def signs(self, config: LaunchConfig) -> Signs:
        """Those of torch and torchrun."""
        del config
        return outputs.SIGNS

    def resume(self, config: LaunchConfig) -> Resume:
        """Two keys of its arguments."""
        del config
        return Resume(checkpoint_key="resume_from_checkpoint", output_key="output_dir")

    def facts(self, config: LaunchConfig, host: Host) -> Iterable[object]:
        """The models, the data, the plugins and the JSON that it reads."""
        from grpo_launch.learners.swift import gather, json_texts

        return (json_texts.gather(config, host.cwd), *gather.facts(config, host))

    def batches(self, arguments: Mapping[str, Any], world_size: int) -> Sizes | None:
        """See ``batches.of_arguments``."""
        return batches.of_arguments(arguments, world_size)

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """See ``summary.of``."""
        from grpo_launch.learners.swift import summary

        return summary.of(context)

    def output_dir(self, config: LaunchConfig, default: str) -> str:
        """``training.output_dir``."""
        return str(config.get("training.output_dir", default))

    def is_versioned(self, config: LaunchConfig) -> bool:
        """Whether it makes ``v<N>-<time>/`` (``add_version`` in its ``SftArguments``)."""
        return config.get("training.add_version", True) is not False

    def arguments(self, request: TrainRequest) -> dict[str, Any]:
        """See ``arguments.flatten``."""
        return arguments.flatten(request.config, request.world_size, request.output_dir)

    def files(self, request: TrainRequest) -> tuple[PlannedFile, ...]:
        """The arguments file."""
        return (entry.arguments_file(request, self.arguments(request)),)

    def argv(self, request: TrainRequest) -> list[str]:
        """``scripts/train.sh`` and the entry command."""
        return entry.argv(request)

    def env(self, request: TrainRequest) -> Mapping[str, str]:
        """What ``scripts/train.sh`` reads."""
        return entry.env(request)

    def rehearsal(self, request: TrainRequest, max_model_len: int | None) -> list[str]:
        """``rehearse.py``, by the interpreter of the entry."""
        return entry.rehearsal(request, max_model_len)

    def described(self, file: str, *, images: bool) -> Mapping[str, str]:
        """None: it knows ``messages`` and ``images`` (``dataset/preprocessor/core.py``)."""
        del file, images
        return {}

    def section(self, argument: str) -> str:
        """See ``importing.section``."""
        return importing.section(argument)

    def command(self, entry: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
        """``swift rlhf`` with a flag for each argument."""
        return importing.command(entry, arguments)

    def processes(self, environ: Mapping[str, str]) -> int | None:
        """Those of torchrun, which it starts where ``NPROC_PER_NODE`` is set; else one.

        Source: ``get_torchrun_args`` (``swift/cli/main.py``).
        """
        said = environ.get("NPROC_PER_NODE", "1")
        return int(said) if said.isdecimal() else None

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """See ``importing.keys_of``."""
        return importing.keys_of(argv)


LEARNER = SwiftLearner()
