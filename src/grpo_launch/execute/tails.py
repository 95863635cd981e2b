"""The last lines of the logs of an attempt, for the console."""

from __future__ import annotations

from pathlib import Path

from grpo_launch.base import redaction
from grpo_launch.execute.console import tail
from grpo_launch.execute.surroundings import Surroundings


class Tails:
    """Shows how the logs of one attempt end.

    Args:
        around: what the attempts share.
        logs: the directory of this attempt's logs.
    """

    def __init__(self, around: Surroundings, logs: Path) -> None:
        self._around = around
        self._logs = logs

    def log(self, name: str) -> str:
        """The path of a process's log, as the plan has it."""
        spec = self._around.plan.process(name)
        return spec.log if spec else name

    def read(self, name: str) -> str:
        """The last lines of a process's log."""
        return tail(self._logs / f"{name}.log", redaction.secrets(self._around.environ))

    def say(self, name: str, text: str) -> None:
        """Show what was read before; nothing where that is empty."""
        if text:
            self._around.console.say(f"--- last lines of {self.log(name)}\n{text}\n---")

    def show(self, name: str) -> None:
        """Read and show."""
        self.say(name, self.read(name))
