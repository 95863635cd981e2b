"""The last lines of the logs of an attempt, for the console."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grpo_launch.base import redaction
from grpo_launch.execute.console import last_lines
from grpo_launch.execute.ended import why
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.runs import failure


class Tails:
    """Shows how the logs of one attempt end.

    Args:
        around: what the attempts share.
        logs: the directory of this attempt's logs.
        shows: whether the console has shown already what a process wrote.
    """

    def __init__(self, around: Surroundings, logs: Path, shows: Callable[[str], bool]) -> None:
        self._around = around
        self._logs = logs
        self._shows = shows

    def log(self, name: str) -> str:
        """The path of a process's log, as the plan has it."""
        spec = self._around.plan.process(name)
        return spec.log if spec else name

    def end(self, name: str) -> bytes:
        """What a process's log ends with now."""
        return failure.end_of(self._logs / f"{name}.log")

    def why(self, name: str, status: int, end: bytes) -> str:
        """Why a process failed, as far as that tells; empty where it did not."""
        return why(name, status, self._around, end)

    def say(self, name: str, end: bytes) -> None:
        """Show the last lines of that; nothing where there are none or they have been shown."""
        text = last_lines(end, redaction.secrets(self._around.environ))
        if text and not self._shows(name):
            self._around.console.say(f"--- last lines of {self.log(name)}\n{text}\n---")

    def show(self, name: str) -> None:
        """Read and show."""
        self.say(name, self.end(name))
