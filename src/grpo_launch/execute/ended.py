"""How a process of an attempt ended, and why."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.base import redaction
from grpo_launch.errors import GuardLostError, PreflightError
from grpo_launch.execute.processes import Processes
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import Signs, called
from grpo_launch.runs import failure
from grpo_launch.supervise.process import GuardedProcess
from grpo_launch.supervise.watchdog import HealthCheck

GONE = "is gone, nobody listens there any more"

_PATIENCE_S = 5.0
"""How long a job's failure waits for the answers of servers that others started."""

LAST_PROBE_S = 5.0
"""How long a job's failure waits for the answer whether an engine is dead."""

_TICK_S = 0.1


@dataclass(frozen=True)
class Ended:
    """The process whose end was the end of an attempt.

    Attributes:
        name: the job's, where there is one, else a service's.
        status: its exit status.
        why: what its log tells of a failure, or empty.
    """

    name: str
    status: int
    why: str = ""

    @property
    def end(self) -> str:
        """``the learner ended with status 1``."""
        return f"{called(self.name)} ended with status {self.status}"

    @property
    def reason(self) -> str:
        """The same, and why."""
        return because(self.end, self.why)

    @staticmethod
    def of(process: GuardedProcess, around: Surroundings, logs: Path) -> Ended:
        """How a process ended that does not run any more.

        Args:
            process: the process.
            around: what the attempts share.
            logs: the directory of the attempt's logs.

        Raises:
            GuardLostError: nobody knows, its guard was killed.
        """
        status = status_of(process)
        end = failure.end_of(logs / f"{process.name}.log") if status else b""
        return Ended(process.name, status, why(process.name, status, around, end))


def status_of(process: GuardedProcess) -> int:
    """The status of a process that does not run any more.

    Raises:
        GuardLostError: nobody knows, its guard was killed.
    """
    if process.status is None:
        raise guard_lost(process)
    return process.status


def guard_lost(process: GuardedProcess) -> GuardLostError:
    """The error for a process whose guard has ended."""
    what = "was killed, so nothing watched over its processes any more"
    if process.pid == 0:
        what = "was ended before it had anything to guard"
    return GuardLostError(f"guard of the {process.name}", what, "all processes have been stopped")


def why(name: str, status: int, around: Surroundings, end: bytes) -> str:
    """Why a process failed whose log ends with ``end``; empty where it did not fail."""
    spec = around.plan.process(name)
    signs = spec.signs if spec else Signs()
    hidden = redaction.secrets(around.environ)
    return failure.why_in(end, signs, status, around.cwd, hidden) if status else ""


def because(what: str, why: str) -> str:
    """What happened, and why where that is known."""
    return f"{what}: {why}" if why else what


def gone_server(around: Surroundings, own: Collection[str], processes: Processes) -> str | None:
    """A server of another launcher where nobody listens any more, or None.

    A job that fails may have failed because of it.

    Args:
        around: what the attempts share.
        own: the servers that this launcher started.
        processes: of the attempt; they are looked after meanwhile.

    Raises:
        InterruptedRunError: a signal asked for the end.
    """
    deadline = time.monotonic() + _PATIENCE_S
    with contextlib.suppress(RuntimeError):  # no thread can be started
        for gate in around.plan.gates:
            while gate.server not in own and time.monotonic() < deadline:
                check = HealthCheck(gate, around.environ)
                while not check.is_done() and time.monotonic() < deadline:
                    processes.turn(_TICK_S)
                if check.refused:
                    return gate.server
                if check.is_done() and check.failure is None:
                    break
                processes.turn(_TICK_S)  # one that is being stopped answers badly first
    return None


def dead_engine(
    around: Surroundings, services: Collection[str], processes: Processes
) -> str | None:
    """The server of ours behind whose health the engine is gone, or None.

    A job that fails may have failed because of it.

    Args:
        around: what the attempts share.
        services: the servers that this launcher started.
        processes: of the attempt; they are looked after meanwhile.

    Raises:
        InterruptedRunError: a signal asked for the end.
    """
    processes.give_up()
    asked = 0
    with contextlib.suppress(PreflightError):
        for gate in around.plan.gates:
            if gate.server in services and gate.generation is not None:
                processes.ask(gate, only_generate_s=LAST_PROBE_S)
                asked += 1
    deadline = time.monotonic() + LAST_PROBE_S
    while asked and time.monotonic() < deadline:
        processes.turn(_TICK_S)
        for name, answer in processes.answers().items():
            asked -= 1
            if answer.error is not None and not answer.timed_out:
                return name
    return None
