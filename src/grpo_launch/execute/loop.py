"""One attempt of a loop: stage after stage from where its state on disk is, until it ends."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path

from grpo_launch.errors import NotReadyError, PreflightError, TimeLimitError
from grpo_launch.execute import resume
from grpo_launch.execute.attempt import Attempt
from grpo_launch.execute.console import duration
from grpo_launch.execute.ended import Ended
from grpo_launch.execute.loop_files import CURRENT, LoopFiles
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import (
    COLLECT,
    COLLECT_EVAL,
    LEARNER,
    RELOAD_STAGE,
    SELECT,
    LaunchPlan,
    Loop,
    Stage,
)
from grpo_launch.runs import record
from grpo_launch.runs.loop_state import FAILED, SKIPPED, LoopState
from grpo_launch.runs.metrics import MetricsFollower, Step
from grpo_launch.runs.outputs import Outputs


class LoopAttempt:
    """One attempt; used once.

    Args:
        around: what the attempts share.
        number: from 1.
        logs: the directory of this attempt's own logs, absolute; it exists.

    Attributes:
        logs: the same.
    """

    def __init__(self, around: Surroundings, loop: Loop, number: int, logs: Path) -> None:
        self._around = around
        self._loop = loop
        self._number = number
        self._say = around.console.say
        self._directory = around.record.directory
        self.logs = logs
        self._files = LoopFiles(around, loop, logs.name)
        self._state = LoopState()
        self._servers: Attempt | None = None
        self._served = 0
        self._shown: Attempt | None = None

    @property
    def steps(self) -> list[Step]:
        """The iterations that have ended, as steps."""
        follower = MetricsFollower(self._directory, self._around.plan.metrics)
        follower.poll()
        return follower.steps

    def show_tail(self, name: str) -> None:
        """Show the last lines of the log of the job that ended the attempt."""
        if self._shown is not None:
            self._shown.show_tail(name)

    def run(self) -> Ended:
        """Do what is left of the loop; everything of the attempt has ended then.

        Returns:
            How the job ended that was the last one, or that failed.

        Raises:
            LaunchError: as of ``Attempt.run``.
            PreflightError: the state cannot be read or written.
        """
        try:
            self._state = self._files.begin()
            if self._state.row.seconds or self._state.done:
                self._say(f"going on in iteration {self._state.iteration}")
            while (following := self._state.next(self._loop)) is not None:
                state, stage = following
                if state.iteration != self._state.iteration:
                    self._keep()
                self._state = state
                ended = self._do(stage)
                if ended.status:
                    return ended
                self._files.write(self._state)
            if self._state.has_ended(self._loop):
                self._keep()
            return Ended("the loop", 0)
        finally:
            self._close()

    # One stage

    def _do(self, stage: Stage) -> Ended:
        """Do a stage; the state has it then, unless it failed."""
        started, before = time.monotonic(), self._spent
        plan = self._files.filled(stage, self._state)
        try:
            if plan.main is not None and plan.main.done and Path(plan.main.done).exists():
                ended = Ended(stage.name, 0)  # the launcher was killed before it could note that
            elif stage.serves:
                ended = self._serving(stage, plan)
            else:
                ended = self._alone(stage, plan)
        except TimeLimitError as error:
            ended = Ended(stage.name, error.status, error.reason)
            if not self._may_fail(stage):
                raise
        seconds = time.monotonic() - started - (self._spent - before)
        if ended.status == 0:
            figures = self._files.figures(stage, self._state)
            self._state = self._state.after(stage.name, seconds, figures)
            if stage.name == SELECT and not figures["kept"]:
                self._give_up(SKIPPED, "no episode was good enough to train on")
        elif self._may_fail(stage):
            self._state = self._state.spent(stage.name, seconds)
            self.show_tail(ended.name)
            self._give_up(FAILED, ended.reason)
            return Ended(stage.name, 0)
        return ended

    @property
    def _spent(self) -> float:
        """Seconds of this iteration that stages have counted already."""
        return sum(self._state.row.seconds.values())

    def _may_fail(self, stage: Stage) -> bool:
        return stage.name == LEARNER and self._state.failures < self._loop.max_failures

    def _give_up(self, how: str, reason: str) -> None:
        """Go on without the update of this iteration."""
        self._say(f"warning: iteration {self._state.iteration}: update {how}: {reason}")
        self._state = self._state.without_update(how, reason)

    def _serving(self, stage: Stage, plan: LaunchPlan) -> Ended:
        """Do a job under servers that have the newest model."""
        logs = self._files.prepare(plan)
        around = replace(self._around, plan=plan)
        if self._servers is not None and self._served != self._state.version:
            self._renew()
        if self._servers is None:
            self._free()
            self._told(stage)
            servers = self._open(around, logs)
            if self._served == self._state.version:
                return servers.work()
            self._renew()
        assert self._servers is not None
        self._told(stage)
        around = replace(around, plan=_under(plan, self._servers.plan))
        self._servers.next_job(around, logs)
        return self._servers.work()

    def _open(self, around: Surroundings, logs: Path) -> Attempt:
        """Start the servers; what those of others serve after an update, nobody knows."""
        started = time.monotonic()
        self._shown = self._servers = Attempt(around, self._number, logs)
        self._served = self._state.version if around.plan.services else 0
        self._servers.open()
        self._files.note_servers(self._servers.plan)
        self._state = self._state.spent("serve", time.monotonic() - started)
        return self._servers

    def _renew(self) -> None:
        """Give the servers the newest model, or end them.

        Raises:
            NotReadyError: they are those of others, and do not take it.
        """
        if (stage := self._loop.reload) is not None and self._servers is not None:
            started = time.monotonic()
            plan = self._files.filled(stage, self._state)
            logs = self._files.prepare(plan)
            around = replace(self._around, plan=_under(plan, self._servers.plan))
            self._servers.next_job(around, logs)
            ended = self._servers.work()
            self._state = self._state.spent(RELOAD_STAGE, time.monotonic() - started)
            if ended.status == 0:
                self._served = self._state.version
                return
            self.show_tail(ended.name)
            if not self._servers.plan.services:
                fix = f"restart it with {self._directory / CURRENT}, then say resume=latest"
                raise NotReadyError(around.plan.gates[0].url, ended.reason, fix)
            self._say(f"warning: {ended.reason}; the servers are restarted")
        self._close()

    def _alone(self, stage: Stage, plan: LaunchPlan) -> Ended:
        """Do a job that asks no server; servers that take new models meanwhile go on."""
        if self._loop.reload is None:
            self._close()
        if stage.name == LEARNER:
            self._free()
        self._told(stage)
        around, logs = replace(self._around, plan=plan), self._files.prepare(plan)
        if stage.name == LEARNER and self._number > 1:
            around = self._resumed(around, logs)
        if self._servers is not None:
            plan = _under(around.plan, self._servers.plan)
            self._servers.next_job(replace(around, plan=plan), logs)
            return self._servers.work()
        attempt = self._shown = Attempt(around, self._number, logs)
        try:
            attempt.open()
            return attempt.work()
        finally:
            attempt.close()

    def _resumed(self, around: Surroundings, logs: Path) -> Surroundings:
        """``around`` with a learner that goes on where an earlier attempt left it, if one has."""
        output, is_begun = around.cwd / around.plan.output_dir, False
        with contextlib.suppress(OSError):
            is_begun = any(output.iterdir())
        if not is_begun:
            return around
        outputs = Outputs(around.plan, output, logs.parent, alone=True)
        return resume.prepared(around, outputs, self._number)[0]

    def _free(self) -> None:
        """Wait until the devices are free that servers and learner share."""
        if (stage := self._loop.free) is None:
            return
        plan = self._files.filled(stage, self._state)
        attempt = self._shown = Attempt(
            replace(self._around, plan=plan), 1, self._files.prepare(plan)
        )
        try:
            attempt.open()
            ended = attempt.work()
        finally:
            attempt.close()
        if ended.status:
            self.show_tail(ended.name)
            what = ended.why or f"the devices are not free (status {ended.status})"
            fix = "end what uses them, or raise gpu_wait.timeout_s"
            raise PreflightError("gpu_wait", what, fix)

    def _keep(self) -> None:
        """Add the line of the iteration that has ended."""
        self._files.keep(self._state)
        row = self._state.row
        named = (("reward", COLLECT), ("eval", COLLECT_EVAL))
        known = ((name, row.figure(stage, "reward")) for name, stage in named)
        facts = [f"{name} {value:.3f}" for name, value in known if value is not None]
        facts += [f"update {row.update}"] if row.update else []
        facts.append(duration(sum(row.seconds.values())))
        self._say(f"iteration {row.iteration}: {', '.join(facts)}")

    def _told(self, stage: Stage) -> None:
        with self._around.noting():
            at = f"iteration {self._state.iteration}: {stage.name}"
            self._around.record.enter(record.TRAINING, at)
        self._say(f"iteration {self._state.iteration}: {stage.name}")

    def _close(self) -> None:
        if self._servers is not None:
            servers, self._servers = self._servers, None
            servers.close()


def _under(plan: LaunchPlan, servers: LaunchPlan) -> LaunchPlan:
    """``plan`` with the services and gates of servers that go on meanwhile."""
    return replace(plan, processes=(*servers.services, *plan.team), gates=servers.gates)
