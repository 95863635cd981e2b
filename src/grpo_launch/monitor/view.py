"""One run as it is at this moment: what its record says, held against what is alive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.errors import one_line
from grpo_launch.monitor import living, planned
from grpo_launch.monitor.living import Living, Machine
from grpo_launch.runs import pace, reading, record
from grpo_launch.runs.find import Found
from grpo_launch.runs.metrics import Step
from grpo_launch.runs.reading import Record
from grpo_launch.supervise import proc

UNREADABLE = "unreadable"
"""Shown as the state of a run whose record cannot be read."""

_GLANCE = 64 * 1024
"""Bytes of each log of metrics that tell how far a run is."""


@dataclass(frozen=True)
class View:
    """One run.

    Attributes:
        found: its name and directory.
        state: as recorded; ``lost`` where the supervisor is gone without an end, though
            ``done`` after a job that ended well; ``unreadable`` where there is no record.
        recorded: the record, or None.
        problem: why there is no record.
        notes: what of the record is not understood, a line each.
        is_here: whether it runs, or ran, on this host; another host's processes
            cannot be seen.
        is_supervised: whether its supervisor is alive.
        alive: its processes that live, without supervisor and guards.
        guards: its living guards.
        step: the step that was logged last.
        reward, loss: the newest that were logged.
    """

    found: Found
    state: str
    recorded: Record | None
    problem: str | None
    notes: tuple[str, ...]
    is_here: bool
    is_supervised: bool
    alive: tuple[Living, ...]
    guards: tuple[proc.Entry, ...]
    step: Step | None
    reward: float | None
    loss: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing of it goes on any more, as far as can be seen from here."""
        ended = self.recorded is not None and self.recorded.ended is not None
        if not self.is_here:
            return ended
        return not self.is_supervised and not self.alive and not self.guards

    @property
    def has_end(self) -> bool:
        """Whether its end is on record."""
        return self.recorded is not None and self.recorded.ended is not None

    def duration_s(self, now: float) -> float | None:
        """Seconds from its start to its end or now; None where nobody knows."""
        if self.recorded is None:
            return None
        if self.recorded.ended is not None:
            return max(0.0, self.recorded.ended - self.recorded.started)
        is_without_end = self.state in (record.LOST, record.DONE)
        return None if is_without_end else max(0.0, now - self.recorded.started)


def view(found: Found, machine: Machine, *, with_step: bool = True, believes: bool = True) -> View:
    """The run as ``machine`` shows it.

    Args:
        found: the run.
        machine: what was alive a moment ago.
        with_step: whether to look how far the training is.
        believes: whether processes are of the run because its record names them.
    """
    recorded, problem, notes = _read(found.directory)
    here = recorded is None or recorded.is_here
    supervised = recorded is not None and recorded.is_supervised
    if here and not supervised and recorded is not None and recorded.ended is None:
        # It may have written its end and gone since it was read.
        recorded, problem, notes = _read(found.directory)
    state = UNREADABLE if recorded is None else recorded.state
    if recorded is not None and here and not supervised:
        state = recorded.without_supervisor
    # Numbers of processes mean nothing on another host or after another boot.
    named = recorded if here and recorded and recorded.is_of_this_boot else None
    plan = planned.read(found.directory)
    steps = _glance(found.directory, recorded, plan) if recorded and with_step else []
    return View(
        found=found,
        state=state,
        recorded=recorded,
        problem=problem,
        notes=notes,
        is_here=here,
        is_supervised=supervised,
        alive=tuple(machine.of(found.directory, named, plan.names, believes=believes)),
        guards=tuple(machine.guards_of(found.directory, named if believes else None).values()),
        step=steps[-1] if steps else None,
        reward=pace.newest_reward(steps),
        loss=pace.newest_loss(steps),
    )


def goes_on(found: Found, look: Callable[[], Machine] = living.look) -> bool:
    """Whether a run has not ended yet; cheap to ask for again and again."""
    recorded, _, _ = _read(found.directory)
    if recorded is not None and (recorded.ended is not None or not recorded.is_here):
        return recorded.ended is None
    if recorded is not None and recorded.is_supervised:
        return True
    shown = view(found, look(), with_step=False)
    return not shown.has_end and not shown.is_over


def _read(directory: Path) -> tuple[Record | None, str | None, tuple[str, ...]]:
    """The record of a run, or why there is none, and what of it is not understood."""
    try:
        recorded, notes = reading.read(directory)
    except OSError as error:
        return None, f"{record.NAME} cannot be read ({error.strerror})", ()
    except ValueError as error:
        return None, one_line(str(error)), ()
    return recorded, None, notes


def _glance(directory: Path, recorded: Record, plan: planned.Planned) -> list[Step]:
    return planned.history(directory, recorded, plan, _GLANCE).steps()
