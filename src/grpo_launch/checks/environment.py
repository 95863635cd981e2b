"""The rules of the environment: variables of ``compat=env`` are understood, none is lost unsaid.

Only with ``compat=env``; otherwise nobody looks at the environment but for torchrun's variables.
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

_VISIBLE = "CUDA_VISIBLE_DEVICES"


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


@rule(needs=(Nodes,), when=lambda config: config.trains)
def node_rank_is_the_number_of_a_node(context: Context) -> Iterator[Problem]:
    """Of several nodes this one is 0 to ``NNODES`` - 1: torchrun waits for ever for another one."""
    nodes = context[Nodes]
    rank, count = nodes.rank, nodes.count or 1
    if rank is None or count == 1:
        return
    number = int(rank.value) if rank.value.isascii() and rank.value.isdecimal() else count
    if number >= count:
        what = f"{kinds.said(rank.value)} is not the number of one of {count} nodes"
        yield Problem(rank.place, what, f"set it to 0 to {count - 1}")


@rule(needs=(Nodes, WorldSize), when=lambda config: config.trains and not _compat_env(config))
def processes_are_those_of_the_devices(context: Context) -> Iterator[Problem]:
    """``NPROC_PER_NODE`` has no effect: the learner has one process for each of its devices."""
    nodes = context[Nodes]
    here = context[WorldSize].processes // (nodes.count or 1)
    if nodes.processes is not None and nodes.processes.value.strip() != str(here):
        what = f"is {nodes.processes.value}, but the learner has {kinds.counted(here, 'device')}"
        fix = f"list as many devices in {context.config.spelled('gpus.learner')}, or remove it"
        yield Problem(nodes.processes.place, f"{what}, one process each", fix, Severity.WARNING)


@rule(when=lambda config: config.accelerator.kind is schema.AcceleratorKind.cuda)
def devices_are_said_in_gpus(context: Context) -> Iterator[Problem]:
    """``env`` sets no ``CUDA_VISIBLE_DEVICES``: ``gpus`` says who gets which devices.

    A default yields to what the launcher sets; what is set would take its place.
    """
    config = context.config
    env = config.env
    for half, at in (("", env), ("server", env.server), ("learner", env.learner)):
        halves = (half,) if half else ("server", "learner")
        node = " and ".join(config.spelled(f"gpus.{name}") for name in halves)
        for kind, values in (("set", at.set), ("defaults", at.defaults)):
            value = values.get(_VISIBLE)
            if value is None or (half and _ids(value) == getattr(config.gpus, half)):
                continue
            where = config.where(".".join(filter(None, ("env", half, kind, _VISIBLE))))
            severity = Severity.WARNING if kind == "defaults" else Severity.ERROR
            fix = f"remove it, and list the devices in {node}"
            yield Problem(where, "is set by the launcher, for each half its own", fix, severity)


ENVIRONMENT_RULES: Sequence[Rule] = (
    variables_take_effect,
    nproc_per_node_is_the_number_of_learner_devices,
    nnodes_is_a_number_of_nodes_that_can_meet,
    node_rank_is_the_number_of_a_node,
    processes_are_those_of_the_devices,
    devices_are_said_in_gpus,
)
"""All rules of this module, in the order in which their findings are reported."""


def _said(config: LaunchConfig, key: str) -> list[str]:
    first, _, rest = key.partition(".")
    return _text(config.get(rest) if first == "train" else getattr(config, first, None))


def _ids(value: str) -> list[str]:
    return [item.strip() for item in value.split(",")]


def _text(value: Any) -> list[str]:
    """A value, or the items of a list, as texts that can be compared."""
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [*map(str, items)]
