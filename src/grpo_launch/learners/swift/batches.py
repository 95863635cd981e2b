"""The batch sizes of a configuration, as ms-swift's learner will read them.

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
from typing import Any

from grpo_launch.config import kinds
from grpo_launch.config.arguments import SIZES, find, is_true, listed, size
from grpo_launch.config.formats import batch_plan, lift
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.learners.batches import Sizes, given
from grpo_launch.learners.swift import stages

UNIFIED = (*batch_plan.PLAN, "unified_batch_size")


def is_grpo(config: LaunchConfig) -> bool:
    """Whether the algorithm is GRPO, the one where nothing is said."""
    return stages.of(config).name == "grpo"


def is_rlhf(config: LaunchConfig) -> bool:
    """Whether a learner is started with ``swift rlhf``, as a condition of rules."""
    return config.trains and stages.of(config).is_rlhf


def generates(config: LaunchConfig) -> bool:
    """Whether it is about a learner that generates with rollout servers."""
    return config.trains and stages.of(config).needs_servers


def trains(config: LaunchConfig) -> bool:
    """See :attr:`LaunchConfig.trains`; as a condition of rules."""
    return config.trains


def learns_in_groups(config: LaunchConfig) -> bool:
    """Whether it is about a learner of GRPO: a server alone serves batches of any size."""
    return config.trains and is_grpo(config)


def read(config: LaunchConfig, world_size: int) -> Sizes | None:
    """The sizes of ``config``; None where one of them is not a positive integer."""
    return of_arguments(given(config), world_size, unified=_unified(config))


def of_arguments(
    arguments: Mapping[str, Any], world_size: int, unified: int | None = None
) -> Sizes | None:
    """The sizes among the learner's arguments; None where one is not a positive integer.

    Args:
        arguments: by name; others than sizes do not matter.
        world_size: processes of the learner.
        unified: the ``unified_batch_size`` of a batch plan.
    """
    if {arguments.get("rlhf_type"), arguments.get("stage")} - {None, "grpo"}:
        return None  # no groups, and no generation batch
    if world_size < 1 or any(_is_wrong(name, arguments.get(name)) for name in SIZES):
        return None
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


def not_positive(config: LaunchConfig) -> list[tuple[str, Any]]:
    """The sizes, by key, that are given and are not positive integers."""
    found = [(*find(config, name), name) for name in SIZES]
    return [(key, value) for key, value, name in found if _is_wrong(name, value)]


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


def _is_wrong(name: str, value: Any) -> bool:
    if name == "num_generations_eval" and batch_plan.integer(value) == 0:
        return False  # swift/rlhf_trainers/args_mixin.py: `num_generations_eval or num_generations`
    return value is not None and size(value) is None


def _unified(config: LaunchConfig) -> int | None:
    return batch_plan.read(config.train, where_in(config)).sizes.get(UNIFIED)
