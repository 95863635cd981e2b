"""Ending one run from outside: its supervisor is asked, or what it left behind is ended.

A process is sent a signal by pidfd, after its start time was compared; never by its
name or its number alone, and never because a record names it (``runs/supervision.py``).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from grpo_launch.errors import ConfigError, PreflightError, one_line
from grpo_launch.monitor import groups, living, planned
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.listing import who
from grpo_launch.monitor.view import View, view
from grpo_launch.monitor.words import age, and_
from grpo_launch.runs import record, supervision
from grpo_launch.runs.find import Found
from grpo_launch.runs.record import RunRecord
from grpo_launch.supervise import cgroup, events, proc, tree
from grpo_launch.supervise.guard import LOST_STATUS

_PERIOD_S = 1.0
_HURRY_S = 0.1
_AT_A_TIME = 256
_NOTICE_S = 10.0
"""How often a long wait is explained."""

_PATIENCE_S = 30.0
"""Seconds beyond a run's own deadlines; it may draw its plot last."""


@dataclass(frozen=True)
class Ended:
    """How the end of a run came about.

    Attributes:
        run: its name.
        outcome: ``stopped``, ``already ended``, or of a lost run ``ended what was left``
            or ``nothing was left``.
        state: of the run now.
        ended: when it ended, seconds since the epoch.
        seconds: that this took.
    """

    run: str
    outcome: str
    state: str
    ended: float | None
    seconds: float


