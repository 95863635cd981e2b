"""What the console of a run said, kept in the run's directory.

A supervisor without a terminal writes there itself; one in a terminal of its own, which closes
with it, keeps a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grpo_launch.config.choices import ConsoleMode
from grpo_launch.execute.console import Console
from grpo_launch.runs.metrics import Step

LOG = "logs/launcher.log"
"""What the launcher said, below the run directory."""


class CopiedConsole(Console):
    """A console whose words go to a log as well; its bar is lines there.

    Args:
        mode: what to show of the learner.
        log: appended to.
        hidden: texts that are shown as stars.
    """

    def __init__(self, mode: ConsoleMode, log: Path, hidden: Sequence[str] = ()) -> None:
        super().__init__(mode, hidden=hidden)
        self._copy: Console | None = None
        plain = ConsoleMode.auto if mode is ConsoleMode.progress else mode
        try:
            file = open(log, "a", encoding="utf-8", errors="replace")  # noqa: SIM115
        except OSError as error:
            super().say(f"warning: {log}: cannot be written ({error.strerror})")
        else:
            self._copy = Console(plain, file, hidden=hidden)

    def say(self, text: str) -> None:
        """One line of the launcher's own."""
        super().say(text)
        if self._copy is not None:
            self._copy.say(text)

    def log(self, text: str) -> None:
        """Output of a process."""
        super().log(text)
        if self._copy is not None:
            self._copy.log(text)

    def steps(self, steps: Sequence[Step]) -> None:
        """Steps that the learner finished."""
        super().steps(steps)
        if self._copy is not None:
            self._copy.steps(steps)

    def close(self) -> None:
        """Take the bar away, show what was held back; calling it again is harmless."""
        super().close()
        if self._copy is not None:
            self._copy.close()

    def drain(self) -> None:
        """Close, and wait a moment until all is written."""
        super().drain()
        if self._copy is not None:
            self._copy.drain()


def of(mode: ConsoleMode, hidden: Sequence[str], log: Path | None) -> Console:
    """The console of a run; ``log`` keeps a copy of what it says, None: nobody needs one."""
    return CopiedConsole(mode, log, hidden) if log else Console(mode, hidden=hidden)
