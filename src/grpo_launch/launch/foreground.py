"""Run a plan in the foreground and stay with it until everything has ended."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path

from grpo_launch.console import Console, duration, tail
from grpo_launch.errors import InterruptedRunError, LaunchError, NotReadyError, ServerDiedError
from grpo_launch.plan import LEARNER, SERVER, LaunchPlan
from grpo_launch.runs.metrics import MetricsFollower
from grpo_launch.runs.record import RunRecord
from grpo_launch.supervise import events, tree
from grpo_launch.supervise.follow import LogAlarm, LogFollower
from grpo_launch.supervise.gate import BackgroundGate
from grpo_launch.supervise.process import Child

TICK_S = 0.2
"""How often the console is brought up to date; nothing else waits for it."""

NOTICE_S = 30.0
"""How often the console says that the gate still waits; loading a model takes minutes."""


def execute(
    plan: LaunchPlan,
    record: RunRecord,
    console: Console,
    environ: Mapping[str, str],
    cwd: Path,
) -> int:
    """Start the plan's processes, supervise them, and end them all.

    Args:
        plan: what to start.
        record: of this run, already created.
        console: what the person sees.
        environ: the caller's environment, for the processes.
        cwd: what relative paths of the plan are relative to.

    Returns:
        The status of the process that the role is about: the learner's where
        there is one, else the server's; 128 + N for signal N.

    Raises:
        NotReadyError: the server never became ready.
        ServerDiedError: the server died under the learner.
        InterruptedRunError: a signal asked for the end.
    """
    with events.Signals() as signals:
        return _Run(plan, record, console, environ, cwd, signals).execute()


class _Run:
    """The state of one execution; lives as long as :func:`execute`."""

    def __init__(
        self,
        plan: LaunchPlan,
        record: RunRecord,
        console: Console,
        environ: Mapping[str, str],
        cwd: Path,
        signals: events.Signals,
    ) -> None:
        self._plan = plan
        self._record = record
        self._console = console
        self._environ = environ
        self._cwd = cwd
        self._signals = signals
        self._children: dict[str, Child] = {}
        self._metrics = MetricsFollower(cwd / plan.output_dir, time.time())
        self._shown_log: LogFollower | None = None
        self._alarms: dict[str, LogAlarm] = {}

    def execute(self) -> int:
        tree.become_subreaper()
        started = time.monotonic()
        try:
            status = self._supervise()
        except BaseException as error:
            interrupted = isinstance(error, InterruptedRunError)
            status = error.status if isinstance(error, LaunchError) else 1
            reason = str(error) or type(error).__name__
            self._end("interrupted" if interrupted else "failed", status, reason)
            raise
        name = LEARNER if LEARNER in self._children else SERVER
        self._end(
            "done" if status == 0 else "failed", status, f"the {name} ended with status {status}"
        )
        self._say_what_happened(name, status, time.monotonic() - started)
        return status

    def _end(self, state: str, status: int, reason: str) -> None:
        self._tear_down()
        with self._noting():
            self._record.finish(state, status, reason)
        self._console.close()

    @contextlib.contextmanager
    def _noting(self) -> Generator[None]:
        """A record that cannot be written (full disk, deleted directory) must not stop a run."""
        try:
            yield
        except OSError as error:
            directory = self._record.directory
            self._console.say(f"warning: {directory}: cannot be written ({error.strerror})")

    def _supervise(self) -> int:
        self._start(SERVER)
        self._wait_for_server()
        learner = self._start(LEARNER)
        server = self._children.get(SERVER)
        with self._noting():
            self._record.state("training" if learner else "serving")
        while True:
            self._turn(child for child in (learner, server) if child)
            ended = learner.poll() if learner is not None else None
            if ended == 0:
                return 0
            if server is not None and (status := server.poll()) is not None:
                if learner is None:
                    return status
                raise self._server_died(status)  # a learner that fails then fails because of it
            if ended is not None:
                return ended

    def _start(self, name: str) -> Child | None:
        spec = self._plan.process(name)
        if spec is None:
            return None
        child = Child(spec, self._environ)
        self._children[name] = child
        with self._noting():
            self._record.started(child)
        self._alarms[spec.log] = LogAlarm(self._cwd / spec.log, spec.alarms)
        where = f" on GPU {','.join(spec.devices)}" if spec.env.get("CUDA_VISIBLE_DEVICES") else ""
        self._console.say(f"{name}: started{where}, pid {child.pid}, log {spec.log}")
        only = len(self._plan.processes) == 1 and name == SERVER
        if only or (name == LEARNER and self._console.shows_log):
            self._shown_log = LogFollower(self._cwd / spec.log)
        return child

    def _wait_for_server(self) -> None:
        """Wait at the gate, watching the server meanwhile where it is ours."""
        server = self._children.get(SERVER)
        probe = self._plan.gate
        with self._noting():
            self._record.state("waiting")
        self._console.say(f"waiting for {probe.url}{probe.health_path}")
        gate = BackgroundGate(probe)
        started = said = time.monotonic()
        try:
            while True:
                ready = self._turn([server] if server else [], gate)
                # A server that died cannot be ready: a stranger answered in its place.
                if server is not None and (status := server.poll()) is not None:
                    raise self._server_never_ready(server, status)
                if ready:
                    self._console.say(f"server: ready after {duration(gate.result().seconds)}")
                    return
                if time.monotonic() - said >= NOTICE_S:
                    said = time.monotonic()
                    self._console.say(f"still waiting after {duration(said - started)}")
        except NotReadyError:
            if server is not None:
                self._show_tail(server)
            raise
        finally:
            gate.give_up()

    def _turn(self, children: Iterable[Child], gate: BackgroundGate | None = None) -> bool:
        """Wait for an event or a tick; true when the gate has a result.

        Raises:
            InterruptedRunError: a signal asked for the end.
        """
        fds = [child.pidfd for child in children]
        fds.append(self._signals.fd)
        if gate is not None:
            fds.append(gate.fd)
        readable = events.wait(fds, TICK_S)
        if self._signals.received:
            raise InterruptedRunError(self._signals.received[0])
        self._refresh()
        return gate is not None and gate.fd in readable

    def _refresh(self) -> None:
        self._console.steps(self._metrics.poll())
        if self._shown_log is not None:
            self._console.log(self._shown_log.read())
        for log, alarm in self._alarms.items():
            for text in alarm.poll():
                self._console.say(f"warning: {log}: {text}")

    def _tear_down(self) -> None:
        """End everything of this run, the learner first, and note how it ended."""
        if not self._children:
            return
        with self._noting():
            self._record.state("stopping")
        running = [name for name, child in self._children.items() if child.poll() is None]
        if running:
            self._console.say(f"stopping the {' and the '.join(running)}")
        left = tree.stop(
            list(self._children.values()),
            self._plan.deadlines,
            orphans=True,
            hurry=lambda: self._signals.received.count(signal.SIGINT) > 1,
        )
        self._refresh()
        for child in self._children.values():
            with self._noting():
                self._record.exited(child)
            child.close()
        for entry in left:
            self._console.say(f"warning: pid {entry.pid} does not end, not even when killed")

    def _server_never_ready(self, server: Child, status: int) -> NotReadyError:
        return NotReadyError(
            server.spec.log,
            f"the server ended with status {status} before it was ready",
            "its last lines are above",
        )

    def _server_died(self, status: int) -> ServerDiedError:
        server = self._children[SERVER]
        self._show_tail(server)
        return ServerDiedError(
            server.spec.log,
            f"the server died under the learner (status {status})",
            "its last lines are above; the learner has been stopped",
        )

    def _show_tail(self, child: Child) -> None:
        text = tail(self._cwd / child.spec.log)
        if text:
            self._console.say(f"--- last lines of {child.spec.log}\n{text}\n---")

    def _say_what_happened(self, name: str, status: int, seconds: float) -> None:
        steps = self._metrics.steps
        took = f"{duration(seconds)}, {self._plan.run_dir}"
        if status != 0:
            child = self._children[name]
            self._show_tail(child)
            self._console.say(f"the {name} ended with status {status} after {took}")
        elif steps and steps[0].reward is not None and steps[-1].reward is not None:
            first, last = steps[0].reward, steps[-1].reward
            self._console.say(f"reward {first:.2f} -> {last:.2f} in {steps[-1].step} steps, {took}")
        else:
            self._console.say(f"the {name} ended well after {took}")
