"""One attempt of a run: start services, gate, start the job, and end everything again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from grpo_launch.errors import (
    AlarmError,
    PreflightError,
    StalledError,
    TimeLimitError,
    one_line,
)
from grpo_launch.execute import waiting
from grpo_launch.execute.console import duration
from grpo_launch.execute.deaths import Deaths
from grpo_launch.execute.ended import GONE, Ended, dead_engine, gone_server
from grpo_launch.execute.observe import Observer
from grpo_launch.execute.processes import WITNESS, Processes
from grpo_launch.execute.rehearsing import Rehearsing
from grpo_launch.execute.sides import Sides
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.execute.tails import Tails
from grpo_launch.plan import Gate, LaunchPlan, ProcessSpec, called
from grpo_launch.runs import record
from grpo_launch.runs.metrics import Step
from grpo_launch.supervise.process import GuardedProcess, bypassed
from grpo_launch.supervise.watchdog import Duty, ServerHealth, Watch

PROBE_S = 60.0
"""How long a server may take for one token while the training makes no progress."""


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
        self._number = number
        self.observer = Observer(around.plan, around.cwd, logs, around.console)
        self._processes = Processes(around, logs, self._look)
        self._follow(around, logs)
        self._rehearsing = Rehearsing(around, self._processes, logs)
        self._is_blind = False
        self._services: dict[str, GuardedProcess] = {}
        self._sides = Sides(self._start, around.console.say)
        self._health = {
            gate.server: ServerHealth(gate, around.environ) for gate in around.plan.gates
        }

    @property
    def plan(self) -> LaunchPlan:
        """What it executes now."""
        return self._plan

    @property
    def steps(self) -> list[Step]:
        """The optimizer steps that were logged."""
        return self.observer.steps

    def run(self) -> Ended:
        """Supervise until something ends; everything of the attempt has ended then.

        Returns:
            The process whose end was the attempt's: the job where there is one, else the
            first service that failed.

        Raises:
            LaunchError: see :meth:`open` and :meth:`work`.
        """
        try:
            self.open()
            if not self._plan.team:
                return self._serve()
            ended = self.work()
            if ended.status == 0:
                self._processes.stop()
                with self._around.noting():
                    self._around.record.trained(ended.reason)
            return ended
        finally:
            self.close()

    def open(self) -> None:
        """Start the services and wait until they serve.

        Raises:
            LaunchError: as of :meth:`work`; and
            NotReadyError: a server never became ready.
        """
        self._tell_of_proxies()
        names = [spec.name for spec in self._plan.of_attempt]
        # Two guards before anything starts: one could be killed with the launcher.
        for name in names if len(names) > 1 else (*names, WITNESS):
            self._processes.guard(name)
        for spec in self._plan.services:
            self._services[spec.name] = self._start(spec)
        if self._number == 1:
            self._rehearsing.start()
        if self._plan.gates:
            look = self._rehearsing.look
            waiting.wait_for_servers(self._around, self._processes, self._deaths, look)
        for spec in self._plan.sides:
            self._sides.start(spec)
        if not self._plan.team:
            self._enter(record.SERVING)

    def next_job(self, around: Surroundings, logs: Path) -> None:
        """Take another job, for :meth:`work`; the services go on.

        Args:
            around: with a plan that has the same services.
            logs: the directory of that job's log, absolute; it exists.

        Raises:
            PreflightError: its guard cannot be started.
            InterruptedRunError: a signal asked for the end.
        """
        ended = [self._processes.guarded[spec.name] for spec in self._plan.team]
        self._around.console.next_job()
        self._processes.follow(around, logs)
        self.observer.follow(around.plan, around.cwd, logs)
        self._follow(around, logs)
        names = [spec.name for spec in self._plan.team]
        for process in ended:
            if process.name in names:
                self._processes.end(process)
        # Before the others end: one guard alone could be killed with the launcher.
        for name in names:
            self._processes.guard(name)
        for process in ended:
            if process.name not in names:
                self._processes.end(process)

    def work(self) -> Ended:
        """Do the job under the services.

        Returns:
            How it ended; the services are there unless it failed.

        Raises:
            ServerDiedError: a server, or the engine behind it, died under the job, or a
                server ended that nobody had stopped.
            GuardLostError: a guard was killed.
            StalledError: no progress, and the plan says that this ends an attempt.
            AlarmError: the rollouts are stale, and the plan says that this ends an attempt.
            TimeLimitError: the job was not done in time.
            PreflightError: a process could not be started.
            RefusedError: a rehearsal: the job will not take its arguments.
            InterruptedRunError: a signal asked for the end.
        """
        team = [self._start(spec) for spec in self._plan.team]
        self._enter(record.TRAINING)
        return self._train(team)

    def close(self) -> None:
        """End everything of the attempt."""
        self._processes.tear_down()
        self._look(at_most_every_s=0)

    def _follow(self, around: Surroundings, logs: Path) -> None:
        self._around, self._plan, self.logs = around, around.plan, logs
        self._say = around.console.say
        self._tails = Tails(around, logs, self.observer.shows)
        self._deaths = Deaths(around, self._processes, self._tails)

    def _enter(self, state: str) -> None:
        with self._around.noting():
            self._around.record.enter(state)

    def _look(self, **options: float) -> None:
        """Look at the training; nothing that is not understood is a reason to end it."""
        told = len(self.observer.alarms)
        try:
            self.observer.look(**options)
            for alarm in self.observer.alarms[told:]:
                with self._around.noting():
                    self._around.record.alarm(alarm.process, alarm.message)
        except Exception as error:
            if not self._is_blind:
                self._is_blind = True
                why = one_line(f"{type(error).__name__}: {error}")
                self._say(f"warning: the run goes on, but cannot be followed ({why})")

    def _tell_of_proxies(self) -> None:
        """Say once what is reached without the proxy of the environment."""
        specs = self._plan.of_attempt if self._number == 1 else ()
        if names := ", ".join(bypassed(specs, self._around.environ)):
            self._say(f"NO_PROXY: with {names}, so that no proxy stands before the rollout server")

    def show_tail(self, name: str) -> None:
        """Show the last lines of a process's log."""
        self._tails.show(name)

    def _start(self, spec: ProcessSpec) -> GuardedProcess:
        process = self._processes.start(spec)
        visible = spec.env.get("CUDA_VISIBLE_DEVICES")
        where = f" on GPU {','.join(spec.devices)}" if visible else ""
        self._say(f"{spec.name}: started{where}, pid {process.pid}, log {spec.log}")
        return process

    def _look_at_rehearsal(self) -> None:
        """A refusal counts until the job has logged a step, which is the better witness."""
        if self.observer.steps:
            self._rehearsing.give_up()
        self._rehearsing.look()

    def _serve(self) -> Ended:
        """Until a service ends."""
        while True:
            for name, service in self._services.items():
                if not service.is_running:
                    ended = Ended.of(service, self._around, self.logs)
                    if ended.status == 0:  # as vLLM's, when its engine has died
                        raise self._deaths.of_itself(name)
                    return ended
            self._deaths.check_engines()
            self._heed_alarms()
            self._sides.look()
            self._processes.turn()

    def _train(self, team: Sequence[GuardedProcess]) -> Ended:
        """Until the job ends, which no service may do before.

        Args:
            team: its process, and those that are one job with it.
        """
        watch, started = Watch(self._plan.watchdog), time.monotonic()
        while any(member.status != 0 for member in team):
            # First the services: a job that fails then fails because of one.
            for name, service in self._services.items():
                if not service.is_running:
                    raise self._deaths.of_server(name, service)
            self._deaths.check_engines()
            self._heed_alarms()
            if failed := [m for m in team if not m.is_running and m.status != 0]:
                self._rehearsing.last_words()
                # Where one member fails, others fail because of it.
                first = min(failed, key=lambda member: member.ended_at)
                ended = Ended.of(first, self._around, self.logs)
                if gone := gone_server(self._around, self._services, self._processes):
                    raise self._deaths.elsewhere(gone, GONE)
                if dead := dead_engine(self._around, self._services, self._processes):
                    service = self._services[dead]
                    if service.is_running:
                        raise self._deaths.of_engine(dead)
                    raise self._deaths.of_server(dead, service)
                return ended
            self._look_at_rehearsal()
            self._sides.look()
            self._heed_time_limit(time.monotonic() - started)
            self._watch_over(watch)
            self._processes.turn()
        self._look(at_most_every_s=0)  # the last batches may have been stale
        self._heed_alarms()
        return Ended(team[0].name, 0)

    def _heed_time_limit(self, seconds: float) -> None:
        """End the run whose job may not take longer.

        Raises:
            TimeLimitError: it has run for ``seconds``, which is too long.
        """
        job = self._plan.main
        if job is not None and job.timeout_s is not None and seconds >= job.timeout_s:
            what = f"was not done after {job.timeout_s:g} s, the time that it has"
            raise TimeLimitError(called(job.name), what, "raise learner.timeout_s")

    # What can go wrong behind a living process

    def _heed_alarms(self) -> None:
        """End the attempt where rollouts are stale and the plan does not only warn of it.

        Raises:
            AlarmError: the first that was raised.
        """
        if self.observer.alarms and self._plan.watchdog.on_alarm != "warn":
            alarm = self.observer.alarms[0]
            fix = "look there for the reason; watchdog.on_alarm=warn would train on"
            raise AlarmError(alarm.log, alarm.message, fix)

    def _watch_over(self, watch: Watch) -> None:
        """Do what the watchdog asks for.

        Raises:
            ServerDiedError: a server or its engine is gone.
            StalledError: no progress, and the plan says that this ends an attempt.
        """
        if self.observer.has_begun:
            watch.begun()
        for gate in self._plan.gates:
            self._take_health(gate)
        serves = [health.has_progressed() for health in self._health.values()]
        if self.observer.has_progressed() or any(serves):
            watch.progress()
        for name, answer in self._processes.answers().items():
            if answer.error is not None and not answer.timed_out:
                if name in self._services:
                    raise self._deaths.of_engine(name)
                raise self._deaths.elsewhere(name, "gives no token any more, its engine is dead")
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
                    self._health[gate.server].asked()

    def _take_health(self, gate: Gate) -> None:
        health = self._health[gate.server]
        if not health.take():
            return
        if health.is_gone and gate.server not in self._services:
            raise self._deaths.elsewhere(gate.server, GONE)
        if health.has_fallen_silent:
            self._say(f"warning: {gate.url}: {health.problem}")

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
