"""One attempt of a run: start, gate, train, and end everything again."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from grpo_launch.console import duration, tail
from grpo_launch.errors import (
    GuardLostError,
    NotReadyError,
    PreflightError,
    ServerDiedError,
    StalledError,
)
from grpo_launch.launch.observe import Observer
from grpo_launch.launch.processes import WITNESS, Processes
from grpo_launch.launch.surroundings import Surroundings
from grpo_launch.plan import LEARNER, SERVER
from grpo_launch.runs import record
from grpo_launch.supervise.process import GuardedProcess
from grpo_launch.supervise.watchdog import Duty, HealthCheck, Watch

NOTICE_S = 30.0
"""How often the console says that the gate still waits; loading a model takes minutes."""

GATE_GRACE_S = 10.0
"""How long the gate may be late: an answer that comes drop by drop holds it up."""

LAST_PROBE_S = 5.0
"""How long a learner's failure waits for the answer whether the engine is dead."""

PROBE_S = 60.0
"""How long a server may take for one token while the training makes no progress."""

IN_A_ROW = 3
"""Failed health checks until one warns of them; a busy server may miss one."""


class Attempt:
    """One attempt; used once.

    Args:
        around: what the attempts share.
        number: from 1.
        logs: the directory of this attempt's logs, absolute; it exists.

    Attributes:
        observer: what was seen of the training.
    """

    def __init__(self, around: Surroundings, number: int, logs: Path) -> None:
        self._around = around
        self._plan = around.plan
        self._say = around.console.say
        self._number = number
        self._logs = logs
        self.observer = Observer(around.plan, around.cwd, logs, around.console)
        self._processes = Processes(around, logs, self.observer.look)
        self._check: HealthCheck | None = None
        self._refusals = self._silences = 0

    def run(self) -> int:
        """Supervise until something ends; everything of the attempt has ended then.

        Returns:
            The status of the process that the role is about: the learner's where
            there is one, else the server's.

        Raises:
            NotReadyError: the server never became ready.
            ServerDiedError: the server, or the engine behind it, died under the learner.
            GuardLostError: a guard was killed.
            StalledError: no progress, and the plan says that this ends an attempt.
            PreflightError: a process could not be started.
            InterruptedRunError: a signal asked for the end.
        """
        try:
            names = [spec.name for spec in self._plan.processes]
            # Two guards before anything starts: one could be killed with the launcher.
            for name in (*names, WITNESS)[:2]:
                self._processes.guard(name)
            server = self._start(SERVER)
            self._wait_for_server(server)
            if server is not None:
                self._processes.watch_vital(SERVER, self._plan.watchdog.vital)
            learner = self._start(LEARNER)
            with self._around.noting():
                self._around.record.enter(record.TRAINING if learner else record.SERVING)
            if learner is not None:
                return self._train(learner, server)
            assert server is not None, "a plan has at least one process"
            return self._serve(server)
        finally:
            self._processes.tear_down()
            self.observer.look(at_most_every_s=0)

    def show_tail(self, name: str) -> None:
        """Show the last lines of a process's log."""
        text = tail(self._logs / f"{name}.log")
        if text:
            self._say(f"--- last lines of {self._log(name)}\n{text}\n---")

    def _start(self, name: str) -> GuardedProcess | None:
        process = self._processes.start(name)
        spec = self._plan.process(name)
        if process is not None and spec is not None:
            visible = spec.env.get("CUDA_VISIBLE_DEVICES")
            where = f" on GPU {','.join(spec.devices)}" if visible else ""
            self._say(f"{name}: started{where}, pid {process.pid}, log {spec.log}")
        return process

    def _wait_for_server(self, server: GuardedProcess | None) -> None:
        """Wait at the gate, watching the server meanwhile where it is ours."""
        probe = self._plan.gate
        with self._around.noting():
            self._around.record.enter(record.WAITING)
        self._say(f"waiting for {probe.url}{probe.health_path}")
        self._processes.ask(guard_pid=server.guard_pid if server else 0)
        started = said = time.monotonic()
        try:
            while True:
                self._processes.turn()
                # A server that died cannot be ready: a stranger answered in its place.
                if server is not None and not server.is_running:
                    what = f"the server ended with status {_status(server)} before it was ready"
                    raise NotReadyError(self._log(SERVER), what, "its last lines are above")
                if (answer := self._processes.answer()) is not None:
                    if answer.error is not None:
                        raise answer.error
                    of = f", of the run {answer.run}" if answer.run else ""
                    self._say(f"server: ready after {duration(answer.seconds)}{of}")
                    return
                if time.monotonic() - started >= probe.timeout_s + GATE_GRACE_S:
                    what = f"no whole answer after {duration(time.monotonic() - started)}"
                    raise NotReadyError(probe.url, what, probe.advice)
                if time.monotonic() - said >= NOTICE_S:
                    said = time.monotonic()
                    self._say(f"still waiting after {duration(said - started)}")
        except NotReadyError:
            if server is not None:
                self.show_tail(SERVER)
            raise
        finally:
            self._processes.give_up()

    def _serve(self, server: GuardedProcess) -> int:
        while server.is_running:
            if self._processes.lost is not None:
                raise self._engine_died(f" ({self._processes.lost})")
            self._processes.turn()
        return _status(server)

    def _train(self, learner: GuardedProcess, server: GuardedProcess | None) -> int:
        watch = Watch(self._plan.watchdog)
        while learner.status != 0:
            # First the server: a learner that fails then fails because of it.
            if server is not None and not server.is_running:
                raise self._server_died(server)
            if self._processes.lost is not None:
                raise self._engine_died(f" ({self._processes.lost})")
            if not learner.is_running:
                status = _status(learner)
                if server is not None and self._engine_is_dead():
                    raise self._engine_died() if server.is_running else self._server_died(server)
                return status
            self._watch_over(watch, server)
            self._processes.turn()
        return 0

    # What can go wrong behind a living process

    def _watch_over(self, watch: Watch, server: GuardedProcess | None) -> None:
        """Do what the watchdog asks for.

        Raises:
            ServerDiedError: the server or its engine is gone.
            StalledError: no progress, and the plan says that this ends an attempt.
        """
        if self.observer.has_progressed():
            watch.progress()
        self._take_health(server)
        answer = self._processes.answer()
        if answer is not None and answer.error is not None and not answer.timed_out:
            if server is not None:
                raise self._engine_died()
            raise self._gone("gives no token any more, its engine is dead")
        for duty in watch.due():
            if duty is Duty.HEALTH and self._check is None:
                self._check = HealthCheck(self._plan.gate)
            elif duty is Duty.PROBE:
                with contextlib.suppress(PreflightError):  # no reason to end a training
                    self._processes.ask(only_generate_s=PROBE_S)
                self.observer.asked()
            elif duty is Duty.STALL:
                self._stalled(watch.idle_s)

    def _take_health(self, server: GuardedProcess | None) -> None:
        if self._check is None or not self._check.is_done():
            return
        check, self._check = self._check, None
        self._refusals = self._refusals + 1 if check.refused else 0
        self._silences = self._silences + 1 if check.failure else 0
        if self._refusals >= IN_A_ROW and server is None:
            raise self._gone("is gone, nobody listens there any more")
        if self._silences == IN_A_ROW:
            what = f"no healthy answer {IN_A_ROW} times in a row ({check.failure})"
            self._say(f"warning: {self._plan.gate.url}: {what}")

    def _engine_is_dead(self) -> bool:
        """Whether a learner failed because the engine is gone: health answers nevertheless."""
        self._processes.give_up()
        try:
            self._processes.ask(only_generate_s=LAST_PROBE_S)
        except PreflightError:
            return False
        deadline = time.monotonic() + LAST_PROBE_S
        while time.monotonic() < deadline:
            self._processes.turn(0.1)
            if (answer := self._processes.answer()) is not None:
                return answer.error is not None and not answer.timed_out
        return False

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

    def _server_died(self, server: GuardedProcess) -> ServerDiedError:
        what = f"the server died under the learner (status {_status(server)})"
        return self._death(what)

    def _engine_died(self, which: str = "") -> ServerDiedError:
        return self._death(f"the engine died{which}, though its server is still there")

    def _death(self, what: str) -> ServerDiedError:
        self.show_tail(SERVER)
        others = "; the learner has been stopped" if self._plan.process(LEARNER) else ""
        fix = f"its last lines are above{others}"
        return ServerDiedError(self._log(SERVER), what, fix)

    def _gone(self, what: str) -> ServerDiedError:
        """The error for a server of another launcher."""
        return ServerDiedError(self._plan.gate.url, what, "look at that server's own terminal")

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
