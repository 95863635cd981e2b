"""An attempt at its gates: the servers have been started, the job waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from grpo_launch.errors import NotReadyError
from grpo_launch.execute.console import duration
from grpo_launch.execute.deaths import Deaths
from grpo_launch.execute.ended import because, guard_lost, status_of
from grpo_launch.execute.processes import Processes
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import Gate, called
from grpo_launch.runs import record

NOTICE_S = 30.0
"""How often the console says that the gate still waits; loading a model takes minutes."""

GATE_GRACE_S = 10.0
"""How long the gate may be late: an answer that comes drop by drop holds it up."""


def wait_for_servers(
    around: Surroundings, processes: Processes, deaths: Deaths, look: Callable[[], None]
) -> None:
    """Wait until each server is ready, watching those meanwhile that are ours.

    Args:
        around: what the attempts share.
        processes: of the attempt; those that come after the gate are not started yet.
        deaths: of the attempt.
        look: called after each event; what it raises ends the wait.

    Raises:
        NotReadyError: a server will never be ready.
        ServerDiedError: the engine of a server that was ready has died.
        GuardLostError: a guard has ended that had nothing to guard yet.
        PreflightError: the program that asks cannot be started.
        InterruptedRunError: a signal asked for the end.
    """
    _Waiting(around, processes, deaths, look).run()


class _Waiting:
    def __init__(
        self,
        around: Surroundings,
        processes: Processes,
        deaths: Deaths,
        look: Callable[[], None],
    ) -> None:
        self._around = around
        self._plan = around.plan
        self._say = around.console.say
        self._processes = processes
        self._deaths = deaths
        self._look = look
        self._tails = deaths.tails
        self._ours = {spec.name for spec in around.plan.services}

    def run(self) -> None:
        with self._around.noting():
            self._around.record.enter(record.WAITING)
        waiting = {gate.server: gate for gate in self._plan.gates}
        for gate in waiting.values():
            path = gate.checks[0].path if gate.checks else ""
            self._say(f"waiting for {gate.url}{path}")
            self._processes.ask(gate)
        started = said = time.monotonic()
        try:
            while waiting:
                self._processes.turn()
                self._all_servers_run()
                self._all_guards_wait()
                self._deaths.check_engines()
                self._look()
                for name, answer in self._processes.answers().items():
                    if answer.error is not None:
                        self._show_of(name)
                        raise answer.error
                    del waiting[name]
                    of = f", of the run {answer.run}" if answer.run else ""
                    self._say(f"{name}: ready after {duration(answer.seconds)}{of}")
                    if name in self._ours and (spec := self._plan.process(name)):
                        self._processes.watch_vital(name, spec.signs.vital)
                self._not_too_late(waiting.values(), time.monotonic() - started)
                if waiting and time.monotonic() - said >= NOTICE_S:
                    said = time.monotonic()
                    of = f" for {' and '.join(waiting)}" if len(self._plan.gates) > 1 else ""
                    self._say(f"still waiting{of} after {duration(said - started)}")
        finally:
            self._processes.give_up()

    def _all_servers_run(self) -> None:
        """A server that died cannot be ready: a stranger answered in its place.

        Raises:
            NotReadyError: one has ended.
            GuardLostError: nobody knows how, its guard was killed.
        """
        for name in self._ours:
            server = self._processes.guarded[name]
            if not server.is_running:
                status = status_of(server)
                what = f"{called(name)} ended with status {status} before it was ready"
                end = self._tails.end(name)
                what = because(what, self._tails.why(name, status, end))
                self._tails.say(name, end)
                raise NotReadyError(self._tails.log(name), what, "its last lines are above")

    def _all_guards_wait(self) -> None:
        """A guard that ends now will start nothing later.

        Raises:
            GuardLostError: one has ended, or was told to.
        """
        for spec in self._plan.of_attempt:
            guarded = self._processes.guarded[spec.name]
            if guarded.pid == 0 and not guarded.is_there:
                raise guard_lost(guarded)

    def _not_too_late(self, waiting: Iterable[Gate], waited_s: float) -> None:
        """A gate answers within its own time, but for one that is held up.

        Raises:
            NotReadyError: one did not.
        """
        for gate in waiting:
            if waited_s >= gate.timeout_s + GATE_GRACE_S:
                self._show_of(gate.server)
                what = f"no whole answer after {duration(waited_s)}"
                raise NotReadyError(gate.url, what, gate.advice)

    def _show_of(self, server: str) -> None:
        """Show the last lines of a server's log, where it is ours."""
        if server in self._ours:
            self._tails.show(server)
