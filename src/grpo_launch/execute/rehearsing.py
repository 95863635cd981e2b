"""The rehearsal of an attempt: it runs beside the gate, and only its refusal ends the run."""

from __future__ import annotations

import time
from pathlib import Path

from grpo_launch.base import redaction
from grpo_launch.errors import PreflightError
from grpo_launch.execute.processes import Processes
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import REHEARSAL
from grpo_launch.runs import failure, rehearsals
from grpo_launch.runs.rehearsals import STOPPED, UNKNOWN, Verdict

LAST_WORDS_S = 10.0
"""How long the failure of a job waits for a rehearsal that tells why."""


class Rehearsing:
    """One rehearsal, from the guard that waits for it to its verdict.

    Args:
        around: what the attempts share.
        processes: of the attempt.
        logs: the directory of the attempt's logs.
    """

    def __init__(self, around: Surroundings, processes: Processes, logs: Path) -> None:
        self._around = around
        self._processes = processes
        self._log = logs / f"{REHEARSAL}.log"
        self._goes_on = False
        self._started = 0.0

    def start(self) -> None:
        """Start it, where there is one.

        Raises:
            InterruptedRunError: a signal asked for the end.
        """
        if (rehearsal := self._around.plan.rehearsal) is None:
            return
        self._started = time.monotonic()
        try:
            self._processes.guard(REHEARSAL)
            self._processes.start(rehearsal.process)
            self._goes_on = True
        except PreflightError as error:
            self._take(Verdict(UNKNOWN, 0, error.reason))

    def look(self) -> None:
        """Take in its verdict once it has ended.

        Raises:
            RefusedError: the learner will not start with its arguments.
        """
        rehearsal = self._around.plan.rehearsal
        if not self._goes_on or rehearsal is None:
            return
        process, seconds = self._processes.guarded[REHEARSAL], time.monotonic() - self._started
        limit = rehearsal.process.timeout_s
        if process.is_running:
            if limit is not None and seconds > limit:
                self._end(Verdict(UNKNOWN, seconds, f"not finished after {limit:.0f} s"))
            return
        self._goes_on = False
        hidden = redaction.secrets(self._around.environ)
        end = failure.end_of(self._log)
        self._take(rehearsals.read(end, process.status, seconds, hidden))

    def give_up(self) -> None:
        """Stop it: the job has shown that it takes its arguments."""
        if self._goes_on:
            self._end(Verdict(STOPPED, time.monotonic() - self._started))

    def last_words(self) -> None:
        """Give it a moment: the job has failed, and it may tell why.

        Raises:
            RefusedError: it does.
            InterruptedRunError: a signal asked for the end.
        """
        until = time.monotonic() + LAST_WORDS_S
        while self._goes_on and time.monotonic() < until:
            self._processes.turn()
            self.look()

    def _end(self, verdict: Verdict) -> None:
        self._goes_on = False
        self._processes.guarded[REHEARSAL].stop(self._around.plan.deadlines)
        self._take(verdict)

    def _take(self, verdict: Verdict) -> None:
        """Note it, tell it.

        Raises:
            RefusedError: see :meth:`look`.
        """
        with self._around.noting():
            self._around.record.rehearsed(verdict)
        if verdict.line:
            self._around.console.say(verdict.line)
        for warning in verdict.warnings:
            self._around.console.say(f"warning: rehearsal: {warning}")
        rehearsal = self._around.plan.rehearsal
        if rehearsal is not None and (error := verdict.error(rehearsal)) is not None:
            raise error
