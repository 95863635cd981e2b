"""``ports=auto``: free ports for a run, so that several fit on one machine.

A run of both halves has an HTTP port and a weight-sync port for each server, and
torchrun's where the learner has more than one process. Each is the first free one
from the number that the experiment says, so a dry run shows the same numbers again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from grpo_launch.checks import preflight
from grpo_launch.config import endpoint
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.plan import LEARNER, SERVER
from grpo_launch.planning.listening import MASTER_PORT_KEY, is_port
from grpo_launch.settle import locks
from grpo_launch.settle.amend import amended

HTTP_START = 8000
GROUP_START = 28500
"""Not 51216, the usual one: that is among the ports that Linux gives to outgoing connections."""
MASTER_START = 29500
"""torchrun's own default."""

TRIES = 500
"""Ports that are tried from a start."""


@dataclass(frozen=True)
class Chosen:
    """Ports that a run got.

    Attributes:
        config: with the ports.
        held: descriptors of the locks on them.
    """

    config: LaunchConfig
    held: tuple[int, ...] = ()

    def said(self) -> str:
        """The ports, as people read them."""
        found = endpoint.endpoints(self.config)
        http = ", ".join(str(address.port) for address in found)
        group = ", ".join(str(address.group_port) for address in found)
        master = self.config.learner.master_port
        return f"HTTP {http}, weight sync {group}" + (f", torchrun {master}" if master else "")


@contextlib.contextmanager
def chosen(
    config: LaunchConfig, parts: Sequence[str], processes: int, run: str, *, hold: bool
) -> Generator[Chosen]:
    """Choose the ports of a run.

    Args:
        config: of the run; where a port of it is wrong, that is left to validation.
        parts: the processes to start, of ``server`` and ``learner``.
        processes: of the learner.
        run: the run directory, for the messages of others.
        hold: lock them until the end of the block, and beyond it in a program that
            inherits the locks; else only look.

    Raises:
        ConfigError: the learner's server was started by another launcher.
        PreflightError: no port is free.
    """
    if parts == (LEARNER,):
        what = "ports=auto cannot know the ports of a server that was started elsewhere"
        fix = f"say ports=fixed and what role=server printed: {_override()}"
        raise ConfigError(config.where("ports"), what, fix)
    starts = _starts(config, parts, processes)
    if starts is None:
        yield Chosen(config)
        return
    with contextlib.ExitStack() as stack:
        ports: dict[str, list[int]] = {}
        held: list[int] = []
        taken: list[int] = []
        for key, start in starts:
            port, lock = _first_free(start, run, taken=taken, hold=hold)
            taken.append(port)
            ports.setdefault(key, []).append(port)
            if lock is not None:
                stack.callback(os.close, lock)
                held.append(lock)
        yield Chosen(_with(config, ports), tuple(held))


def for_the_learner(config: LaunchConfig) -> str:
    """How a learner is told the ports of a server that is started alone."""
    found = endpoint.endpoints(config)
    said = _override(
        ",".join(str(address.port) for address in found),
        ",".join(str(address.group_port) for address in found),
    )
    return f"role=learner config={config.experiment} ports=fixed {said}"


def _override(http: str = "PORT", group: str = "PORT") -> str:
    return f"'{endpoint.PORT_KEY}=[{http}]' '{endpoint.GROUP_PORT_KEY}=[{group}]'"


def _starts(
    config: LaunchConfig, parts: Sequence[str], processes: int
) -> list[tuple[str, int]] | None:
    """Each port's key, and where the search for it begins; None where one is said wrong."""
    assert SERVER in parts, "a learner alone is refused"
    http = endpoint.ports(config) or [HTTP_START]
    said = config.get("rlhf.vllm_server_group_port")
    group = [GROUP_START] * len(http) if said is None else endpoint.group_ports(config)
    master = config.learner.master_port
    starts: list[tuple[str, Any]] = [(endpoint.PORT_KEY, port) for port in http]
    starts += [(endpoint.GROUP_PORT_KEY, port) for port in group]
    if LEARNER in parts and (processes > 1 or master is not None):
        starts.append((MASTER_PORT_KEY, MASTER_START if master is None else master))
    if len(http) != len(group) or not all(is_port(port) for _, port in starts):
        return None
    return [(key, int(float(port))) for key, port in starts]


def _first_free(
    start: int, run: str, *, taken: Sequence[int], hold: bool
) -> tuple[int, int | None]:
    """The first port from ``start`` that nobody has, and the lock on it."""
    end = min(start + TRIES, 65536)
    for port in range(start, end):
        if port in taken:
            continue
        if not hold:
            if preflight.is_free(port) and locks.holder(port) is None:
                return port, None
            continue
        # First the lock: a port that is free now may belong to another launcher.
        lock = locks.take(port, run)
        if lock is None:
            continue
        if preflight.is_free(port):
            return port, lock
        os.close(lock)
    raise PreflightError("ports=auto", f"no port from {start} to {end - 1} is free", "end a run")


def _with(config: LaunchConfig, ports: dict[str, list[int]]) -> LaunchConfig:
    values = dict(ports)
    master = values.pop(MASTER_PORT_KEY, [None])[0]
    learner = replace(config.learner, master_port=master)
    found = {key.removeprefix("train."): numbers for key, numbers in values.items()}
    return replace(amended(config, found), learner=learner)
