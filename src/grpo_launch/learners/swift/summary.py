"""What ``role=check`` tells of a training: model, tuner, data, rewards, steps."""

from __future__ import annotations

import math
from typing import Any

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find, listed
from grpo_launch.config.facts import WorldSize
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.engines.flag_facts import LearnerFlags
from grpo_launch.learners.batches import BatchArithmetic
from grpo_launch.learners.swift import batches, stages
from grpo_launch.learners.swift.arguments import server_mode
from grpo_launch.learners.swift.dataset_rows import Counts

_ADAPTER = ("lora_rank", "lora_alpha", "target_modules")
_TRAINING = {
    "learning_rate": "learning rate",
    "lr_scheduler_type": "schedule",
    "warmup_ratio": "warmup",
    "beta": "beta",
}
"""Arguments that are shown, and what they are called."""


def of(context: Context) -> dict[str, dict[str, Any]]:
    """The summary of a valid configuration; what is neither said nor known is left out."""
    config, flags = context.config, context.get(LearnerFlags)
    defaults = flags.defaults if flags else {}

    def value(name: str) -> Any:
        said = find(config, name)[1]
        return defaults.get(name) if said is None else said

    tuner = value("tuner_type")
    adapter = {name: value(name) for name in _ADAPTER} if tuner == "lora" else {}
    generates = stages.of(config).needs_servers
    steps = {"steps": _steps(context) if generates else None, "epochs": value("num_train_epochs")}
    if (most := _max_steps(config)) is not None:
        steps = {"steps": most}
    training = {shown: value(name) for name, shown in _TRAINING.items()}
    return {
        "defaults": _server_mode(config) if generates else {},
        "model": _known({"model": value("model"), "dtype": value("torch_dtype")}),
        "tuner": _known({"tuner": tuner, **adapter}),
        "data": _data(context),
        "rewards": _rewards(config) if generates else {},
        "training": _known({**steps, **training}),
    }


def _server_mode(config: LaunchConfig) -> dict[str, str]:
    """What the launcher says for server mode where the experiment does not, by argument."""
    planned = server_mode(config)
    own = "vllm_server_port"
    return {
        name: f"{kinds.said(value)} ({'ms-swift' if name == own else 'launcher, server mode'})"
        for name, value in planned.items()
        if find(config, name)[1] is None
    }


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _data(context: Context) -> dict[str, Any]:
    counts = context.get(Counts)
    entries = counts.rows if counts else ()
    return {
        entry: "rows not counted" if number is None else f"{number} rows"
        for entry, number in entries
    }


def _rewards(config: LaunchConfig) -> dict[str, Any]:
    """The weight of each reward, 1 unless the experiment says another (``GRPOTrainer``)."""
    names = batches.rewards(config)
    weights = listed(find(config, "reward_weights")[1]) or [1.0] * len(names)
    return dict(zip(names, weights, strict=False))


def _max_steps(config: LaunchConfig) -> int | None:
    steps = find(config, "max_steps")[1]
    return steps if isinstance(steps, int) and steps > 0 else None


def _steps(context: Context) -> int | None:
    """Optimizer steps of all epochs; None where the rows or the sizes are not known.

    Source: ``RepeatSampler`` of trl drops the prompts that fill no generation;
    ``Trainer.set_initial_training_values`` of transformers rounds up the steps of an epoch
    and those of all.
    """
    counts, world, config = context.get(Counts), context.get(WorldSize), context.config
    sizes = batches.read(config, world.processes) if world else None
    batch = BatchArithmetic.of(sizes)
    rows = counts.all if counts else None
    if rows is None or sizes is None or batch is None or _splits(config):
        return None
    generations = rows // (batch.generation_batch_size // batch.num_generations)
    passes = generations * batch.steps_per_generation * batch.num_iterations
    an_epoch = max(1, math.ceil(passes / batch.gradient_accumulation_steps))
    try:
        epochs = float(find(config, "num_train_epochs")[1] or 3)
    except (TypeError, ValueError):
        return None
    return math.ceil(epochs * an_epoch)


def _splits(config: LaunchConfig) -> bool:
    """Whether rows are kept for evaluation, or the data set has no length."""
    return bool(find(config, "split_dataset_ratio")[1]) or bool(find(config, "streaming")[1])
