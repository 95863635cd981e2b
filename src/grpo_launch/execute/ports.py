"""What a restart does about ports that the last attempt has left.

A server that has just ended leaves its ports in TIME_WAIT for a minute; a new one would fail
there, or move on. Ports that the launcher chose are changed, for the others a restart waits.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from grpo_launch.base import atomic
from grpo_launch.errors import PreflightError
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import ChosenPort, LaunchPlan
from grpo_launch.planning import substitution
from grpo_launch.runs import plans
from grpo_launch.supervise import free_ports, sockets

_INTERVAL_S = 0.25
"""How often a port in TIME_WAIT is tried."""


class Ports:
    """The ports of a run between two attempts, and the locks on those that were changed.

    Args:
        run: the run directory, for the messages of other launchers.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._locks: dict[int, int] = {}

    def changed(self, around: Surroundings) -> Surroundings:
        """``around`` with a plan whose chosen ports are free, and the files that it says.

        Where no other port can be had, the plan stays as it is: they may be free soon.

        Raises:
            PreflightError: a file with the ports cannot be written.
        """
        say, plan = around.console.say, around.plan
        try:
            numbers = self._numbers(plan)
        except PreflightError as error:
            say(f"warning: {error}")
            return around
        if not numbers:
            return around
        changes = (f"{new} instead of {old}" for old, new in numbers.items())
        say(f"ports: {', '.join(changes)}, still in use")
        changed = substitution.with_ports(plan, numbers)
        _write(changed, plan, around.cwd)
        with around.noting():
            atomic.write(around.record.directory / plans.NAME, changed.to_json())
        return replace(around, plan=changed)

    def _numbers(self, plan: LaunchPlan) -> dict[int, int]:
        """Another port, locked, for each that the launcher chose and that is not free."""
        taken = {*plan.ports, *(number for port in plan.chosen for number in _row(port))}
        numbers: dict[int, int] = {}
        for port in plan.chosen:
            if not port.uses or free_ports.are_free(port.number, port.count):
                continue
            number, lock = free_ports.first(
                port.start, port.count, self._run, taken=taken, hold=True
            )
            assert lock is not None
            numbers[port.number] = number
            self._locks[number] = lock
            taken.update(range(number, number + port.count))
        for old in numbers.keys() & self._locks.keys():
            os.close(self._locks.pop(old))
        return numbers

    def close(self) -> None:
        """Give the locks back."""
        while self._locks:
            os.close(self._locks.popitem()[1])


def _write(plan: LaunchPlan, old: LaunchPlan, cwd: Path) -> None:
    """Write the files of ``plan`` that differ from those of ``old``, as they are in the plan.

    Raises:
        PreflightError: one cannot be written; its program would meet nobody on the old ports.
    """
    for file in plan.files:
        if file in old.files:
            continue
        try:
            atomic.write(cwd / file.path, file.text)
        except OSError as error:
            what = f"cannot be rewritten for a restart ({error.strerror})"
            raise PreflightError(file.path, what, "start again with resume=") from None


def wait(plan: LaunchPlan, say: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    """Wait for the ports of ``plan`` that are still in TIME_WAIT, and say how long.

    Args:
        plan: of the next attempt.
        say: tells the person.
        sleep: waits that many seconds; what it raises ends the wait.
    """
    closing = [port for port in plan.ports if sockets.is_closing(port)]
    if not closing:
        return
    names = " and ".join(map(str, closing))
    seconds = max(map(sockets.closes_in_s, closing))
    say(f"waiting up to {math.ceil(seconds)} s for port {names}, still in TIME_WAIT")
    until = time.monotonic() + sockets.TIME_WAIT_S
    while any(map(sockets.is_closing, closing)) and time.monotonic() < until:
        sleep(_INTERVAL_S)


def _row(port: ChosenPort) -> range:
    return range(port.number, port.number + port.count)
