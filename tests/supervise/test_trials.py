"""Randomised trials: whatever ends a run, and however its processes hide, nothing is left.

The profile of ``tests/effort.py`` sets their number; GRPO_LAUNCH_TRIAL=17 repeats the one with
that seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from grpo_launch.plan import LEARNER, SERVER, Deadlines
from grpo_launch.runs import reading
from grpo_launch.supervise import cgroup
from tests.effort import EFFORT
from tests.supervise.rig import FINAL, Rig

TRIALS = EFFORT.trials
ONLY = os.environ.get("GRPO_LAUNCH_TRIAL")
BATCH = 5
AT_ONCE = 3
"""A trial waits more than it computes."""

DEADLINES = Deadlines(term_s=0.3, kill_s=5)
MARGIN_S = 20
"""For a machine that others use as well; a process that is left would be there for ever."""

TRICKS = [
    "session", "double_fork", "renamed", "bare", "clobbered", "stopped", "bursts", "chain",
    "session_chain", "deaf_chain",
]  # fmt: skip

BROKEN = """
import os
from grpo_launch.execute.processes import Processes

sound = Processes.turn

def turn(self, *more):
    if os.path.exists({trigger!r}):
        raise ZeroDivisionError("a mistake of our own")
    sound(self, *more)

Processes.turn = turn
"""


@dataclass(frozen=True)
class Trial:
    """What the seed says: how both halves behave, and what ends them when."""

    server: tuple[str, ...]
    learner: tuple[str, ...]
    end: str
    at_the_gate: bool
    delay_s: float
    groups: bool

    @staticmethod
    def of(seed: int) -> Trial:
        chance = random.Random(seed)
        end = chance.choice(list(ENDS))
        groups = chance.random() < 0.25 and cgroup.delegated() is not None
        # Nobody but the kernel can find what ends and goes on elsewhere all the time.
        tricks = TRICKS[:-3] if "launcher and guard" in end and not groups else TRICKS
        return Trial(
            server=_behaviours(chance, tricks),
            learner=_behaviours(chance, tricks),
            end=end,
            at_the_gate=chance.random() < 0.25 and end not in OF_THE_LEARNER,
            delay_s=chance.uniform(0, 0.3),
            groups=groups,
        )


def _behaviours(chance: random.Random, choice: list[str]) -> tuple[str, ...]:
    tricks = chance.sample(choice, chance.randrange(4))
    crowd = ["crowd"] if chance.random() < 0.05 else []
    stubborn = ["stubborn"] if chance.random() < 0.5 else []
    return (*stubborn, *tricks, *crowd)


def send(signum: int, *whom: str) -> Callable[[Rig], None]:
    def end(rig: Rig) -> None:
        pids = [pid for name in whom for pid in _pids(rig, name)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    return end


def _pids(rig: Rig, name: str) -> list[int]:
    assert rig.supervisor is not None
    if name == "supervisor":
        return [rig.supervisor.pid]
    of, _, what = name.partition(" ")
    entry = rig.state()["processes"][of]
    return [entry["guard"]["pid"] if what == "guard" else entry["pid"]]


def interrupt_twice(rig: Rig) -> None:
    send(signal.SIGINT, "supervisor")(rig)
    time.sleep(0.05)
    send(signal.SIGINT, "supervisor")(rig)


def kill_while_stopping(rig: Rig) -> None:
    send(signal.SIGTERM, "supervisor")(rig)
    time.sleep(0.1)
    send(signal.SIGKILL, "supervisor", "server guard")(rig)


def stop_a_guard_and(signum: int) -> Callable[[Rig], None]:
    def end(rig: Rig) -> None:
        send(signal.SIGSTOP, "server guard")(rig)
        send(signum, "supervisor")(rig)

    return end


def make_a_mistake(rig: Rig) -> None:
    (rig.directory / "trigger").touch()


ENDS: dict[str, Callable[[Rig], None]] = {
    "learner ends": send(signal.SIGUSR2, "learner"),
    "learner fails": send(signal.SIGUSR1, "learner"),
    "server dies": send(signal.SIGUSR1, "server"),
    "server killed": send(signal.SIGKILL, "server"),
    "learner killed": send(signal.SIGKILL, "learner"),
    "SIGINT": send(signal.SIGINT, "supervisor"),
    "SIGINT twice": interrupt_twice,
    "SIGTERM": send(signal.SIGTERM, "supervisor"),
    "SIGHUP": send(signal.SIGHUP, "supervisor"),
    "SIGKILL of the launcher": send(signal.SIGKILL, "supervisor"),
    "SIGKILL of a guard": send(signal.SIGKILL, "server guard"),
    "SIGKILL of the other guard": send(signal.SIGKILL, "learner guard"),
    "SIGKILL of both guards": send(signal.SIGKILL, "learner guard", "server guard"),
    "SIGKILL of launcher and guard": send(signal.SIGKILL, "supervisor", "learner guard"),
    "SIGKILL of the other launcher and guard": send(signal.SIGKILL, "server guard", "supervisor"),
    "SIGKILL of launcher and guard while they stop": kill_while_stopping,
    "SIGSTOP of a guard, SIGTERM": stop_a_guard_and(signal.SIGTERM),
    "SIGSTOP of a guard, SIGKILL of launcher": stop_a_guard_and(signal.SIGKILL),
    "a mistake of our own": make_a_mistake,
}
OF_THE_LEARNER = {
    "learner ends", "learner fails", "learner killed", "SIGKILL of the other guard",
    "SIGKILL of both guards", "SIGKILL of launcher and guard",
}  # fmt: skip
WITHOUT_LAUNCHER = {name for name in ENDS if "launcher" in name}


def batches() -> list[list[int]]:
    if ONLY:
        return [[int(ONLY)]]
    return [list(range(n, min(n + BATCH, TRIALS))) for n in range(0, TRIALS, BATCH)]


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process with the same parent and session as the launchers."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seeds", batches(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_nothing_is_left(seeds: list[int], bystander: subprocess.Popen[bytes]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [failure for failure in pool.map(failure_of, seeds) if failure]
    assert not failures, "\n\n".join(failures)
    assert bystander.poll() is None


def failure_of(seed: int) -> str | None:
    trial = Trial.of(seed)
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(Path(directory))
        try:
            execute(trial, rig)
        except Exception as error:  # reported with its seed
            what = f"{type(error).__name__}: {error}"
            return f"GRPO_LAUNCH_TRIAL={seed}: {trial}\n{what}\n{rig.said}"
        finally:
            rig.close()
    return None


def execute(trial: Trial, rig: Rig) -> None:
    plan = rig.plan(
        *rig.both(trial.server, trial.learner), deadlines=DEADLINES, groups=trial.groups
    )
    supervisor = rig.start(plan, BROKEN.format(trigger=str(rig.directory / "trigger")))
    if trial.at_the_gate:
        rig.wait_until_said("server: started")
    else:
        rig.wait_until_said("learner: started")
        rig.wait_until_ready(LEARNER)
    time.sleep(trial.delay_s)
    ENDS[trial.end](rig)
    deadline_s = DEADLINES.term_s + DEADLINES.kill_s + MARGIN_S
    supervisor.wait(deadline_s)
    left = rig.alive_after(deadline_s) if trial.end in WITHOUT_LAUNCHER else rig.alive()
    assert not left, f"left: {left}"
    state = rig.state()
    if state["state"] not in FINAL:
        assert trial.end in WITHOUT_LAUNCHER
        assert not reading.read(rig.run)[0].is_supervised
    assert set(state["processes"]) <= {SERVER, LEARNER}
