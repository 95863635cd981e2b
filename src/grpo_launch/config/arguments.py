"""The learner's arguments as an experiment's sections say them."""

from __future__ import annotations

from typing import Any, cast

from grpo_launch.config.formats import batch_plan, forms
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.schema import BESIDE_SECTIONS

SIZES = {
    "per_device_train_batch_size": "training",
    "per_device_eval_batch_size": "training",
    "effective_batch_size": "training",
    "gradient_accumulation_steps": "training",
    "steps_per_generation": "rlhf",
    "generation_batch_size": "rlhf",
    "num_generations": "rlhf",
    "num_generations_eval": "rlhf",
    "num_iterations": "rlhf",
}
"""The sizes of a batch, each with the section that it belongs to."""

ANCHORS = ("x-", "_", ".")
"""How keys at the top begin that only hold YAML anchors (``x-common``)."""

_LARGEST = 2**31 - 1


def find(config: LaunchConfig, name: str, home: str = "data") -> tuple[str, Any]:
    """The key that says an argument of the learner, and the value.

    Args:
        config: the configuration.
        name: the argument.
        home: the section to name where no section says it; the sizes know their own.

    Returns:
        ``SECTION.NAME`` and the value; the last section wins. Of a learner without sections
        ``NAME``.
    """
    if not config.sections:
        return name, config.train.get(name)
    for section in reversed(config.sections):
        block = config.train.get(section)
        if isinstance(block, dict) and section != "deepspeed":
            value = cast("dict[Any, Any]", block).get(name)
            if value is not None:
                return f"{section}.{name}", value
    return f"{SIZES.get(name, home)}.{name}", None


def own(config: LaunchConfig) -> dict[str, Any]:
    """The arguments of a learner without sections, by name: all of ``train`` that is its own."""
    beside = (*BESIDE_SECTIONS, *forms.NODES, forms.SERVER)
    return {
        str(name): value
        for name, value in config.train.items()
        if name not in beside and not str(name).startswith(ANCHORS)
    }


def size(value: Any) -> int | None:
    """``value`` where it is a positive integer of a sane size, else None."""
    number = batch_plan.integer(value)
    return number if number is not None and 1 <= number <= _LARGEST else None


def is_true(value: Any) -> bool:
    """Whether a parser of flags takes a value for true."""
    return value in (True, 1) or (isinstance(value, str) and value.lower() in ("true", "yes", "1"))


def listed(value: Any) -> list[Any]:
    """``value`` as a list argument reads it: a scalar is a list of one."""
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]
