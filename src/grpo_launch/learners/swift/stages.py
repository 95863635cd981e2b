"""What ms-swift trains: with ``swift rlhf`` by its ``rlhf_type``, or with ``swift sft`` or ``pt``.

``learner.stage`` says it, or else the experiment's ``rlhf_type``; where neither does it is GRPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grpo_launch.base.shipped_files import overlay
from grpo_launch.config.arguments import find
from grpo_launch.config.choices import AcceleratorKind
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.snapshot import FlagQuestion
from grpo_launch.learners.swift import flags

_CPU_OVERLAY = Path(__file__).with_name("cpu.yaml")

_PROGRAMS = {"sft": flags.SFT, "pt": flags.PT}
GENERATE = ("grpo", "gkd")
"""``rlhf_support_vllm_types`` in ``swift/arguments/rlhf_args.py``; others ask no rollout server."""

_USUAL = "grpo"

NAMES = (*_PROGRAMS, *GENERATE, "dpo", "orpo", "simpo", "kto", "cpo", "rm", "ppo")
"""``swift sft``, ``swift pt``, and the values of ``rlhf_type`` (``RLHFArguments``)."""

_OF_RLHF = "rlhf"
"""The section that only ``swift rlhf`` reads."""


@dataclass(frozen=True)
class Stage:
    """One thing that ms-swift trains.

    Attributes:
        name: one of :data:`NAMES`.
    """

    name: str

    @property
    def needs_servers(self) -> bool:
        """Whether it generates with rollout servers."""
        return self.name in GENERATE

    @property
    def is_rlhf(self) -> bool:
        """Whether it is a type of ``swift rlhf``."""
        return self.name not in _PROGRAMS

    @property
    def program(self) -> str:
        """The word behind ``swift``."""
        return "rlhf" if self.is_rlhf else self.name

    @property
    def flags(self) -> FlagQuestion:
        """The flags of its program."""
        return _PROGRAMS.get(self.name, flags.FLAGS)


def of(config: LaunchConfig) -> Stage:
    """The stage of a configuration; what is none is reported, and taken for the usual one."""
    said = config.learner.stage or find(config, "rlhf_type", "rlhf")[1]
    return Stage(said if said in NAMES else _USUAL)


def is_passed(config: LaunchConfig, key: str) -> bool:
    """Whether a key of a section is passed on.

    What the CPU's overlay says for ``swift rlhf`` alone means nothing to the other programs, also
    where it comes from the record of a run.

    Args:
        config: the configuration.
        key: dotted, ``train.rlhf.num_generations``.
    """
    section, _, name = key.removeprefix("train.").partition(".")
    if of(config).is_rlhf or section != _OF_RLHF:
        return True
    brought = overlay(_CPU_OVERLAY)["train"][_OF_RLHF]
    on_cpu = config.accelerator.kind is AcceleratorKind.cpu
    return not (on_cpu and name in brought and config.get(f"{section}.{name}") == brought[name])
