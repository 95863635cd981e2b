"""One attempt of a run: start services, gate, start the job, and end everything again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.base import redaction
from grpo_launch.errors import (
    GuardLostError,
    NotReadyError,
    PreflightError,
    ServerDiedError,
    StalledError,
)
from grpo_launch.execute.console import duration, tail
from grpo_launch.execute.observe import Observer
from grpo_launch.execute.processes import WITNESS, Processes
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import SERVER, Gate, ProcessSpec, called
from grpo_launch.runs import record
from grpo_launch.supervise.process import GuardedProcess
from grpo_launch.supervise.watchdog import Duty, ServerHealth, Watch

NOTICE_S = 30.0
"""How often the console says that the gate still waits; loading a model takes minutes."""

GATE_GRACE_S = 10.0
"""How long the gate may be late: an answer that comes drop by drop holds it up."""

LAST_PROBE_S = 5.0
"""How long a job's failure waits for the answer whether an engine is dead."""

PROBE_S = 60.0
"""How long a server may take for one token while the training makes no progress."""


@dataclass(frozen=True)
class Ended:
    """The process whose end was the end of an attempt.

    Attributes:
        name: the job's, where there is one, else a service's.
        status: its exit status.
    """

    name: str
    status: int


class Attempt:
    """One attempt; used once.

    Args:
        around: what the attempts share.
        number: from 1.
        logs: the directory of this attempt's logs, absolute; it exists.

    Attributes:
        observer: what was seen of the training.
        logs: the directory of this attempt's logs.
    """

    def __init__(self, around: Surroundings, number: int, logs: Path) -> None:
        self._around = around
        self._plan = around.plan
        self._say = around.console.say
        self._number = number
        self.logs = logs
        self.observer = Observer(around.plan, around.cwd, logs, around.console)
        self._processes = Processes(around, logs, self.observer.look)
        self._services: dict[str, GuardedProcess] = {}
        self._sides: dict[str, GuardedProcess] = {}
        self._health = {gate.server: ServerHealth(gate) for gate in around.plan.gates}

    def run(self) -> Ended:
        """Supervise until something ends; everything of the attempt has ended then.

        Returns:
            The process whose end was the attempt's: the job where there is one, else the
            first service that ended.

        Raises:
            NotReadyError: a server never became ready.
            ServerDiedError: a server, or the engine behind it, died under the job.
            GuardLostError: a guard was killed.
            StalledError: no progress, and the plan says that this ends an attempt.
            PreflightError: a process could not be started.
            InterruptedRunError: a signal asked for the end.
        """
        try:
            names = [spec.name for spec in self._plan.of_attempt]
            # Two guards before anything starts: one could be killed with the launcher.
            for name in names if len(names) > 1 else (*names, WITNESS):
                self._processes.guard(name)
            for spec in self._plan.services:
                self._services[spec.name] = self._start(spec)
            if self._plan.gates:
                self._wait_for_servers()
            for spec in self._plan.sides:
                self._start_side(spec)
            job = self._start(self._plan.main) if self._plan.main else None
            with self._around.noting():
                self._around.record.enter(record.TRAINING if job else record.SERVING)
            return self._serve() if job is None else self._train(job)
        finally:
            self._processes.tear_down()
            self.observer.look(at_most_every_s=0)

    def show_tail(self, name: str) -> None:
        """Show the last lines of a process's log."""
        self._show(name, self._tail(name))

    def _tail(self, name: str) -> str:
        return tail(self.logs / f"{name}.log", redaction.secrets(self._around.environ))

    def _show(self, name: str, text: str) -> None:
        if text:
            self._say(f"--- last lines of {self._log(name)}\n{text}\n---")

    def _start(self, spec: ProcessSpec) -> GuardedProcess:
        process = self._processes.start(spec)
        visible = spec.env.get("CUDA_VISIBLE_DEVICES")
        where = f" on GPU {','.join(spec.devices)}" if visible else ""
        self._say(f"{spec.name}: started{where}, pid {process.pid}, log {spec.log}")
        return process

    def _start_side(self, spec: ProcessSpec) -> None:
        try:
            self._sides[spec.name] = self._start(spec)
        except PreflightError as error:  # nothing waits for it
            self._say(f"warning: {error}")

    def _look_at_sides(self) -> None:
        """Tell once of each that has ended; nothing else follows."""
        for name in [name for name, side in self._sides.items() if not side.is_running]:
            status = self._sides.pop(name).status
            how = "its guard was killed" if status is None else f"status {status}"
            self._say(f"warning: {called(name)} has ended ({how}), the run goes on without it")

    def _wait_for_servers(self) -> None:
        """Wait at the gates, watching the servers meanwhile that are ours."""
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
                self._no_engine_is_lost()
                for name, answer in self._processes.answers().items():
                    if answer.error is not None:
                        self._show_of(name)
                        raise answer.error
                    del waiting[name]
                    of = f", of the run {answer.run}" if answer.run else ""
                    self._say(f"{name}: ready after {duration(answer.seconds)}{of}")
                    if name in self._services and (spec := self._plan.process(name)):
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
        """
        for name, server in self._services.items():
            if not server.is_running:
                what = f"{called(name)} ended with status {_status(server)} before it was ready"
                self._show_of(name)
                raise NotReadyError(self._log(name), what, "its last lines are above")

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
        if server in self._services:
            self.show_tail(server)

    def _serve(self) -> Ended:
        """Until a service ends."""
        while True:
            for name, service in self._services.items():
                if not service.is_running:
                    return Ended(name, _status(service))
            self._no_engine_is_lost()
            self._look_at_sides()
            self._processes.turn()

    def _train(self, job: GuardedProcess) -> Ended:
        """Until the job ends, which no service may do before."""
        watch = Watch(self._plan.watchdog)
        while job.status != 0:
            # First the services: a job that fails then fails because of one.
            for name, service in self._services.items():
                if not service.is_running:
                    raise self._server_died(name, service)
            self._no_engine_is_lost()
            if not job.is_running:
                status = _status(job)
                if dead := self._dead_engine():
                    service = self._services[dead]
                    running = service.is_running
                    raise self._engine_died(dead) if running else self._server_died(dead, service)
                return Ended(job.name, status)
            self._look_at_sides()
            self._watch_over(watch)
            self._processes.turn()
        return Ended(job.name, 0)

    # What can go wrong behind a living process

    def _no_engine_is_lost(self) -> None:
        if (lost := self._processes.lost) is not None:
            raise self._engine_died(lost.server, f" ({lost.title})")

    def _watch_over(self, watch: Watch) -> None:
        """Do what the watchdog asks for.

        Raises:
            ServerDiedError: a server or its engine is gone.
            StalledError: no progress, and the plan says that this ends an attempt.
        """
        if self.observer.has_progressed():
            watch.progress()
        for gate in self._plan.gates:
            self._take_health(gate)
        for name, answer in self._processes.answers().items():
            if answer.error is not None and not answer.timed_out:
                if name in self._services:
                    raise self._engine_died(name)
                raise self._gone(name, "gives no token any more, its engine is dead")
        for duty in watch.due():
            if duty is Duty.STALL:
                self._stalled(watch.idle_s)
            for gate in self._plan.gates:
                if duty is Duty.HEALTH:
                    self._health[gate.server].ask()
                elif duty is Duty.PROBE and gate.generation is not None:
                    with contextlib.suppress(PreflightError):  # no reason to end a training
                        self._processes.ask(gate, only_generate_s=PROBE_S)
                    self.observer.asked(gate.server)

    def _take_health(self, gate: Gate) -> None:
        health = self._health[gate.server]
        if not health.take():
            return
        if health.is_gone and gate.server not in self._services:
            raise self._gone(gate.server, "is gone, nobody listens there any more")
        if health.has_fallen_silent:
            self._say(f"warning: {gate.url}: {health.problem}")

    def _dead_engine(self) -> str | None:
        """The server of ours behind whose health the engine is gone, or None.

        A job that fails may have failed because of it.
        """
        self._processes.give_up()
        asked = 0
        with contextlib.suppress(PreflightError):
            for gate in self._plan.gates:
                if gate.server in self._services and gate.generation is not None:
                    self._processes.ask(gate, only_generate_s=LAST_PROBE_S)
                    asked += 1
        deadline = time.monotonic() + LAST_PROBE_S
        while asked and time.monotonic() < deadline:
            self._processes.turn(0.1)
            for name, answer in self._processes.answers().items():
                asked -= 1
                if answer.error is not None and not answer.timed_out:
                    return name
        return None

    def _stalled(self, idle_s: float) -> None:
        """Dump the stacks of all processes, then do what the plan says of a stall."""
        ends = self._plan.watchdog.on_stall != "warn"
        directory = self._around.record.directory / "stacks"
        path = directory / f"attempt_{self._number}-{time.strftime('%H%M%S')}.txt"
        what = f"no progress for {duration(idle_s)}"
        self._say(f"warning: {what}; the stacks of all processes go to {path}")
        with self._around.noting():
            directory.mkdir(exist_ok=True)
            self._processes.dump_stacks(path, wait=ends)  # before the processes are gone
        if ends:
            raise StalledError(self._plan.run_dir, what, f"look at {path}")

    def _server_died(self, name: str, server: GuardedProcess) -> ServerDiedError:
        under = called(self._plan.job or "")
        return self._death(name, f"{called(name)} died under {under} (status {_status(server)})")

    def _engine_died(self, name: str, which: str = "") -> ServerDiedError:
        whose = "" if name == SERVER else f" of {name}"
        return self._death(name, f"the engine{whose} died{which}, though its server is still there")

    def _death(self, name: str, what: str) -> ServerDiedError:
        text = self._tail(name)  # before its end is asked for, which it may log at length
        self._processes.stop()  # a terminal may hold up what is said of it
        self._show(name, text)
        others = f"; {called(self._plan.job)} has been stopped" if self._plan.job else ""
        fix = f"its last lines are above{others}"
        return ServerDiedError(self._log(name), what, fix)

    def _gone(self, name: str, what: str) -> ServerDiedError:
        """The error for a server of another launcher."""
        url = next(gate.url for gate in self._plan.gates if gate.server == name)
        return ServerDiedError(url, what, "look at that server's own terminal")

    def _log(self, name: str) -> str:
        spec = self._plan.process(name)
        return spec.log if spec else name


def _status(process: GuardedProcess) -> int:
    """The status of a process that does not run any more.

    Raises:
        GuardLostError: nobody knows, its guard was killed.
    """
    if process.status is not None:
        return process.status
    what = "was killed, so nothing watched over its processes any more"
    raise GuardLostError(f"guard of the {process.name}", what, "they have been stopped")
