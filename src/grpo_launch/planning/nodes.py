"""How many machines the learner runs on: torchrun's variables, as its process will see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from grpo_launch.config.env import of_half
from grpo_launch.config.launch_config import LaunchConfig

VARIABLE = "NNODES"
ADDRESS = "MASTER_ADDR"
RANK = "NODE_RANK"
PROCESSES = "NPROC_PER_NODE"


@dataclass(frozen=True)
class Said:
    """The value of a variable, and where it is said, for messages."""

    value: str
    place: str


@dataclass(frozen=True)
class Nodes:
    """The machines of one learner; on each its user starts a launcher of its own.

    Attributes:
        count: how many; None where what is said is no positive integer.
        said: the value of NNODES; None: it is not set, and there is one.
        place: where it is said, for messages.
        address: MASTER_ADDR, where the learner's processes meet; None: not set.
        rank: NODE_RANK, the number of this machine; None: not set, it is the first.
        processes: NPROC_PER_NODE; None: not set. The devices decide, whatever it says.
    """

    MISSING: ClassVar[str] = "the number of nodes is not known"

    count: int | None = 1
    said: str | None = None
    place: str = ""
    address: str | None = None
    rank: Said | None = None
    processes: Said | None = None

    @staticmethod
    def of(config: LaunchConfig, environ: Mapping[str, str]) -> Nodes:
        """What ``env`` and the caller's environment say of the learner.

        ``env.set`` wins, ``env.defaults`` yields; what is said for the learner alone counts first.

        Args:
            config: the configuration.
            environ: the caller's environment.
        """
        nodes, address = _said(config, environ, VARIABLE), _said(config, environ, ADDRESS)
        rest = ((address and address.value) or None, _said(config, environ, RANK))
        processes = _said(config, environ, PROCESSES)
        if nodes is None:
            return Nodes(1, None, "", *rest, processes)
        return Nodes(_count(nodes.value), nodes.value, nodes.place, *rest, processes)


def _said(config: LaunchConfig, environ: Mapping[str, str], variable: str) -> Said | None:
    """What the learner's process will have as a variable."""
    half = of_half(config.env, "learner")
    for kind, values in (("set", half.set), ("", environ), ("defaults", half.defaults)):
        if variable in values:
            own = variable in getattr(config.env.learner, kind or "set")
            key = f"env.learner.{kind}" if own else f"env.{kind}"
            place = config.where(f"{key}.{variable}") if kind else f"environment: {variable}"
            return Said(values[variable], place)
    return None


def _count(said: str) -> int | None:
    number = int(said) if said.isascii() and said.isdecimal() and len(said) < 6 else 0
    return number or None
