"""``ports=auto``: free ports for a run, so that several fit on one machine.

A run of both halves has three: the server's HTTP port, the weight-sync port, and
torchrun's where the learner has more than one process. Each is the first free one
from the number that the experiment says, so a dry run shows the same numbers again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from grpo_launch import endpoint, preflight
from grpo_launch.compose import kinds
from grpo_launch.compose.config import LaunchConfig
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.launch import locks
from grpo_launch.launch.amend import amended
from grpo_launch.plan import LEARNER, SERVER
from grpo_launch.validate.ports import GROUP_PORT_KEY, MASTER_PORT_KEY, group_port

HTTP_START = 8000
GROUP_START = 28500
"""Not ms-swift's 51216: that is among the ports that Linux gives to outgoing connections."""
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
        http, group = endpoint.endpoint(self.config).port, group_port(self.config)
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
        ports: dict[str, int] = {}
        held: list[int] = []
        for key, start in starts.items():
            ports[key], lock = _first_free(start, run, taken=list(ports.values()), hold=hold)
            if lock is not None:
                stack.callback(os.close, lock)
                held.append(lock)
        yield Chosen(_with(config, ports), tuple(held))


def for_the_learner(config: LaunchConfig) -> str:
    """How a learner is told the ports of a server that is started alone."""
    http, group = endpoint.endpoint(config).port, group_port(config)
    return f"role=learner config={config.experiment} ports=fixed {_override(http, group)}"


def _override(http: Any = "PORT", group: Any = "PORT") -> str:
    return f"'{endpoint.PORT_KEY}=[{http}]' '{GROUP_PORT_KEY}=[{group}]'"


def _starts(config: LaunchConfig, parts: Sequence[str], processes: int) -> dict[str, int] | None:
    """Where the search for each port begins, by key; None where one is said wrong."""
    http = endpoint.ports(config) or [HTTP_START]
    said = config.get("rlhf.vllm_server_group_port")
    group = GROUP_START if said is None else group_port(config)
    master = config.learner.master_port
    starts: dict[str, Any] = {endpoint.PORT_KEY: http[0], GROUP_PORT_KEY: group}
    if LEARNER in parts and (processes > 1 or master is not None):
        starts[MASTER_PORT_KEY] = MASTER_START if master is None else master
    usable = all(kinds.fits(int, v) and 1 <= int(float(v)) <= 65535 for v in starts.values())
    assert SERVER in parts, "a learner alone is refused"
    return {k: int(float(v)) for k, v in starts.items()} if usable and len(http) == 1 else None


def _first_free(
    start: int, run: str, *, taken: Sequence[int], hold: bool
) -> tuple[int, int | None]:
    """The first port from ``start`` that nobody has, and the lock on it."""
    end = min(start + TRIES, 65536)
    for port in range(start, end):
        if port in taken:
            continue
        if not hold:
            if preflight.is_free(port) and not locks.is_held(port):
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


def _with(config: LaunchConfig, ports: dict[str, int]) -> LaunchConfig:
    learner = replace(config.learner, master_port=ports.get(MASTER_PORT_KEY))
    values = {
        key.removeprefix("train."): [port] for key, port in ports.items() if key != MASTER_PORT_KEY
    }
    return replace(amended(config, values), learner=learner)
