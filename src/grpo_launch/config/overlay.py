"""What an accelerator replaces in every experiment, as its engine and its learner know it.

On GPUs nothing is; ``accelerator=cpu`` replaces what two cores cannot do, ``cpu_native`` nothing:
the experiment was written for the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grpo_launch.config.formats.sorting import merge
from grpo_launch.plugins import ENGINES, LEARNERS

_CPU: Mapping[str, Any] = {"gpus": {"server": None, "learner": None}, "health": {"timeout_s": 600}}


def overlay(accelerator: str, engine: str, learner: str) -> dict[str, Any]:
    """The tree that is merged over an experiment.

    Args:
        accelerator: an option of the group.
        engine: the name of one that there is.
        learner: the same; what it says comes last.
    """
    if accelerator != "cpu":
        return {}
    return merge(merge(_CPU, ENGINES.get(engine).cpu_overlay), LEARNERS.get(learner).cpu_overlay)
