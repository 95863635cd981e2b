"""The side processes of an attempt: nothing waits for them, and their end ends nothing."""

from __future__ import annotations

from collections.abc import Callable

from grpo_launch.errors import PreflightError
from grpo_launch.plan import ProcessSpec, called
from grpo_launch.supervise.process import GuardedProcess


class Sides:
    """Those that run.

    Args:
        start: starts a process.
        say: tells the person.
    """

    def __init__(
        self, start: Callable[[ProcessSpec], GuardedProcess], say: Callable[[str], None]
    ) -> None:
        self._start = start
        self._say = say
        self._running: dict[str, GuardedProcess] = {}

    def start(self, spec: ProcessSpec) -> None:
        """Start one; that it cannot be started is said, no more."""
        try:
            self._running[spec.name] = self._start(spec)
        except PreflightError as error:
            self._say(f"warning: {error}")

    def look(self) -> None:
        """Tell once of each that has ended."""
        for name in [name for name, side in self._running.items() if not side.is_running]:
            status = self._running.pop(name).status
            how = "its guard was killed" if status is None else f"status {status}"
            self._say(f"warning: {called(name)} has ended ({how}), the run goes on without it")
