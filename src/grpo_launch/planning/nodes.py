"""How many machines the learner runs on: torchrun's NNODES, as its process will see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from grpo_launch.config.launch_config import LaunchConfig

VARIABLE = "NNODES"
ADDRESS = "MASTER_ADDR"


@dataclass(frozen=True)
class Nodes:
    """The machines of one learner; on each its user starts a launcher of its own.

    Attributes:
        count: how many; None where what is said is no positive integer.
        said: the value of NNODES; None: it is not set, and there is one.
        place: where it is said, for messages.
        address: MASTER_ADDR, where the learner's processes meet; None: not set.
    """

    MISSING: ClassVar[str] = "the number of nodes is not known"

    count: int | None = 1
    said: str | None = None
    place: str = ""
    address: str | None = None

    @staticmethod
    def of(config: LaunchConfig, environ: Mapping[str, str]) -> Nodes:
        """What ``env`` and the caller's environment say; ``env.set`` wins, ``env.defaults`` yields.

        Args:
            config: the configuration.
            environ: the caller's environment.
        """
        env = config.env
        address = {**env.defaults, **environ, **env.set}.get(ADDRESS) or None
        for values, place in (
            (env.set, config.where(f"env.set.{VARIABLE}")),
            (environ, f"environment: {VARIABLE}"),
            (env.defaults, config.where(f"env.defaults.{VARIABLE}")),
        ):
            if (said := values.get(VARIABLE)) is not None:
                return Nodes(_count(said), said, place, address)
        return Nodes(address=address)


def _count(said: str) -> int | None:
    number = int(said) if said.isascii() and said.isdecimal() and len(said) < 6 else 0
    return number or None
