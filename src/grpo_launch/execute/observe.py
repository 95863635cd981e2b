"""What can be seen of a training while it runs: logs, metrics, progress."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.base.tailing import TextTail
from grpo_launch.execute.console import Console
from grpo_launch.plan import LaunchPlan, ProcessSpec
from grpo_launch.runs.metrics import MetricsFollower, Step
from grpo_launch.supervise.alarm import LogAlarm


@dataclass(frozen=True)
class Alarm:
    """What a log told of stale rollouts.

    Attributes:
        process: whose log it is.
        log: the file.
        message: the text that was found, and what it means.
    """

    process: str
    log: str
    message: str


class Observer:
    """Follows the logs of an attempt; the processes write them themselves.

    Args:
        plan: what is being executed.
        cwd: what the plan's output directory is relative to.
        logs: the directory of the attempt's logs.
        console: what the person sees.

    Attributes:
        alarms: what the logs have told of stale rollouts.
        has_begun: whether the job has done its first step; where nothing tells of steps,
            whether it has written anything.
    """

    def __init__(self, plan: LaunchPlan, cwd: Path, logs: Path, console: Console) -> None:
        self._console = console
        self._tails: dict[str, TextTail] = {}
        self._alarms: dict[str, LogAlarm] = {}
        self._asked: dict[str, int] = {}
        self.alarms: list[Alarm] = []
        self.follow(plan, cwd, logs)

    def follow(self, plan: LaunchPlan, cwd: Path, logs: Path) -> None:
        """Follow another job; the services of both plans are the same, and go on.

        Args:
            plan: of the other job.
            cwd: as before.
            logs: the directory of the logs of what was not followed before.
        """
        self._plan = plan
        for spec in plan.of_attempt:
            if spec in plan.team or spec.name not in self._tails:
                self._tails[spec.name] = TextTail(logs / f"{spec.name}.log")
                self._alarms[spec.name] = LogAlarm(spec.signs.alarms)
        log = logs / f"{plan.job}.log"
        self._metrics = MetricsFollower(cwd / plan.output_dir, plan.metrics, log)
        self._shown = _shown(plan, self._console)
        self._beginning: dict[str, str] = dict.fromkeys(self._shown, "")
        self._looked = 0.0
        self._progressed = False
        self.has_begun = False

    @property
    def steps(self) -> list[Step]:
        """The optimizer steps that were logged in this attempt."""
        return self._metrics.steps

    def look(self, *, at_most_every_s: float = 0.2) -> None:
        """Take in what is new; more often than ``at_most_every_s`` is for nothing."""
        now = time.monotonic()
        if now - self._looked < at_most_every_s:
            return
        self._looked = now
        steps = self._metrics.poll()
        self._console.steps(steps)
        for spec in self._plan.of_attempt:
            text = self._tails[spec.name].read()
            if spec.name in self._shown:
                self._console.log(self._labelled(spec, text))
            if spec.name in (self._plan.job, *self._plan.members):
                self._progressed |= bool(text or steps)
                self.has_begun |= bool(steps or (text and self._plan.metrics is None))
            elif spec.signs.served:
                self._progressed |= self._serves_others(spec, text)
            for message in self._alarms[spec.name].heard(text):
                self.alarms.append(Alarm(spec.name, spec.log, message))
                self._console.say(f"warning: {spec.log}: {message}")

    def shows(self, name: str) -> bool:
        """Whether the console shows what the process writes, as it comes."""
        return name in self._shown

    def asked(self, server: str) -> None:
        """Note that the watchdog asks ``server`` for a token itself: the answer is no progress."""
        self._asked[server] = self._asked.get(server, 0) + 1

    def _serves_others(self, spec: ProcessSpec, text: str) -> bool:
        served, asked = text.count(spec.signs.served), self._asked.get(spec.name, 0)
        own = min(served, asked)
        self._asked[spec.name] = asked - own
        return served > own

    def _labelled(self, spec: ProcessSpec, text: str) -> str:
        """The text of a log; of several logs only whole lines, each with its name before it."""
        if len(self._shown) == 1:
            return text
        *lines, self._beginning[spec.name] = (self._beginning[spec.name] + text).split("\n")
        return "".join(f"{spec.name} | {line}\n" for line in lines)

    def has_progressed(self) -> bool:
        """Whether the training went on since the last call."""
        progressed, self._progressed = self._progressed, False
        return progressed


def _shown(plan: LaunchPlan, console: Console) -> tuple[str, ...]:
    """The processes whose output a person sees: services that are alone, or the job's."""
    if plan.job is None:
        return tuple(spec.name for spec in plan.services)
    return (plan.job,) if console.shows_log else ()
