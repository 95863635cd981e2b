"""What the rules of batch sizes say about numbers: the nearest ones that fit, and products."""

from __future__ import annotations

import math

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.learners.batches import Sizes
from grpo_launch.learners.swift.batches import UNIFIED


def larger_generation(config: LaunchConfig, sizes: Sizes) -> str:
    """The key that decides the generation, and its next value that holds whole groups."""
    group = max(sizes.group, 2)
    whole = group // math.gcd(sizes.batch, group)
    steps = (sizes.generation // sizes.batch // whole + 1) * whole

    def of(name: str) -> str:
        return spelled(config, find(config, name)[0])

    generation = f"{of('generation_batch_size')} to {steps * sizes.batch}"
    if sizes.planned:
        return f"{'.'.join(UNIFIED)} to {steps * sizes.batch}"
    if sizes.steps is not None:
        key = f"{of('steps_per_generation')} to {steps}"
        return f"{key} and {generation}" if sizes.generation_said else key
    if sizes.generation_said:
        return generation
    accumulation = f"{of('gradient_accumulation_steps')} to {steps}"
    if sizes.effective is None:
        return accumulation
    effective = f"{of('effective_batch_size')} to {steps * sizes.batch}"
    given = find(config, "gradient_accumulation_steps")[1]
    return effective if given is None else f"{effective} and {accumulation}"


def multiples_near(value: int, step: int) -> str:
    """The multiples of ``step`` next to ``value``."""
    below = value // step * step
    return f"{below} or {below + step}" if below else str(step)


def divisors_near(whole: int, value: int, least: int = 1) -> str:
    """The divisors of ``whole`` next to ``value``; of a huge ``whole`` some are not looked for."""
    small = [n for n in range(1, min(math.isqrt(whole), 50_000) + 1) if whole % n == 0]
    divisors = sorted(
        {n for low in small for n in (low, whole // low) if n >= least and n != value}
    )
    below, above = [n for n in divisors if n < value], [n for n in divisors if n > value]
    return " or ".join(map(str, below[-1:] + above[:1]))


def product(sizes: Sizes) -> str:
    """The global batch in words."""
    return f"per_device_train_batch_size {sizes.per_device} x {devices(sizes.world_size)}"


def devices(world_size: int) -> str:
    """The devices of the learner in words."""
    return kinds.counted(world_size, "learner device")


def spelled(config: LaunchConfig, key: str) -> str:
    """A key of a section, as the place that sets it spells it."""
    return config.spelled(f"train.{key}")
