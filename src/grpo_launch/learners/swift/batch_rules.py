"""The rules of GRPO's batch sizes, as the learner enforces them in server mode.

Source: ms-swift 4.6.0. Its ``GRPOConfig.__post_init__`` (``swift/rlhf_trainers/arguments.py``)
leaves out the one of trl 0.29.1 and calls ``_init_generation_batch_params``
(``swift/rlhf_trainers/args_mixin.py``) in its place. Other than trl, that lets
``generation_batch_size`` and ``steps_per_generation`` both be given as long as they
agree, and leaves one generation a prompt to ``RLHFArguments._check_teacher``
(``swift/arguments/rlhf_args.py``).

The learner finds out late: ``RLHFArguments.__post_init__`` connects to the rollout server
before it builds that configuration.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find, size
from grpo_launch.config.facts import WorldSize
from grpo_launch.config.formats import batch_plan, lift
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.readable import BatchSizes
from grpo_launch.config.rule import Context, Finding, Rule, rule
from grpo_launch.config.schema import LAUNCHER_FLAGS
from grpo_launch.learners.batches import Sizes
from grpo_launch.learners.swift.batch_fixes import (
    devices,
    divisors_near,
    larger_generation,
    multiples_near,
    product,
    spelled,
)
from grpo_launch.learners.swift.batches import (
    UNIFIED,
    evaluates,
    has_teacher,
    learns_in_groups,
    not_positive,
    read,
    where_in,
)


@rule(needs=(BatchSizes,), when=learns_in_groups)
def batch_sizes_are_positive(context: Context) -> Iterator[Problem]:
    """Every batch size is a positive integer.

    ms-swift itself refuses few of them (``steps_per_generation must be > 0``); the others
    end in a division by zero or in an empty data loader. What is no integer at all is
    reported with the flags (``flag_rules.py``).
    """
    config = context.config
    for key, value in not_positive(config):
        if not _is_number(value) and key.rpartition(".")[2] not in LAUNCHER_FLAGS:
            continue
        what = f"{kinds.said(value)} is not a size"
        yield Problem(config.where(f"train.{key}"), what, "use a positive integer")


@rule(needs=(BatchSizes,), when=learns_in_groups)
def batch_plan_matches_batch_sizes(context: Context) -> Iterator[Finding]:
    """A batch plan's ``unified_batch_size`` is whole global batches: one step, one generation.

    The rule of the launcher that this project replaces: ``unified % (per device x world
    size) == 0``, and ``gradient_accumulation_steps`` and ``steps_per_generation``, where given,
    are the quotient. A plan is expanded when its file is loaded, so that the command line
    overrides what it was expanded to; overriding the plan itself would change nothing.
    """
    config = context.config
    plan = batch_plan.read(config.train, where_in(config))
    problems = [Problem.of(mistake.error) for mistake in plan.mistakes]
    for key, value in plan.sizes.items():
        where = config.where(f"train.{'.'.join(key)}")
        stale = [t for t in batch_plan.targets(key) if _final(config, t) != value]
        if stale and where.startswith("command line"):
            instead = " and ".join(_override(target) for target in stale)
            what = "is expanded when the file is loaded, here it changes nothing"
            problems.append(Problem(where, what, f"override {instead}"))
    yield from problems
    if context.get(WorldSize) is None:
        yield context.unknown(WorldSize)
        return
    sizes = _sizes(context)
    if problems or sizes is None or not sizes.planned:
        return
    steps, rest = divmod(sizes.generation, sizes.batch)
    if rest:
        what = f"{sizes.generation} is not a multiple of {sizes.batch} ({product(sizes)})"
        whole = math.lcm(sizes.batch, sizes.group)
        fix = f"set it to {multiples_near(sizes.generation, whole)}"
        yield Problem(config.where(f"train.{'.'.join(UNIFIED)}"), what, fix)
        return
    for name in ("gradient_accumulation_steps", "steps_per_generation"):
        key, value = find(config, name)
        if value is not None and size(value) != steps:
            what = f"is {value}, but the batch plan's {sizes.generation} over {product(sizes)} "
            what += f"gives {steps}"
            fix = f"set it to {steps} or remove it"
            yield Problem(config.where(f"train.{key}"), what, fix)


@rule(needs=(BatchSizes, WorldSize), when=learns_in_groups)
def effective_batch_size_matches_gradient_accumulation(context: Context) -> Iterator[Problem]:
    """``effective_batch_size`` is whole global batches and agrees with the accumulation.

    It is the launcher's own key and becomes
    ``gradient_accumulation_steps = max(1, ceil(effective / global batch))``.
    """
    config, sizes = context.config, _sizes(context)
    if sizes is None or sizes.effective is None or sizes.planned:
        return
    steps = -(-sizes.effective // sizes.batch)
    if sizes.accumulation != steps:
        key = find(config, "gradient_accumulation_steps")[0]
        what = f"is {sizes.accumulation}, but effective_batch_size {sizes.effective} over "
        what += f"{product(sizes)} gives {steps}"
        yield Problem(config.where(f"train.{key}"), what, f"set it to {steps} or remove it")
        return
    if sizes.effective % sizes.batch == 0:
        return
    key = find(config, "effective_batch_size")[0]
    what = f"{sizes.effective} is not a multiple of {sizes.batch} ({product(sizes)}), "
    what += f"a step will hold {steps * sizes.batch} completions"
    fix = f"set it to {multiples_near(sizes.effective, sizes.batch)}"
    yield Problem(config.where(f"train.{key}"), what, fix, Severity.WARNING)


@rule(needs=(BatchSizes, WorldSize), when=learns_in_groups)
def generation_batch_size_is_a_multiple_of_the_global_batch(context: Context) -> Iterator[Problem]:
    """``generation_batch_size`` is ``steps_per_generation`` global batches.

    Source: ``_init_generation_batch_params`` ("must be divisible by the global batch
    size", "must equal per_device_train_batch_size * world_size * steps_per_generation").
    """
    config, sizes = context.config, _sizes(context)
    if sizes is None or not sizes.conflict or sizes.planned:
        return
    generation_key = find(config, "generation_batch_size")[0]
    if sizes.steps is None:
        what = f"{sizes.generation} is not a multiple of {sizes.batch} ({product(sizes)})"
        whole = math.lcm(sizes.batch, sizes.group)
        fix = f"set it to {multiples_near(sizes.generation, whole)}"
        yield Problem(config.where(f"train.{generation_key}"), what, fix)
        return
    whole = sizes.steps * sizes.batch
    what = f"{sizes.steps} x {sizes.batch} ({product(sizes)}) is {whole}, "
    what += f"but generation_batch_size is {sizes.generation}"
    steps, rest = divmod(sizes.generation, sizes.batch)
    fix = f"set {spelled(config, generation_key)} to {whole}" if rest else f"set it to {steps}"
    key = find(config, "steps_per_generation")[0]
    yield Problem(config.where(f"train.{key}"), what, fix)


@rule(needs=(BatchSizes, WorldSize), when=learns_in_groups)
def generation_batch_size_is_a_multiple_of_num_generations(context: Context) -> Iterator[Problem]:
    """A prompt has at least two completions, and a generation holds whole groups of them.

    Source: ``_init_generation_batch_params`` ("must be evenly divisible by
    num_generations") and ``RLHFArguments._check_teacher`` ("num_generations must be greater
    than 1 for GRPO", unless a teacher gives the advantages).
    """
    config, sizes = context.config, _sizes(context)
    if sizes is None or sizes.conflict:
        return
    group, whole = sizes.group, sizes.generation
    if group == 1 and not has_teacher(config):
        what = "is 1, but GRPO compares the completions of a prompt with one another"
    elif whole % group:
        what = f"{group} does not divide generation_batch_size {whole}"
        if not sizes.generation_said:
            what += (
                f" ({product(sizes)}, {kinds.counted(whole // sizes.batch, 'step')} per generation)"
            )
    else:
        return
    divisors = divisors_near(whole, group, least=2)
    larger = larger_generation(config, sizes)
    if group == 1:
        fix = f"set it to {divisors}" if divisors else f"set it to 2 and {larger}"
    else:
        fix = f"set it to {divisors}, or {larger}" if divisors else f"set {larger}"
    yield Problem(config.where(f"train.{find(config, 'num_generations')[0]}"), what, fix)


@rule(needs=(BatchSizes, WorldSize), when=learns_in_groups)
def eval_batch_size_is_a_multiple_of_num_generations(context: Context) -> Iterator[Problem]:
    """With evaluation, the global evaluation batch holds whole groups.

    Source: ``_init_generation_batch_params`` ("The global eval batch size must be evenly
    divisible by num_generations_eval"). There is evaluation unless ``eval_strategy``
    (unset: ``save_strategy``, unset: ``steps``) is ``no`` or there is nothing to evaluate on
    (``swift/arguments/sft_args.py``); ``per_device_eval_batch_size`` is 1 unless set.
    """
    config, sizes = context.config, _sizes(context)
    if sizes is None or sizes.group == 1 or not evaluates(config):
        return
    batch = sizes.per_device_eval * sizes.world_size
    if batch % sizes.group_eval == 0:
        return
    key, said = find(config, "per_device_eval_batch_size")
    eval_key, eval_said = find(config, "num_generations_eval")
    group = "num_generations" if size(eval_said) is None else "num_generations_eval"
    what = "is not set (default 1); " if said is None else ""
    what += f"{sizes.per_device_eval} x {devices(sizes.world_size)} is {batch}, "
    what += f"not a multiple of {group} {sizes.group_eval}"
    step = sizes.group_eval // math.gcd(sizes.group_eval, sizes.world_size)
    fix = f"set it to {multiples_near(sizes.per_device_eval, step)}"
    fix += f", {spelled(config, eval_key)} to {divisors_near(batch, sizes.group_eval)}"
    fix += f", or {spelled(config, find(config, 'eval_strategy', 'training')[0])} to 'no'"
    yield Problem(config.where(f"train.{key}"), what, fix)


BATCH_RULES: Sequence[Rule] = (
    batch_sizes_are_positive,
    batch_plan_matches_batch_sizes,
    effective_batch_size_matches_gradient_accumulation,
    generation_batch_size_is_a_multiple_of_the_global_batch,
    generation_batch_size_is_a_multiple_of_num_generations,
    eval_batch_size_is_a_multiple_of_num_generations,
)


def _sizes(context: Context) -> Sizes | None:
    return read(context.config, context[WorldSize].processes)


def _final(config: LaunchConfig, target: batch_plan.KeyPath) -> int | None:
    in_server = target[:-1] == lift.SERVER_BLOCK
    key = target[-1]
    value = config.rollout_server.get(key) if in_server else config.get(".".join(target))
    return batch_plan.integer(value)


def _is_number(value: Any) -> bool:
    """Whether a value is an integer, in a spelling that ``argparse`` takes for one."""
    if isinstance(value, str):
        return value.strip().lstrip("+-").isdecimal()
    return isinstance(value, int) and not isinstance(value, bool)


def _override(target: batch_plan.KeyPath) -> str:
    in_server = target[:-1] == lift.SERVER_BLOCK
    return f"rollout_server.{target[-1]}" if in_server else f"train.{'.'.join(target)}"
