"""What a supervisor that was killed left of its run, before another one goes on with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from grpo_launch.plan import Deadlines
from grpo_launch.supervise import guard, proc, tree

_PATIENCE_S = 30.0
"""Seconds beyond a guard's own deadlines: it also searches the logs for secrets."""


def ended(
    run: str, names: Container[str], deadlines: Deadlines, tell: Callable[[str], None]
) -> list[int]:
    """Wait until the guards of a run have ended its processes; what has no guard is ended here.

    A guard that is still there would take the record of the next attempt for its own.

    Args:
        run: the run directory, absolute, as its supervisor was given it.
        names: of the processes in the run's plan.
        deadlines: of its teardown.
        tell: gets a line where this takes a moment.

    Returns:
        The pids of what is there all the same.
    """
    until = time.monotonic() + 2 * (deadlines.term_s + deadlines.kill_s) + _PATIENCE_S
    is_told = False

    def say_once() -> None:
        nonlocal is_told
        if not is_told:
            is_told = True
            tell(f"waiting for the end of what the last attempt of {run} started")

    while guards := guard.survey(run, names)[0]:
        if time.monotonic() > until:
            return sorted(guards.values())
        say_once()
        entries = [entry for pid in guards.values() if (entry := proc.read(pid)) is not None]
        tree.wait(entries, until - time.monotonic(), lambda: False)

    def members() -> list[proc.Entry] | None:
        if left := guard.survey(run, names)[1]:
            say_once()
        return left or None

    left = tree.stop(members, deadlines.term_s, deadlines.kill_s, lambda: False)
    return [entry.pid for entry in left]
