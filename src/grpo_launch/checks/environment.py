"""The rules of the environment: variables of ``compat=env`` are understood, none is lost unsaid.

Only with ``compat=env``; otherwise nobody looks at the environment but for torchrun's ``NNODES``.
Values of a wrong type are found earlier (``config/compat/judging.py``) and reported with the other
mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from grpo_launch.config import kinds, schema
from grpo_launch.config.facts import WorldSize
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Finding, Rule, rule
from grpo_launch.planning.nodes import ADDRESS, Nodes


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
        return
    nodes = context.get(Nodes) or Nodes()
    here = world_size.processes // (nodes.count or 1)
    if variable.value != here:
        what = f"is {variable.value}, but the learner has {kinds.counted(here, 'device')}"
        devices = context.config.spelled("gpus.learner")
        fix = f"list {variable.value} devices in {devices}, or unset it"
        yield Problem(f"environment: {variable.variable}", what, fix)


@rule(needs=(Nodes,), when=lambda config: config.trains)
def nnodes_is_a_number_of_nodes_that_can_meet(context: Context) -> Iterator[Problem]:
    """``NNODES`` is a positive integer, and above 1 ``MASTER_ADDR`` says where the nodes meet.

    The learner hands both to torchrun, whose ``--master-addr`` is 127.0.0.1 unless set
    (``torch/distributed/run.py``). An elastic ``MIN:MAX`` gives no world size for whole batches.
    """
    nodes = context[Nodes]
    if nodes.count is None:
        what = f"{kinds.said(nodes.said)} is not a number of nodes"
        yield Problem(nodes.place, what, "set it to a positive integer, or unset it for 1")
    elif nodes.count > 1 and nodes.address is None:
        what = f"is {nodes.count}, but {ADDRESS} is not set: torchrun would wait for the other "
        what += "nodes at 127.0.0.1, where they cannot come"
        yield Problem(nodes.place, what, f"export {ADDRESS} with the address of node 0")


ENVIRONMENT_RULES: Sequence[Rule] = (
    variables_take_effect,
    nproc_per_node_is_the_number_of_learner_devices,
    nnodes_is_a_number_of_nodes_that_can_meet,
)
"""All rules of this module, in the order in which their findings are reported."""


def _said(config: LaunchConfig, key: str) -> list[str]:
    first, _, rest = key.partition(".")
    return _text(config.get(rest) if first == "train" else getattr(config, first, None))


def _text(value: Any) -> list[str]:
    """A value, or the items of a list, as texts that can be compared."""
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [*map(str, items)]
