"""One attempt of a loop: stage after stage from where its state on disk is, until it ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from grpo_launch.base import atomic, codec
from grpo_launch.errors import PreflightError, TimeLimitError
from grpo_launch.execute import resume
from grpo_launch.execute.attempt import Attempt
from grpo_launch.execute.console import duration
from grpo_launch.execute.ended import Ended
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import (
    COLLECT,
    COLLECT_EVAL,
    LEARNER,
    RELOAD_STAGE,
    SELECT,
    SERVING,
    LaunchPlan,
    Loop,
    Stage,
)
from grpo_launch.planning import marks
from grpo_launch.runs import loop_state, plans, record
from grpo_launch.runs.loop_state import FAILED, SKIPPED, LoopState
from grpo_launch.runs.metrics import MetricsFollower, Step
from grpo_launch.runs.outputs import Outputs

CURRENT = "models/current"
"""Below the directory of a loop: a link to the newest model, once there was an update."""

RESTART = 75
"""The status of a reload that leaves it open what the servers serve (EX_TEMPFAIL)."""


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
        self._state = LoopState()
        self._servers: Attempt | None = None
        self._served = 0
        self._shown: Attempt | None = None

    @property
    def steps(self) -> list[Step]:
        """The iterations that have ended, as steps."""
        follower = MetricsFollower(self._directory, loop_state.METRICS)
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
            self._begin()
            ended = Ended(COLLECT, 0)
            while (following := self._state.next(self._loop)) is not None:
                state, stage = following
                if state.iteration != self._state.iteration:
                    self._keep()
                self._state = state
                ended = self._do(stage)
                if ended.status:
                    return ended
                self._write()
            if self._state.has_ended(self._loop):
                self._keep()
            return ended
        finally:
            self._close()

    # One stage

    def _do(self, stage: Stage) -> Ended:
        """Do a stage; the state has it then, unless it failed."""
        started, before = time.monotonic(), self._spent
        plan = self._filled(stage)
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
            figures = self._figures(stage)
            self._state = self._state.after(stage.name, seconds, figures)
            if stage.name == SELECT and self._kept(figures) == 0:
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

    def _kept(self, figures: Mapping[str, Any]) -> int:
        """How many episodes there are to train on.

        Raises:
            PreflightError: the selection does not say.
        """
        if (kept := figures.get("kept")) is None:
            directory = marks.directory(self._state.iteration)
            where = self._directory / "iterations" / directory / "data"
            fix = "remove it, then say resume=latest"
            raise PreflightError(str(where), "its card does not say what was kept", fix)
        return int(kept)

    def _may_fail(self, stage: Stage) -> bool:
        return stage.name == LEARNER and self._state.failures < self._loop.max_failures

    def _give_up(self, how: str, reason: str) -> None:
        """Go on without the update of this iteration."""
        self._say(f"warning: iteration {self._state.iteration}: update {how}: {reason}")
        self._state = self._state.without_update(how, reason)

    def _serving(self, stage: Stage, plan: LaunchPlan) -> Ended:
        """Do a job under servers that have the newest model."""
        logs = self._logs_of(plan)
        around = replace(self._around, plan=plan)
        if self._servers is not None and self._served != self._state.version:
            self._renew()
        if self._servers is None:
            self._free()
            self._told(stage)
            started = time.monotonic()
            self._shown = self._servers = Attempt(around, self._number, logs)
            self._served = self._state.version
            self._servers.open()
            self._note_servers(self._servers.plan)
            self._state = self._state.spent("serve", time.monotonic() - started)
        else:
            self._told(stage)
            around = replace(around, plan=_under(plan, self._servers.plan))
            self._servers.next_job(around, logs)
        return self._servers.work()

    def _note_servers(self, plan: LaunchPlan) -> None:
        """Keep the plan of the servers that run, for what asks them."""
        path = self._directory / SERVING / plans.NAME
        try:
            path.parent.mkdir(exist_ok=True)
            atomic.write(path, plan.to_json())
        except OSError as error:
            raise self._unwritten(error) from None

    def _renew(self) -> None:
        """Give the servers the newest model, or end them."""
        if (stage := self._loop.reload) is not None and self._servers is not None:
            started = time.monotonic()
            plan = self._filled(stage)
            logs = self._logs_of(plan)
            around = replace(self._around, plan=_under(plan, self._servers.plan))
            self._servers.next_job(around, logs)
            ended = self._servers.work()
            self._state = self._state.spent(RELOAD_STAGE, time.monotonic() - started)
            if ended.status == 0:
                self._served = self._state.version
                return
            self._say(f"warning: {ended.reason}; the servers are restarted")
        self._close()

    def _alone(self, stage: Stage, plan: LaunchPlan) -> Ended:
        """Do a job that asks no server; servers that take new models meanwhile go on."""
        if self._loop.reload is None:
            self._close()
        if stage.name == LEARNER:
            self._free()
        self._told(stage)
        around, logs = replace(self._around, plan=plan), self._logs_of(plan)
        if stage.name == LEARNER and self._number > 1:
            outputs = Outputs(plan, around.cwd / plan.output_dir, logs.parent, alone=True)
            around, _ = resume.prepared(around, outputs, self._number)
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

    def _free(self) -> None:
        """Wait until the devices are free that servers and learner share."""
        if (stage := self._loop.free) is None:
            return
        plan = self._filled(stage)
        attempt = self._shown = Attempt(replace(self._around, plan=plan), 1, self._logs_of(plan))
        try:
            attempt.open()
            ended = attempt.work()
        finally:
            attempt.close()
        if ended.status:
            what = ended.why or f"the devices are not free (status {ended.status})"
            fix = "end what uses them, or raise gpu_wait.timeout_s"
            raise PreflightError("gpu_wait", what, fix)

    # Plans and files

    def _filled(self, stage: Stage) -> LaunchPlan:
        """The plan of a stage in this iteration."""
        state = self._state
        model = self._model()
        return marks.filled(stage.plan, state.iteration, state.version, model, sys.executable)

    def _model(self) -> str:
        """The newest model, as it is served."""
        try:
            return os.path.realpath(self._directory / CURRENT, strict=True)
        except OSError as error:
            if self._state.version:
                what = (
                    f"leads to no model ({error.strerror}), that of {self._state.version} updates"
                )
                fix = "restore it, or let the link lead to another one"
                raise PreflightError(str(self._directory / CURRENT), what, fix) from None
            return self._loop.model

    def _logs_of(self, plan: LaunchPlan) -> Path:
        """The directory of the logs of a stage; the files of the stage's plan are there then.

        Raises:
            PreflightError: they cannot be written.
        """
        logs = self._around.cwd / plan.run_dir / "logs" / self.logs.name
        try:
            logs.mkdir(parents=True, exist_ok=True)
            for file in plan.files:
                path = self._around.cwd / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file.text, encoding="utf-8")
            for spec in plan.of_attempt:
                _point(self._directory / "logs" / f"{spec.name}.log", logs / f"{spec.name}.log")
        except OSError as error:
            what = f"cannot be written ({error.strerror})"
            raise PreflightError(str(logs), what, "make room, then say resume=latest") from None
        return logs

    def _figures(self, stage: Stage) -> Mapping[str, Any]:
        """The numbers that a stage left."""
        if not stage.figures:
            return {}
        state = self._state
        named = replace(stage.plan, output_dir=stage.figures)
        path = marks.filled(named, state.iteration, state.version, self._model()).output_dir
        try:
            body = codec.read(self._around.cwd / path)
        except (OSError, ValueError):
            return {}
        return {name: value for name, value in body.items() if type(value) in (int, float)}

    def _begin(self) -> None:
        try:
            self._state = loop_state.read(self._directory).bounded(self._loop)
            loop_state.write(self._directory, self._state)
        except ValueError as error:
            fix = "restore it, or choose another loop.dir"
            raise PreflightError(str(self._directory), str(error), fix) from None
        except OSError as error:
            raise self._unwritten(error) from None
        if self._state.row.seconds or self._state.done:
            self._say(f"going on in iteration {self._state.iteration}")

    def _write(self) -> None:
        try:
            loop_state.write(self._directory, self._state)
        except OSError as error:
            raise self._unwritten(error) from None

    def _keep(self) -> None:
        """Add the line of the iteration that has ended."""
        try:
            loop_state.keep(self._directory, self._state)
        except OSError as error:
            raise self._unwritten(error) from None
        row = self._state.row
        named = (("reward", COLLECT), ("eval", COLLECT_EVAL))
        known = ((name, row.figure(stage, "reward")) for name, stage in named)
        facts = [f"{name} {value:.3f}" for name, value in known if value is not None]
        facts += [f"update {row.update}"] if row.update else []
        facts.append(duration(sum(row.seconds.values())))
        self._say(f"iteration {row.iteration}: {', '.join(facts)}")

    def _unwritten(self, error: OSError) -> PreflightError:
        what = f"cannot be kept ({error.strerror})"
        fix = "make room, then say resume=latest"
        return PreflightError(str(self._directory / loop_state.NAME), what, fix)

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


def _point(link: Path, target: Path) -> None:
    """Point a link in the run directory at the newest log of its name."""
    fresh = link.with_name(f".{link.name}")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)
