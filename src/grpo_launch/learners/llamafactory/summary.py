"""What ``role=check`` tells of a training: model, tuner, data, training."""

from __future__ import annotations

from typing import Any

from grpo_launch.config import kinds
from grpo_launch.config.facts import WorldSize
from grpo_launch.config.rule import Context
from grpo_launch.engines.flag_facts import LearnerFlags
from grpo_launch.learners.llamafactory import arguments, datasets

_TUNERS = ("lora_rank", "lora_alpha", "lora_target")
_TRAINING = {
    "learning_rate": "learning rate",
    "lr_scheduler_type": "schedule",
    "warmup_ratio": "warmup",
    "cutoff_len": "tokens",
}
"""Arguments that are shown, and what they are called."""


def of(context: Context) -> dict[str, dict[str, Any]]:
    """The summary of a valid configuration; what is neither said nor known is left out."""
    config, flags = context.config, context.get(LearnerFlags)
    defaults = flags.defaults if flags else {}

    def value(name: str) -> Any:
        said = arguments.number(config.get(name))
        return defaults.get(name) if said is None else said

    tuner = value("finetuning_type")
    adapter = {name: value(name) for name in _TUNERS} if tuner == "lora" else {}
    steps = {"steps": value("max_steps")}
    if not isinstance(steps["steps"], int) or steps["steps"] <= 0:
        steps = {"epochs": value("num_train_epochs")}
    training = {shown: value(name) for name, shown in _TRAINING.items()}
    planned = (
        {} if config.get("stage") or config.learner.stage else {"stage": arguments.stage(config)}
    )
    return {
        "defaults": {name: f"{kinds.said(said)} (LLaMA-Factory)" for name, said in planned.items()},
        "model": _known({"model": value("model_name_or_path"), "template": value("template")}),
        "tuner": _known({"tuner": tuner, **adapter}),
        "data": _data(context),
        "training": _known(
            {"stage": arguments.stage(config), **steps, "batch": _batch(context, value), **training}
        ),
    }


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _data(context: Context) -> dict[str, Any]:
    train = context.config.train
    named = {file: key.partition(".")[0] for key, file in datasets.files(train)}
    names = {n: key for key in datasets.KEYS for n in datasets.names(train.get(key))}
    own = {name for name, *_ in datasets.of_data(train)}
    return {**named, **{name: key for name, key in names.items() if name not in own}}


def _batch(context: Context, value: Any) -> int | None:
    """Rows of an optimizer step; None where the devices are not known."""
    world = context.get(WorldSize)
    sizes = [value("per_device_train_batch_size"), value("gradient_accumulation_steps")]
    if world is None or not all(isinstance(size, int) and size > 0 for size in sizes):
        return None
    return sizes[0] * sizes[1] * world.processes
