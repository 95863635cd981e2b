"""LLaMA-Factory as a learner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_launch.base import shipped_files
from grpo_launch.base.host import Host
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.base import RELOAD, RESTART
from grpo_launch.learners.base import Resume, TrainRequest
from grpo_launch.learners.batches import Sizes
from grpo_launch.learners.llamafactory import arguments, datasets, entry, outputs
from grpo_launch.learners.publication import TRANSFORMERS
from grpo_launch.plan import CheckpointLayout, Metrics, PlannedFile, Signs

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context, Rule
    from grpo_launch.engines.snapshot import FlagQuestion


class LlamaFactory:
    """``llamafactory-cli train``; see ``learners/base.py`` for what each name means."""

    product = "LLaMA-Factory"
    entry = cpu_entry = ("llamafactory-cli",)
    environment = ".venv-llamafactory"
    sections = ()
    own_keys = (datasets.DATA,)
    model_key = "model_name_or_path"
    output_key = "output_dir"
    data_key = "dataset"
    stages = arguments.STAGES
    transfers = frozenset({RELOAD, RESTART})
    packages = ("llamafactory", "torch", "transformers", "trl", "peft", "deepspeed", "wandb")
    # The tokenizer of its checkpoints carries the chat template of ``template:``, which ignores
    # ``add_generation_prompt`` and opens the assistant's turn by itself: not to be served.
    publication = TRANSFORMERS

    @property
    def cpu_overlay(self) -> Mapping[str, Any]:
        """What ``accelerator=cpu`` replaces."""
        return shipped_files.overlay(Path(__file__).with_name("cpu.yaml"))

    @property
    def rules(self) -> Sequence[Rule]:
        """What it demands of a configuration."""
        from grpo_launch.learners.llamafactory.rules import RULES

        return RULES

    @property
    def flags(self) -> FlagQuestion:
        """How the keys of a training file are known."""
        from grpo_launch.learners.llamafactory.flags import FLAGS

        return FLAGS

    def flags_of(self, config: LaunchConfig) -> FlagQuestion:
        """The same for all stages."""
        del config
        return self.flags

    def metrics(self, config: LaunchConfig) -> Metrics:
        """``trainer_log.jsonl``."""
        del config
        return outputs.METRICS

    def checkpoints(self, config: LaunchConfig) -> CheckpointLayout:
        """``checkpoint-<step>/``."""
        del config
        return outputs.CHECKPOINTS

    def signs(self, config: LaunchConfig) -> Signs:
        """Those of torch and torchrun."""
        del config
        return outputs.SIGNS

    def resume(self, config: LaunchConfig) -> Resume:
        """By an argument."""
        del config
        return Resume(checkpoint_key="resume_from_checkpoint", output_key="output_dir")

    def needs_servers(self, config: LaunchConfig) -> bool:
        """It trains on files."""
        del config
        return False

    def demands(self, config: LaunchConfig) -> Mapping[str, Any]:
        """Nothing, as it talks to no server."""
        del config
        return {}

    def facts(self, config: LaunchConfig, host: Host) -> Iterable[object]:
        """The model, the data, the output directory and paths."""
        from grpo_launch.learners.llamafactory import gather

        return gather.facts(config, host)

    def batches(self, arguments: Mapping[str, Any], world_size: int) -> Sizes | None:
        """None: no generations."""
        del arguments, world_size

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """See ``summary.of``."""
        from grpo_launch.learners.llamafactory import summary

        return summary.of(context)

    def output_dir(self, config: LaunchConfig, default: str) -> str:
        """``output_dir``."""
        return str(config.get(self.output_key, default))

    def is_versioned(self, config: LaunchConfig) -> bool:
        """It writes into the output directory itself."""
        del config
        return False

    def arguments(self, request: TrainRequest) -> dict[str, Any]:
        """See ``arguments.of``."""
        return arguments.of(request)[0]

    def files(self, request: TrainRequest) -> tuple[PlannedFile, ...]:
        """The training file, and the list of data sets."""
        return entry.files(request)

    def argv(self, request: TrainRequest) -> list[str]:
        """The entry command and the training file."""
        return entry.argv(request)

    def env(self, request: TrainRequest) -> Mapping[str, str]:
        """What its own launcher reads."""
        return entry.env(request)

    def rehearsal(self, request: TrainRequest, max_model_len: int | None) -> list[str]:
        """``rehearse.py``, by the interpreter of the entry."""
        del max_model_len
        return entry.rehearsal(request)

    def described(self, file: str, *, images: bool) -> Mapping[str, str]:
        """See ``datasets.described``."""
        return datasets.described(file, images=images)

    def section(self, argument: str) -> str:
        """None: its arguments have no sections."""
        del argument
        return ""

    def command(self, entry: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
        """``llamafactory-cli train`` with a flag for each argument."""
        from grpo_launch.learners.llamafactory import importing

        return importing.command(entry, arguments)

    def read_file(self, text: str, overrides: Sequence[str]) -> dict[str, Any]:
        """See ``importing.read_file``."""
        from grpo_launch.learners.llamafactory import importing

        return importing.read_file(text, overrides)

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """See ``importing.keys_of``."""
        from grpo_launch.learners.llamafactory import importing

        return importing.keys_of(argv)


LEARNER = LlamaFactory()
