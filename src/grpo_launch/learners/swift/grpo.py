"""The rules of GRPO's batches and rewards, as the learner enforces them in server mode.

Source: ms-swift 4.6.0. Its ``GRPOConfig.__post_init__`` (``swift/rlhf_trainers/arguments.py``)
leaves out the one of trl 0.29.1 and calls ``_init_generation_batch_params``
(``swift/rlhf_trainers/args_mixin.py``) in its place. Other than trl, that lets
``generation_batch_size`` and ``steps_per_generation`` both be given as long as they
agree, and leaves one generation a prompt to ``RLHFArguments._check_teacher``
(``swift/arguments/rlhf_args.py``).

The learner finds out late: ``RLHFArguments.__post_init__`` connects to the rollout server
before it builds that configuration, and the rewards come after the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find, listed, size
from grpo_launch.config.formats import batch_plan, lift
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.schema import LAUNCHER_FLAGS
from grpo_launch.learners.swift.batches import (
    UNIFIED,
    BatchArithmetic,
    Sizes,
    evaluates,
    has_teacher,
    not_positive,
    rewards,
    where_in,
)

__all__ = ["GRPO_RULES", "BatchArithmetic", "GrpoRule"]

GrpoRule = Callable[[LaunchConfig, int], list[Problem]]
"""From a configuration and the number of learner devices to what is wrong."""


def sizes_are_positive(config: LaunchConfig, world_size: int) -> list[Problem]:
    """Every batch size is a positive integer.

    ms-swift itself refuses few of them (``steps_per_generation must be > 0``); the others
    end in a division by zero or in an empty data loader. What is no integer at all is
    reported with the flags (``engine_flags.py``).
    """
    del world_size
    problems: list[Problem] = []
    for key, value in not_positive(config):
        if not _is_number(value) and key.rpartition(".")[2] not in LAUNCHER_FLAGS:
            continue
        what = f"{kinds.said(value)} is no size"
        problems.append(Problem(config.where(f"train.{key}"), what, "use a positive integer"))
    return problems


def accumulation_reaches_the_batch(config: LaunchConfig, world_size: int) -> list[Problem]:
    """``effective_batch_size`` is whole global batches and agrees with the accumulation.

    It is the launcher's own key and becomes
    ``gradient_accumulation_steps = max(1, ceil(effective / global batch))``.
    """
    sizes = Sizes.read(config, world_size)
    if sizes is None or sizes.effective is None or sizes.planned:
        return []
    steps = -(-sizes.effective // sizes.batch)
    if sizes.accumulation != steps:
        key = find(config, "gradient_accumulation_steps")[0]
        what = f"is {sizes.accumulation}, but effective_batch_size {sizes.effective} over "
        what += f"{_product(sizes)} gives {steps}"
        return [Problem(config.where(f"train.{key}"), what, f"set it to {steps} or remove it")]
    if sizes.effective % sizes.batch == 0:
        return []
    key = find(config, "effective_batch_size")[0]
    what = f"{sizes.effective} is no multiple of {sizes.batch} ({_product(sizes)}), "
    what += f"a step will hold {steps * sizes.batch} completions"
    fix = f"set it to {_multiples_near(sizes.effective, sizes.batch)}"
    return [Problem(config.where(f"train.{key}"), what, fix, Severity.WARNING)]


def generation_is_whole_steps(config: LaunchConfig, world_size: int) -> list[Problem]:
    """``generation_batch_size`` is ``steps_per_generation`` global batches.

    Source: ``_init_generation_batch_params`` ("must be divisible by the global batch
    size", "must equal per_device_train_batch_size * world_size * steps_per_generation").
    """
    sizes = Sizes.read(config, world_size)
    if sizes is None or not sizes.conflict or sizes.planned:
        return []
    generation_key = find(config, "generation_batch_size")[0]
    if sizes.steps is None:
        what = f"{sizes.generation} is no multiple of {sizes.batch} ({_product(sizes)})"
        whole = math.lcm(sizes.batch, sizes.group)
        fix = f"set it to {_multiples_near(sizes.generation, whole)}"
        return [Problem(config.where(f"train.{generation_key}"), what, fix)]
    product = sizes.steps * sizes.batch
    what = f"{sizes.steps} x {sizes.batch} ({_product(sizes)}) is {product}, "
    what += f"but generation_batch_size is {sizes.generation}"
    steps, rest = divmod(sizes.generation, sizes.batch)
    fix = f"set {_spelled(config, generation_key)} to {product}" if rest else f"set it to {steps}"
    key = find(config, "steps_per_generation")[0]
    return [Problem(config.where(f"train.{key}"), what, fix)]


def groups_are_whole(config: LaunchConfig, world_size: int) -> list[Problem]:
    """A prompt has at least two completions, and a generation holds whole groups of them.

    Source: ``_init_generation_batch_params`` ("must be evenly divisible by
    num_generations") and ``RLHFArguments._check_teacher`` ("num_generations must be greater
    than 1 for GRPO", unless a teacher gives the advantages).
    """
    sizes = Sizes.read(config, world_size)
    if sizes is None or sizes.conflict:
        return []
    group, whole = sizes.group, sizes.generation
    if group == 1 and not has_teacher(config):
        what = "is 1, and a completion is judged by the others of its prompt"
    elif whole % group:
        what = f"{group} does not divide generation_batch_size {whole}"
        if not sizes.generation_said:
            what += f" ({_product(sizes)}, {_count(whole // sizes.batch, 'step')} per generation)"
    else:
        return []
    divisors = _divisors_near(whole, group, least=2)
    larger = _larger_generation(config, sizes)
    if group == 1:
        fix = f"set it to {divisors}" if divisors else f"set it to 2 and {larger}"
    else:
        fix = f"set it to {divisors}, or {larger}" if divisors else f"set {larger}"
    return [Problem(config.where(f"train.{find(config, 'num_generations')[0]}"), what, fix)]


def evaluation_groups_are_whole(config: LaunchConfig, world_size: int) -> list[Problem]:
    """With evaluation, the global evaluation batch holds whole groups.

    Source: ``_init_generation_batch_params`` ("The global eval batch size must be evenly
    divisible by num_generations_eval"). There is evaluation unless ``eval_strategy``
    (unset: ``save_strategy``, unset: ``steps``) is ``no`` or there is nothing to evaluate on
    (``swift/arguments/sft_args.py``); ``per_device_eval_batch_size`` is 1 unless set.
    """
    sizes = Sizes.read(config, world_size)
    if sizes is None or sizes.group == 1 or not evaluates(config):
        return []
    batch = sizes.per_device_eval * world_size
    if batch % sizes.group_eval == 0:
        return []
    key, said = find(config, "per_device_eval_batch_size")
    eval_key, eval_said = find(config, "num_generations_eval")
    group = "num_generations" if size(eval_said) is None else "num_generations_eval"
    what = "is not set (default 1); " if said is None else ""
    what += f"{sizes.per_device_eval} x {_devices(world_size)} is {batch}, no multiple of {group} "
    what += f"{sizes.group_eval}"
    step = sizes.group_eval // math.gcd(sizes.group_eval, world_size)
    fix = f"set it to {_multiples_near(sizes.per_device_eval, step)}"
    fix += f", {_spelled(config, eval_key)} to {_divisors_near(batch, sizes.group_eval)}"
    fix += f", or {_spelled(config, find(config, 'eval_strategy', 'training')[0])} to 'no'"
    return [Problem(config.where(f"train.{key}"), what, fix)]


def weights_match_rewards(config: LaunchConfig, world_size: int) -> list[Problem]:
    """``reward_weights``, if given, has one weight for each reward.

    Source: ``GRPOTrainer._prepare_rewards`` (``swift/rlhf_trainers/grpo_trainer.py``): the
    ``reward_funcs``, then the models of ``reward_model``, then a gym environment.
    """
    del world_size
    key, weights = find(config, "reward_weights", "rlhf")
    named = rewards(config)
    if weights is None or isinstance(weights, dict) or len(listed(weights)) == len(named):
        return []
    what = f"has {_count(len(listed(weights)), 'weight')} for {_count(len(named), 'reward')}"
    said = [found[0] for name in _REWARDS if (found := find(config, name, "rlhf"))[1] is not None]
    places = [config.where(f"train.{key}") for key in said[:1]]
    what += f" ({'; '.join(filter(None, (', '.join(named), *places)))})" if said else ""
    return [Problem(config.where(f"train.{key}"), what, "give one weight for each, in that order")]


_REWARDS = ("reward_funcs", "reward_model", "use_gym_env", "gym_env")


def something_is_rewarded(config: LaunchConfig, world_size: int) -> list[Problem]:
    """There is a reward, or a teacher.

    Source: ``GRPOTrainer.__init__`` ("You must specify reward_funcs or reward_model").
    """
    del world_size
    if rewards(config) or has_teacher(config):
        return []
    key = find(config, "reward_funcs", "rlhf")[0]
    fix = "set rlhf.reward_funcs"
    told = find(config, "use_gym_env", "rlhf")[1] is not None
    if config.rollout_server.get("multi_turn_scheduler") and not told:
        fix += f", or {config.spelled('rollout_server.use_gym_env')} to true for an environment's"
    return [Problem(config.where(f"train.{key}"), "names no reward", fix)]


def batch_plan_divides(config: LaunchConfig, world_size: int) -> list[Problem]:
    """A batch plan's ``unified_batch_size`` is whole global batches: one step, one generation.

    The rule of the launcher that this project replaces: ``unified % (per device x world
    size) == 0``, and ``gradient_accumulation_steps`` and ``steps_per_generation``, where given,
    are the quotient. A plan is expanded when its file is loaded, so that the command line
    overrides what it was expanded to; overriding the plan itself would change nothing.
    """
    plan = batch_plan.read(config.train, where_in(config))
    problems = [Problem.of(mistake.error) for mistake in plan.mistakes]
    for key, value in plan.sizes.items():
        where = config.where(f"train.{'.'.join(key)}")
        stale = [t for t in batch_plan.targets(key) if _final(config, t) != value]
        if stale and where.startswith("command line"):
            instead = " and ".join(_override(target) for target in stale)
            what = "is expanded when the file is loaded, here it changes nothing"
            problems.append(Problem(where, what, f"override {instead}"))
    sizes = Sizes.read(config, world_size)
    if problems or sizes is None or not sizes.planned:
        return problems
    steps, rest = divmod(sizes.generation, sizes.batch)
    if rest:
        what = f"{sizes.generation} is no multiple of {sizes.batch} ({_product(sizes)})"
        whole = math.lcm(sizes.batch, sizes.group)
        fix = f"set it to {_multiples_near(sizes.generation, whole)}"
        return [Problem(config.where(f"train.{'.'.join(UNIFIED)}"), what, fix)]
    for name in ("gradient_accumulation_steps", "steps_per_generation"):
        key, value = find(config, name)
        if value is not None and size(value) != steps:
            what = f"is {value}, but the batch plan's {sizes.generation} over {_product(sizes)} "
            what += f"gives {steps}"
            fix = f"set it to {steps} or remove it"
            problems.append(Problem(config.where(f"train.{key}"), what, fix))
    return problems


GRPO_RULES: Sequence[GrpoRule] = (
    sizes_are_positive,
    batch_plan_divides,
    accumulation_reaches_the_batch,
    generation_is_whole_steps,
    groups_are_whole,
    evaluation_groups_are_whole,
    weights_match_rewards,
    something_is_rewarded,
)
"""All rules of this module, in the order in which their findings are reported."""


OF_REWARDS = (weights_match_rewards, something_is_rewarded)
"""The rules that are not about batch sizes."""


def lacks(rule: GrpoRule, world_size: int) -> str | None:
    """What ``rule`` cannot know: with no world size no batch can be reckoned."""
    if world_size or rule in (sizes_are_positive, *OF_REWARDS):
        return None
    return "the devices of the learner are not known"


def _final(config: LaunchConfig, target: batch_plan.KeyPath) -> int | None:
    in_server = target[:-1] == lift.SERVER_BLOCK
    key = target[-1]
    said = config.rollout_server.get(key) if in_server else config.get(".".join(target))
    return batch_plan.integer(said)


def _spelled(config: LaunchConfig, key: str) -> str:
    """A key of a section as the place that says it spells it."""
    return config.spelled(f"train.{key}")


def _is_number(value: Any) -> bool:
    """Whether a value is an integer, in a spelling that ``argparse`` takes for one."""
    if isinstance(value, str):
        return value.strip().lstrip("+-").isdecimal()
    return isinstance(value, int) and not isinstance(value, bool)


def _override(target: batch_plan.KeyPath) -> str:
    in_server = target[:-1] == lift.SERVER_BLOCK
    return f"rollout_server.{target[-1]}" if in_server else f"train.{'.'.join(target)}"


def _larger_generation(config: LaunchConfig, sizes: Sizes) -> str:
    """The key that decides the generation, and its next value that holds whole groups."""
    group = max(sizes.group, 2)
    whole = group // math.gcd(sizes.batch, group)
    steps = (sizes.generation // sizes.batch // whole + 1) * whole

    def spelled(name: str) -> str:
        return _spelled(config, find(config, name)[0])

    generation = f"{spelled('generation_batch_size')} to {steps * sizes.batch}"
    if sizes.planned:
        return f"{'.'.join(UNIFIED)} to {steps * sizes.batch}"
    if sizes.steps is not None:
        key = f"{spelled('steps_per_generation')} to {steps}"
        return f"{key} and {generation}" if sizes.generation_said else key
    if sizes.generation_said:
        return generation
    accumulation = f"{spelled('gradient_accumulation_steps')} to {steps}"
    if sizes.effective is None:
        return accumulation
    effective = f"{spelled('effective_batch_size')} to {steps * sizes.batch}"
    said = find(config, "gradient_accumulation_steps")[1]
    return effective if said is None else f"{effective} and {accumulation}"


def _multiples_near(value: int, step: int) -> str:
    below = value // step * step
    return f"{below} or {below + step}" if below else str(step)


def _divisors_near(whole: int, value: int, least: int = 1) -> str:
    """The divisors of ``whole`` next to ``value``; of a huge ``whole`` some are not looked for."""
    small = [n for n in range(1, min(math.isqrt(whole), 50_000) + 1) if whole % n == 0]
    divisors = sorted(
        {n for low in small for n in (low, whole // low) if n >= least and n != value}
    )
    below, above = [n for n in divisors if n < value], [n for n in divisors if n > value]
    return " or ".join(map(str, below[-1:] + above[:1]))


def _product(sizes: Sizes) -> str:
    """The global batch in words."""
    return f"per_device_train_batch_size {sizes.per_device} x {_devices(sizes.world_size)}"


def _devices(count: int) -> str:
    return _count(count, "learner device")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
