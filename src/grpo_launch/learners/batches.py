"""The arithmetic of GRPO's batches, whichever learner reads the sizes.

The *global batch* is ``per_device`` x world size: what all devices take at a time. An optimizer
step is ``accumulation`` of them, a generation is ``generation`` completions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grpo_launch.config.arguments import SIZES, find
from grpo_launch.config.launch_config import LaunchConfig


@dataclass(frozen=True)
class Sizes:
    """The sizes, defaults filled in.

    Attributes:
        world_size: learner devices, one process each.
        per_device, per_device_eval: completions that a device takes at a time.
        effective, steps: ``effective_batch_size`` and ``steps_per_generation`` where given.
        accumulation: ``gradient_accumulation_steps``.
        generation: ``generation_batch_size``, given (``generation_said``) or derived.
        group, group_eval: completions of a prompt, in training and in evaluation.
        iterations: times that a generation is learned from.
        planned: whether a batch plan gave ``effective`` and ``generation``.
    """

    world_size: int
    per_device: int
    per_device_eval: int
    effective: int | None
    accumulation: int
    steps: int | None
    generation: int
    generation_said: bool
    group: int
    group_eval: int
    iterations: int
    planned: bool

    @property
    def batch(self) -> int:
        """The global batch."""
        return self.per_device * self.world_size

    @property
    def conflict(self) -> bool:
        """Whether the generation is no whole number of steps, or not the number given."""
        return self.generation != self.batch * (self.steps or self.generation // self.batch)

    @property
    def is_whole(self) -> bool:
        """Whether a generation is whole global batches, and whole groups."""
        return not self.conflict and self.generation % self.group == 0


@dataclass(frozen=True)
class BatchArithmetic:
    """What one optimizer step and one generation hold.

    Attributes:
        world_size: learner devices, one process each.
        per_device: completions that a device takes at a time.
        gradient_accumulation_steps: such batches in one optimizer step.
        steps_per_generation: such batches in one generation.
        generation_batch_size: completions that are asked of the rollout server at a time.
        num_generations: completions of one prompt.
        num_iterations: times that a generation is learned from.
        completions_per_step: completions in one optimizer step, over all devices.
        prompts_per_step: the same in prompts; a step may end within a group.
    """

    world_size: int
    per_device: int
    gradient_accumulation_steps: int
    steps_per_generation: int
    generation_batch_size: int
    num_generations: int
    num_iterations: int
    completions_per_step: int
    prompts_per_step: float

    @staticmethod
    def of(sizes: Sizes | None) -> BatchArithmetic | None:
        """The arithmetic of ``sizes``; None where they are not known or do not divide."""
        if sizes is None or not sizes.is_whole:
            return None
        step = sizes.batch * sizes.accumulation
        return BatchArithmetic(
            world_size=sizes.world_size,
            per_device=sizes.per_device,
            gradient_accumulation_steps=sizes.accumulation,
            steps_per_generation=sizes.generation // sizes.batch,
            generation_batch_size=sizes.generation,
            num_generations=sizes.group,
            num_iterations=sizes.iterations,
            completions_per_step=step,
            prompts_per_step=step / sizes.group,
        )


def given(config: LaunchConfig) -> dict[str, Any]:
    """The sizes that ``config`` gives, by argument, and the algorithm; None where it does not."""
    said = {name: find(config, name)[1] for name in (*SIZES, "rlhf_type")}
    return {**said, "stage": config.learner.stage}
