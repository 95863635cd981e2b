"""The rules of ``compat=env``: what variables say is understood, and none is lost unsaid.

Only with ``compat=env``; otherwise nobody looks at the environment. Values of a wrong type
are found earlier (``config/compat/reading.py``) and reported with the other mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity

EnvironmentRule = Callable[[LaunchConfig, int], list[Problem]]
"""From a configuration and the number of learner devices to what is wrong."""


def variables_count(config: LaunchConfig, world_size: int) -> list[Problem]:
    """Every variable of the old scripts that is set, or nearly spelled like one, counts.

    One of the other half is worth a word only if this half would be told something else.
    """
    del world_size
    return [
        Problem(f"environment: {unread.variable}", unread.what, unread.fix, Severity.WARNING)
        for unread in config.environment.unread
        if unread.taken is None or _said(config, unread.taken.key) != _text(unread.taken.value)
    ]


def processes_are_devices(config: LaunchConfig, world_size: int) -> list[Problem]:
    """``NPROC_PER_NODE`` is the number of the learner's devices.

    The old learner took it beside CUDA_VISIBLE_DEVICES and trusted it. Here the devices decide
    (``scripts/train.sh``), so a number that differs was meant for other devices.
    """
    said = config.environment.processes
    if said is None or not world_size or said.value == world_size:
        return []
    devices = "1 device" if world_size == 1 else f"{world_size} devices"
    what = f"says {said.value}, but the learner has {devices}"
    fix = f"list {said.value} devices in {config.spelled('gpus.learner')}, or unset it"
    return [Problem(f"environment: {said.variable}", what, fix)]


ENVIRONMENT_RULES: Sequence[EnvironmentRule] = (variables_count, processes_are_devices)
"""All rules of this module, in the order in which their findings are reported."""


def lacks(rule: EnvironmentRule, config: LaunchConfig, world_size: int) -> str | None:
    """What ``rule`` cannot know."""
    if rule is processes_are_devices and config.environment.processes and not world_size:
        return "the devices of the learner are not known"
    return None


def _said(config: LaunchConfig, key: str) -> list[str]:
    first, _, rest = key.partition(".")
    return _text(config.get(rest) if first == "train" else getattr(config, first, None))


def _text(value: Any) -> list[str]:
    """A value, or the items of a list, as texts that can be compared."""
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [*map(str, items)]
