"""The rules of ``compat=env``: what variables say is understood, and none is lost unsaid.

Only with ``compat=env``; otherwise nobody looks at the environment. Values of a wrong type
are found earlier (``config/compat/judging.py``) and reported with the other mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from grpo_launch.config import kinds, schema
from grpo_launch.config.facts import WorldSize
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Finding, Rule, rule


def _compat_env(config: LaunchConfig) -> bool:
    return config.compat is schema.Compat.env


@rule(when=_compat_env)
def variables_take_effect(context: Context) -> list[Problem]:
    """Every variable of the old scripts that is set, or nearly spelled like one, counts.

    One of the other half is worth a word only if this half would be told something else.
    """
    config = context.config
    return [
        Problem(f"environment: {unread.variable}", unread.what, unread.fix, Severity.WARNING)
        for unread in config.environment.unread
        if unread.taken is None or _said(config, unread.taken.key) != _text(unread.taken.value)
    ]


@rule(when=_compat_env)
def nproc_per_node_is_the_number_of_learner_devices(context: Context) -> Iterator[Finding]:
    """``NPROC_PER_NODE`` is the number of the learner's devices.

    The old learner took it beside CUDA_VISIBLE_DEVICES and trusted it. Here the devices decide
    (``scripts/train.sh``), so a number that differs was meant for other devices.
    """
    variable, world_size = context.config.environment.processes, context.get(WorldSize)
    if variable is None:
        return
    if world_size is None:
        yield context.unknown(WorldSize)
    elif variable.value != world_size.processes:
        what = f"is {variable.value}, "
        what += f"but the learner has {kinds.counted(world_size.processes, 'device')}"
        devices = context.config.spelled("gpus.learner")
        fix = f"list {variable.value} devices in {devices}, or unset it"
        yield Problem(f"environment: {variable.variable}", what, fix)


ENVIRONMENT_RULES: Sequence[Rule] = (
    variables_take_effect,
    nproc_per_node_is_the_number_of_learner_devices,
)
"""All rules of this module, in the order in which their findings are reported."""


def _said(config: LaunchConfig, key: str) -> list[str]:
    first, _, rest = key.partition(".")
    return _text(config.get(rest) if first == "train" else getattr(config, first, None))


def _text(value: Any) -> list[str]:
    """A value, or the items of a list, as texts that can be compared."""
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [*map(str, items)]
