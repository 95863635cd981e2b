"""Whether the process that answers at a server's address is the one that is meant."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from grpo_launch.base import codec
from grpo_launch.errors import NotReadyError
from grpo_launch.plan import Gate
from grpo_launch.supervise import proc, sockets
from grpo_launch.supervise.neighbours import Neighbours


def check(gate: Gate, neighbours: Neighbours) -> str | None:
    """The run that the listening process belongs to, where it is another one of ours.

    Raises:
        NotReadyError: it is a stranger, or serves another model.
    """
    port = urlsplit(gate.url).port or 80
    pid = neighbours.listener(port)
    if pid is None:
        if not gate.model:  # a service may only be the client of a daemon, as docker is
            return None
        user = neighbours.user(port)
        if neighbours.is_ours(0) is False and user not in (None, os.geteuid()):
            raise NotReadyError(
                gate.url,
                f"is answered by a process of the user with id {user}, not by the started server",
                gate.elsewhere,
            )
        # A process of this user that /proc hides: another container with this network.
        hidden = user is not None and neighbours.is_ours(0) is False
        if hidden and not neighbours.ours_hide():
            raise NotReadyError(
                gate.url,
                "is answered by a process that cannot be seen from here, not by the started server",
                f"look into other containers on this network, or {gate.elsewhere}",
            )
        return None
    run = sockets.run_of(pid)
    ours = neighbours.is_ours(pid)
    if ours:
        return None
    if ours is False:
        of = f" of the run {run}" if run else ""
        raise NotReadyError(
            gate.url,
            f"is answered by pid {pid} ({proc.command(pid)[:120]}){of}, not by the started server",
            f"stop that process or {gate.elsewhere}",
        )
    if run is None:
        return None
    model = None if _asks_for_its_model(gate) else _model_of(run)
    if model is not None and model != gate.model:
        raise NotReadyError(
            gate.url,
            f"serves {model} (run {run}), but the learner trains {gate.model}",
            f"stop that run or {gate.elsewhere}",
        )
    return str(run)


def _asks_for_its_model(gate: Gate) -> bool:
    """Whether the answers tell the model, by the name that the server gives it."""
    return any("model" in (check.body or {}) for check in gate.checks)


@dataclass(frozen=True)
class _Process:
    name: str


@dataclass(frozen=True)
class _Gate:
    server: str
    model: str


@dataclass(frozen=True)
class _Plan:
    """What counts here of another run's plan, which another version may have written."""

    processes: tuple[_Process, ...]
    gates: tuple[_Gate, ...]


def _model_of(run: Path) -> str | None:
    """The model that the server of a run was started with."""
    try:
        plan = codec.decode(_Plan, codec.read(run / "plan.json"), [])
    except (OSError, ValueError):
        return None
    started = {process.name for process in plan.processes}
    return next((gate.model for gate in plan.gates if gate.server in started and gate.model), None)
