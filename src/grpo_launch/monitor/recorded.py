"""What ``run.json`` says, with types: any file may have that name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpo_launch.runs import record


@dataclass(frozen=True)
class Identity:
    """A process, named by what no other process has after it.

    Attributes:
        pid: its number.
        start_time: clock ticks since boot.
    """

    pid: int
    start_time: int


@dataclass(frozen=True)
class RecordedProcess:
    """One process of an attempt.

    Attributes:
        name: ``server`` (of several ``server_0``, ...) or ``learner``.
        argv: its command.
        identity, guard: the process, and the one that watches over it.
        exit: its exit status, 128 + N for signal N; None while it runs.
    """

    name: str
    argv: tuple[str, ...]
    identity: Identity
    guard: Identity
    exit: int | None


@dataclass(frozen=True)
class RecordedAttempt:
    """One attempt.

    Attributes:
        number: from 1.
        started, ended: seconds since the epoch; ``ended`` is None while it goes on.
        reason: why it ended.
        resumed_from: the checkpoint that it went on from.
        processes: of it; empty while it goes on.
    """

    number: int
    started: float
    ended: float | None
    reason: str | None
    resumed_from: str | None
    processes: tuple[RecordedProcess, ...]


@dataclass(frozen=True)
class Recorded:
    """A whole record; see ``runs/record.py`` for its fields."""

    experiment: str
    role: str
    backend: str
    state: str
    reason: str | None
    status: int | None
    started: float
    ended: float | None
    urls: tuple[str, ...]
    supervisor: Identity
    boot: str
    host: str | None
    pid_namespace: str | None
    attempt: int
    attempts: tuple[RecordedAttempt, ...]
    processes: tuple[RecordedProcess, ...]


def read(directory: Path) -> Recorded:
    """The record of the run in ``directory``.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no record, or of another format.
    """
    path = directory / record.NAME
    try:
        return _record(record.read(directory))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a whole record ({error!r})") from None


def _record(body: Mapping[str, Any]) -> Recorded:
    supervisor = body["supervisor"]
    return Recorded(
        experiment=_text(body["experiment"]),
        role=_text(body["role"]),
        backend=_text(body["backend"]),
        state=_text(body["state"]),
        reason=_maybe_text(body["reason"]),
        status=None if body["status"] is None else _integer(body["status"]),
        started=_number(body["started"]),
        ended=_maybe_number(body["ended"]),
        urls=tuple(_text(url) for url in body["urls"]),
        supervisor=_identity(supervisor),
        boot=_text(supervisor["boot"]),
        host=_maybe_text(supervisor.get("host")),
        pid_namespace=_maybe_text(supervisor.get("pid_namespace")),
        attempt=_integer(body["attempt"]),
        attempts=tuple(_attempt(entry) for entry in body["attempts"]),
        processes=_processes(body["processes"]),
    )


def _attempt(body: Mapping[str, Any]) -> RecordedAttempt:
    return RecordedAttempt(
        number=_integer(body["number"]),
        started=_number(body["started"]),
        ended=_maybe_number(body["ended"]),
        reason=_maybe_text(body["reason"]),
        resumed_from=_maybe_text(body["resumed_from"]),
        processes=_processes(body["processes"]),
    )


def _processes(body: Mapping[str, Any]) -> tuple[RecordedProcess, ...]:
    return tuple(
        RecordedProcess(
            name=_text(name),
            argv=tuple(_text(word) for word in entry["argv"]),
            identity=_identity(entry),
            guard=_identity(entry["guard"]),
            exit=None if entry["exit"] is None else _integer(entry["exit"]),
        )
        for name, entry in body.items()
    )


def _identity(body: Mapping[str, Any]) -> Identity:
    return Identity(_integer(body["pid"]), _integer(body["start_time"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _number(value: Any) -> float:
    # The bounds are those of a date: what lies outside cannot be shown as one.
    if not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise TypeError(f"{value!r} is no time")
    return float(value)


def _maybe_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _maybe_number(value: Any) -> float | None:
    return None if value is None else _number(cast("float", value))
