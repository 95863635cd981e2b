"""``run.json`` with types: any file may have that name, and other versions write it as well."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grpo_launch.base import codec
from grpo_launch.runs import record
from grpo_launch.runs.rehearsals import Verdict
from grpo_launch.supervise import proc

_ENDS_OF_STOPPED = (0, *(128 + n for n in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)))
"""Exits of a process that ended because it was asked to."""

_LATEST = 1e11
"""Seconds since the epoch; what lies outside cannot be shown as a date."""


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
class Supervisor(Identity):
    """The process that supervises a run.

    Attributes:
        boot, host, pid_namespace: where its number counts, see ``runs/record.py``.
        goes_on: whether it has more to do when the run has ended, as in a sweep.
    """

    boot: str
    host: str | None = None
    pid_namespace: str | None = None
    goes_on: bool = False


@dataclass(frozen=True)
class RecordedProcess(Identity):
    """One process of an attempt.

    Attributes:
        argv: its command.
        exit: its exit status, 128 + N for signal N; None while it runs.
        guard: the process that watches over it.
        stopped: whether it still ran when the run, or the attempt, was ended.
    """

    argv: tuple[str, ...]
    exit: int | None
    guard: Identity
    stopped: bool = False

    @property
    def fate(self) -> str:
        """How it ended, for people; empty where nobody knows."""
        if self.stopped and self.exit in _ENDS_OF_STOPPED:
            return "stopped"
        return "" if self.exit is None else f"exit {self.exit}"


@dataclass(frozen=True)
class RecordedAttempt:
    """One attempt.

    Attributes:
        number: from 1.
        started, ended: seconds since the epoch; ``ended`` is None while it goes on.
        reason: why it ended.
        resumed_from: the checkpoint that it went on from.
        processes: of it, by name; empty while it goes on.
    """

    number: int
    started: float
    ended: float | None
    reason: str | None
    resumed_from: str | None
    processes: Mapping[str, RecordedProcess]

    def __post_init__(self) -> None:
        _check_dates(self.started, self.ended)


@dataclass(frozen=True)
class RecordedAlarm:
    """What the log of a process told of stale rollouts.

    Attributes:
        process: its name.
        attempt: the number of the attempt.
        message: the text that was found, and what it means.
        time: seconds since the epoch.
    """

    process: str
    attempt: int
    message: str
    time: float


@dataclass(frozen=True)
class Followed:
    """What became of a program that ran after the training; see ``execute/finishing.py``."""

    state: str
    detail: str | None


@dataclass(frozen=True)
class Record:
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
    supervisor: Supervisor
    attempt: int
    attempts: tuple[RecordedAttempt, ...]
    processes: Mapping[str, RecordedProcess]
    afterwards: Mapping[str, Followed] = field(default_factory=dict[str, Followed])
    rehearsal: Verdict | None = None
    alarms: tuple[RecordedAlarm, ...] = ()
    downgraded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_dates(self.started, self.ended)

    @property
    def is_here(self) -> bool:
        """Whether the processes that it numbers are numbered here."""
        return record.is_here(self.supervisor.host, self.supervisor.pid_namespace)

    @property
    def is_of_this_boot(self) -> bool:
        """Whether its numbers are of this boot of a machine."""
        return self.supervisor.boot == record.boot_id()

    @property
    def without_supervisor(self) -> str:
        """Its state if that is gone: what was trained well has not been lost."""
        return self.state if self.ended else record.DONE if self.status == 0 else record.LOST

    @property
    def is_supervised(self) -> bool:
        """Whether the process that supervises the run is there, and still does."""
        who = self.supervisor
        if who.goes_on and self.ended is not None:
            return False
        here = self.is_here and self.is_of_this_boot
        return here and proc.is_running(who.pid, who.start_time)


def read(directory: Path) -> tuple[Record, tuple[str, ...]]:
    """The record of the run in ``directory``, and a line for each thing not understood.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no record.
    """
    body, notes = record.read(directory), list[str]()
    version = body.pop("format")
    if version > record.FORMAT:
        notes.append(f"format {version}: this launcher knows {record.FORMAT}")
    try:
        return codec.decode(Record, body, notes), tuple(notes)
    except ValueError as error:
        raise ValueError(f"{record.NAME}: not a whole record ({error})") from None


def _check_dates(*moments: float | None) -> None:
    for moment in moments:
        if moment is not None and not 0 <= moment < _LATEST:
            raise ValueError(f"{moment!r} is no date")
