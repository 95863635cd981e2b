"""The batch sizes of a configuration, as the learner will read them.

Source: ms-swift 4.6.0, ``_init_generation_batch_params``
(``swift/rlhf_trainers/args_mixin.py``), with the defaults of ``GRPOArguments`` and
``RLHFArguments._set_default`` (``swift/arguments/rlhf_args.py``). The *global batch* is
``per_device_train_batch_size`` x world size.

- ``gradient_accumulation_steps`` is 1 unless set; the launcher derives it from
  ``effective_batch_size`` (``learners/swift/arguments.py``).
- ``steps_per_generation`` is ``generation_batch_size`` / global batch where that is given,
  and ``gradient_accumulation_steps`` otherwise.
- ``generation_batch_size`` is global batch x ``steps_per_generation``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpo_launch.config import kinds
from grpo_launch.config.arguments import SIZES, find, is_true, listed, size
from grpo_launch.config.formats import batch_plan, lift
from grpo_launch.config.launch_config import LaunchConfig

UNIFIED = (*batch_plan.PLAN, "unified_batch_size")


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
    def of(config: LaunchConfig, world_size: int) -> BatchArithmetic | None:
        """The arithmetic of ``config``; None where the sizes are wrong or do not divide."""
        sizes = Sizes.read(config, world_size)
        if sizes is None or sizes.conflict or sizes.generation % sizes.group:
            return None
        step = sizes.batch * sizes.accumulation
        return BatchArithmetic(
            world_size=world_size,
            per_device=sizes.per_device,
            gradient_accumulation_steps=sizes.accumulation,
            steps_per_generation=sizes.generation // sizes.batch,
            generation_batch_size=sizes.generation,
            num_generations=sizes.group,
            num_iterations=sizes.iterations,
            completions_per_step=step,
            prompts_per_step=step / sizes.group,
        )


@dataclass(frozen=True)
class Sizes:
    """The sizes, defaults filled in.

    Attributes:
        effective, steps: ``effective_batch_size`` and ``steps_per_generation`` where given.
        accumulation: ``gradient_accumulation_steps``.
        generation: ``generation_batch_size``, given (``generation_said``) or derived.
        group, group_eval: completions of a prompt, in training and in evaluation.
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

    @staticmethod
    def read(config: LaunchConfig, world_size: int) -> Sizes | None:
        """The sizes of ``config``; None where one of them is not a positive integer."""
        if world_size < 1 or not_positive(config):
            return None
        said = {name: find(config, name)[1] for name in SIZES}
        return Sizes.of_arguments(said, world_size, unified=_unified(config))

    @staticmethod
    def of_arguments(
        arguments: Mapping[str, Any], world_size: int, unified: int | None = None
    ) -> Sizes:
        """The sizes among flat arguments of the learner; what is no size counts as not given.

        Args:
            arguments: by name; others than sizes do not matter.
            world_size: processes of the learner, at least 1.
            unified: the ``unified_batch_size`` of a batch plan.
        """
        said = {name: size(arguments.get(name)) for name in SIZES}
        per_device = said["per_device_train_batch_size"] or 1
        effective, steps = said["effective_batch_size"], said["steps_per_generation"]
        derived = 1 if effective is None else -(-effective // (per_device * world_size))
        accumulation = said["gradient_accumulation_steps"] or derived
        generation = said["generation_batch_size"]
        group = said["num_generations"] or 8
        return Sizes(
            world_size=world_size,
            per_device=per_device,
            per_device_eval=said["per_device_eval_batch_size"] or 1,
            effective=effective,
            accumulation=accumulation,
            steps=steps,
            generation=generation or per_device * world_size * (steps or accumulation),
            generation_said=generation is not None,
            group=group,
            group_eval=said["num_generations_eval"] or group,
            iterations=said["num_iterations"] or 1,
            planned=effective is not None and effective == generation == unified,
        )

    @property
    def batch(self) -> int:
        """The global batch."""
        return self.per_device * self.world_size

    @property
    def conflict(self) -> bool:
        """Whether the generation is no whole number of steps, or not the number given."""
        return self.generation != self.batch * (self.steps or self.generation // self.batch)


def not_positive(config: LaunchConfig) -> list[tuple[str, Any]]:
    """The sizes, by key, that are given and are not positive integers."""
    found = [find(config, name) for name in SIZES]
    return [
        (key, value)
        for key, value in found
        if value is not None and size(value) is None and not _is_unset(key, value)
    ]


def where_in(config: LaunchConfig) -> lift.Where:
    """``LaunchConfig.where`` for the keys of the legacy tree."""
    return lambda *keys: config.where(f"train.{'.'.join(map(str, keys))}")


def evaluates(config: LaunchConfig) -> bool:
    """Whether the learner will evaluate (``SftArguments``, ``swift/arguments/sft_args.py``)."""
    strategy = find(config, "eval_strategy")[1]
    if strategy is None:
        strategy = find(config, "save_strategy")[1]
    if strategy == "no" or strategy is False:  # YAML's reading of no; a rule of its own says so
        return False
    if any(listed(find(config, name)[1]) for name in ("val_dataset", "eval_dataset")):
        return True
    try:
        share = float(find(config, "split_dataset_ratio")[1] or 0)
    except (TypeError, ValueError, OverflowError):
        return False
    return share > 0 and not is_true(find(config, "streaming")[1])


def rewards(config: LaunchConfig) -> list[str]:
    """The names of the rewards, in the order of their weights."""
    names = [*listed(find(config, "reward_funcs")[1]), *listed(find(config, "reward_model")[1])]
    if environment_rewards(config):
        names.append("gym_reward")
    return [name if isinstance(name, str) else kinds.said(name) for name in names]


def environment_rewards(config: LaunchConfig) -> bool:
    """Whether the learner takes the reward of a gym environment.

    What it is told counts (``gym_env`` means yes, ``swift/rlhf_trainers/args_mixin.py``); told
    nothing, it asks the server (``prepare_rollout`` in ``rollout_mixin.py``), which says yes with
    an asynchronous engine and ``use_gym_env`` (``get_engine_type`` in
    ``swift/pipelines/infer/rollout.py``).
    """
    said = find(config, "use_gym_env")[1]
    if said is not None:
        return is_true(said)
    if find(config, "gym_env")[1] is not None:
        return True
    server = config.rollout_server
    asynchronous = server.get("vllm_use_async_engine", bool(server.get("multi_turn_scheduler")))
    return bool(asynchronous and server.get("use_gym_env", server.get("gym_env") is not None))


def has_teacher(config: LaunchConfig) -> bool:
    """Whether a teacher gives advantages of its own."""
    return any(find(config, name)[1] for name in ("teacher_model", "teacher_model_server"))


def _is_unset(key: str, value: Any) -> bool:
    # swift/rlhf_trainers/args_mixin.py: `num_generations_eval or num_generations`
    return key.endswith("num_generations_eval") and batch_plan.integer(value) == 0


def _unified(config: LaunchConfig) -> int | None:
    return batch_plan.read(config.train, where_in(config)).sizes.get(UNIFIED)