class Ending:
    """Ends one run; used once.

    Args:
        found: the run.
        context: of the command.
        kill: do not wait until processes end on their own.
        sweep: whether the sweep that the run belongs to ends, too.
        look: sees what is alive.
    """

    def __init__(
        self,
        found: Found,
        context: Context,
        *,
        kill: bool,
        sweep: bool,
        look: Callable[[], living.Machine] = living.look,
    ) -> None:
        self._found = found
        self._context = context
        self._kill = kill
        self._sweep = sweep
        self._look = look
        self._began = context.monotonic()
        self._deadlines = planned.read(found.directory).plan.deadlines
        self._first = self._now()

    def ask(self) -> None:
        """Ask the supervisor for the end, where there is one; does not wait.

        Raises:
            PreflightError: the run is not of this host, or may not be ended by this user.
        """
        self._refuse()
        recorded = self._first.recorded
        if recorded is not None and recorded.is_supervised and not self._first.is_supervised:
            pid, what = recorded.supervisor.pid, "which supervises no such run and is left alone"
            self._context.say(f"{self._found.name}: {record.NAME} names pid {pid}, {what}")
        if self._first.is_supervised and self._first.recorded is not None:
            if not self._sweep:
                with contextlib.suppress(OSError):  # then it is a signal like any other
                    (self._found.directory / record.STOP_ASKED).touch(mode=0o600)
            self._cancel(self._first.recorded.backend)

    def finish(self) -> Ended:
        """Wait until nothing of the run is left, ending what its supervisor cannot.

        Raises:
            PreflightError: something does not end, or the record cannot be written.
        """
        first = self._first
        if first.is_over and (first.has_end or first.recorded is None):
            return self._ended("already ended")
        if first.is_supervised:
            self._wait(lambda v: not v.is_supervised, self._bound_s, self._hurry)
            if self._now().is_supervised:
                self._give_up_on_supervisor()
        if not self._kill:  # the guards of a run that lost its launcher end their trees themselves
            self._wait(lambda v: not v.guards, self._bound_s)
        self._end_what_is_left()
        self._note()
        if first.is_supervised:
            return self._ended("stopped")
        return self._ended("nothing was left" if first.is_over else "ended what was left")

    @property
    def _bound_s(self) -> float:
        if self._kill:
            return self._deadlines.kill_s
        return 2 * (self._deadlines.term_s + self._deadlines.kill_s) + _PATIENCE_S

    def _now(self) -> View:
        shown = view(self._found, self._look(), with_step=False, believes=False)
        return shown if self._is_proven(shown) else replace(shown, is_supervised=False)

    def _is_proven(self, shown: View) -> bool:
        if shown.recorded is None or not shown.is_supervised:
            return True
        pid = shown.recorded.supervisor.pid
        return _another_owner(pid) is not None or supervision.is_proven(self._found.directory, pid)

    def _refuse(self) -> None:
        first, name = self._first, self._found.name
        if not first.is_here and not first.has_end:
            host = one_line(
                (first.recorded.supervisor.host if first.recorded else None) or "another host"
            )
            raise PreflightError(name, f"runs on {host}", f"say grpo-runs stop {name} there")
        if first.recorded is None and not first.is_over:
            what = f"{first.problem}, and these are alive: {and_(who(first))}"
            raise PreflightError(name, what, "end them with kill")
        owner = _another_owner(first.recorded.supervisor.pid) if first.recorded else None
        if first.is_supervised and owner is not None:
            what = f"belongs to another user (uid {owner})"
            raise PreflightError(name, what, "ask them to stop it")

    def _cancel(self, name: str) -> None:
        """By the run's own backend, or, where this installation lacks it, as on this machine."""
        from grpo_launch.backends import local, registry

        try:
            cancel = registry.get(name).cancel
        except ConfigError:
            cancel = local.cancel
        cancel(self._found.directory)

    def _signal(self, signum: int) -> None:
        # Read again: between two programs of a start the supervisor changes.
        shown = self._now()
        if shown.is_supervised and shown.recorded is not None:
            who = shown.recorded.supervisor
            tree.send_to(who.pid, who.start_time, signum)

    def _hurry(self, shown: View) -> None:
        """A second Ctrl-C, for as long as there is something to end."""
        if self._kill and (shown.alive or shown.guards) and not shown.has_end:
            self._signal(signal.SIGINT)

    def _give_up_on_supervisor(self) -> None:
        if not self._kill:
            shown = self._now()
            what = f"is still {one_line(shown.state)} after {age(self._seconds)}"
            raise PreflightError(self._found.name, what, "say --kill")
        self._signal(signal.SIGKILL)
        self._wait(lambda v: not v.is_supervised, self._bound_s)

    def _wait(
        self,
        is_done: Callable[[View], bool],
        at_most_s: float,
        meanwhile: Callable[[View], None] = lambda _: None,
    ) -> None:
        clock = self._context.monotonic
        began = noticed = clock()
        while clock() - began < at_most_s and not is_done(shown := self._now()):
            meanwhile(shown)
            if clock() - noticed >= _NOTICE_S:
                noticed = clock()
                left = f": {and_(who(shown))}" if who(shown) else ""
                fix = "" if self._kill else "; --kill does not wait"
                self._context.say(
                    f"{self._found.name}: still ending after {age(self._seconds)}{left}{fix}"
                )
            self._pause(shown)

    def _pause(self, shown: View) -> None:
        """Wait until a process has ended, or a moment."""
        entries = [*shown.guards, *(process.entry for process in shown.alive)]
        if shown.is_supervised and shown.recorded is not None:
            entries = [e for e in [proc.read(shown.recorded.supervisor.pid)] if e is not None]
        with contextlib.ExitStack() as stack:
            pidfds: list[int] = []
            for entry in entries[:_AT_A_TIME]:
                with contextlib.suppress(OSError):
                    pidfds.append(os.pidfd_open(entry.pid))
                    stack.callback(os.close, pidfds[-1])
            events.wait(pidfds, _HURRY_S if self._kill or not pidfds else _PERIOD_S)

    def _end_what_is_left(self) -> None:
        """End what lives without a supervisor.

        Raises:
            PreflightError: something does not end, not even when killed.
        """

        def members() -> list[proc.Entry] | None:
            shown = self._now()
            return [process.entry for process in shown.alive] or stuck(shown) or None

        def stuck(shown: View) -> list[proc.Entry]:
            """The guards that do not go by themselves, though nothing is left to guard."""
            # They write the end of the run first: the record, nohup's exit status.
            self._wait(lambda v: bool(v.alive) or not v.guards, self._deadlines.kill_s)
            return list(self._now().guards) if shown.guards else []

        term_s = 0.0 if self._kill else self._deadlines.term_s
        directories = groups.of([process.entry for process in self._now().alive])
        kill_s = self._deadlines.kill_s
        tree.stop(members, term_s, kill_s, lambda: False, lambda: groups.kill(directories))
        for directory in directories:
            cgroup.remove(directory)
        shown = self._now()
        if shown.alive:
            what = f"these do not end, not even when killed: {and_(who(shown))}"
            raise PreflightError(self._found.name, what, "look at what they wait for")

    def _note(self) -> None:
        """Write the end of a run that nobody else writes.

        Raises:
            PreflightError: it cannot be written.
        """
        shown = self._now()
        if shown.recorded is None or shown.has_end or shown.is_supervised:
            return
        directory = self._found.directory
        before = os.umask(record.PRIVATE)
        try:
            reason = "the launcher was killed; what it left was ended by grpo-runs stop"
            RunRecord.open(directory).lose(LOST_STATUS, reason)
        except (OSError, ValueError) as error:
            what = f"everything is ended, but {record.NAME} cannot be written ({error})"
            raise PreflightError(
                self._found.name, what, "make room, or check who owns it"
            ) from None
        finally:
            os.umask(before)

    @property
    def _seconds(self) -> float:
        return self._context.monotonic() - self._began

    def _ended(self, outcome: str) -> Ended:
        shown = self._now()
        ended = shown.recorded.ended if shown.recorded else None
        return Ended(self._found.name, outcome, shown.state, ended, self._seconds)


def _another_owner(pid: int) -> int | None:
    """The id of the user whose process ``pid`` is, where that may not be sent signals from here."""
    with contextlib.suppress(OSError):
        owner = Path(f"/proc/{pid}").stat().st_uid
        return None if os.geteuid() in (0, owner) else owner
    return None
