"""What can be seen of a training while it runs: logs, metrics, progress."""

from __future__ import annotations

import time
from pathlib import Path

from grpo_launch.console import Console
from grpo_launch.plan import LEARNER, SERVER, LaunchPlan
from grpo_launch.runs.metrics import MetricsFollower, Step
from grpo_launch.supervise.follow import LogAlarm, LogFollower


class Observer:
    """Follows the logs of an attempt; the processes write them themselves.

    Args:
        plan: what is being executed.
        cwd: what the plan's output directory is relative to.
        logs: the directory of the attempt's logs.
        console: what the person sees.
    """

    def __init__(self, plan: LaunchPlan, cwd: Path, logs: Path, console: Console) -> None:
        self._plan = plan
        self._console = console
        self._followers = {
            spec.name: LogFollower(logs / f"{spec.name}.log") for spec in plan.processes
        }
        self._alarms = {spec.name: LogAlarm(spec.alarms) for spec in plan.processes}
        self._metrics = MetricsFollower(cwd / plan.output_dir)
        only_server = len(plan.processes) == 1 and plan.process(SERVER) is not None
        self._shown = SERVER if only_server else LEARNER if console.shows_log else None
        self._looked = 0.0
        self._progressed = False
        self._asked = 0

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
        for name, follower in self._followers.items():
            text = follower.read()
            if name == self._shown:
                self._console.log(text)
            if name == LEARNER:
                self._progressed |= bool(text or steps)
            if name == SERVER:
                self._progressed |= self._serves_others(text)
            for message in self._alarms[name].heard(text):
                spec = self._plan.process(name)
                self._console.say(f"warning: {spec.log if spec else name}: {message}")

    def asked(self) -> None:
        """Note that the watchdog asks for a token itself: the server's answer is no progress."""
        self._asked += 1

    def _serves_others(self, text: str) -> bool:
        served = text.count(self._plan.watchdog.served)
        own = min(served, self._asked)
        self._asked -= own
        return served > own

    def has_progressed(self) -> bool:
        """Whether the training went on since the last call."""
        progressed, self._progressed = self._progressed, False
        return progressed
