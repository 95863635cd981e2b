"""A run does not depend on who reads what it says, nor on what it can be told."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import sys
import termios
from collections.abc import Iterator

import pytest

from grpo_launch.plan import LEARNER, SERVER, Watchdog
from grpo_launch.supervise import guard, proc
from tests.supervise.rig import Rig, process, wait_for

pytestmark = pytest.mark.slow

_CHATTY = "import os\nfor _ in range(100): os.write(1, b'x' * 4095 + b'\\n')"


IMPATIENT = "from grpo_launch.execute import writer; writer.PATIENCE_S = 0.1"

STUCK = ["full pipe", "stopped terminal"]
FAULTY = ["closed", "/dev/full"]


@pytest.fixture
def unread(request: pytest.FixtureRequest) -> Iterator[int]:
    """Where to write for a reader that does not read."""
    match request.param:
        case "full pipe":
            other, own = os.pipe()
            os.write(own, bytes(fcntl.fcntl(own, fcntl.F_SETPIPE_SZ, 8192)))
        case "stopped terminal":
            other, own = pty.openpty()
            termios.tcflow(own, termios.TCOOFF)  # Ctrl-S
        case "closed":
            closed, own = os.pipe()
            os.close(closed)
            other = os.open(os.devnull, os.O_RDONLY)
        case _:
            other, own = os.open(os.devnull, os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)
    yield own
    os.close(own)
    os.close(other)


@pytest.mark.parametrize("unread", STUCK + FAULTY, indirect=True)
@pytest.mark.parametrize("mode", ["log", "progress"])
def test_a_run_ends_well_whoever_reads(rig: Rig, unread: int, mode: str) -> None:
    learner = process(rig.directory, LEARNER, sys.executable, "-I", "-S", "-c", _CHATTY)
    plan = rig.plan(rig.adversary(SERVER), learner, console=mode)
    rig.start(plan, before=IMPATIENT, stderr=unread)
    assert rig.ended() == 0
    state = rig.state()
    assert (state["state"], state["status"]) == ("done", 0)
    assert rig.alive() == []


@pytest.mark.parametrize("unread", STUCK, indirect=True)
@pytest.mark.parametrize(
    ("what", "status", "state"),
    [("server dies", 5, "failed"), ("learner fails", 7, "failed"), ("SIGTERM", 143, "interrupted")],
)
def test_what_happens_is_acted_on_whoever_reads(
    rig: Rig, unread: int, what: str, status: int, state: str
) -> None:
    plan = rig.plan(*rig.both(), console="log")
    supervisor = rig.start(plan, before=IMPATIENT, stderr=unread)
    learner = rig.wait_until_ready(LEARNER)
    seen = wait_for(rig.state, lambda seen: seen["state"] == "training")
    match what:
        case "server dies":
            os.kill(seen["processes"][SERVER]["pid"], signal.SIGKILL)
        case "learner fails":
            os.kill(learner, signal.SIGUSR1)
        case _:
            supervisor.terminate()
    assert rig.ended() == status
    assert (rig.state()["state"], rig.state()["status"]) == (state, status)
    assert rig.alive() == []


NO_THREADS = """
import threading
def refuse(thread): raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
"""


def test_a_machine_that_gives_no_thread_ends_no_training(rig: Rig) -> None:
    watchdog = Watchdog(health_s=0.05, probe_s=0, stall_s=0, on_stall="warn")
    code = "import time; time.sleep(1.5)"
    learner = process(rig.directory, LEARNER, sys.executable, "-I", "-S", "-c", code)
    plan = rig.plan(rig.adversary(SERVER), learner, watchdog=watchdog)
    rig.start(plan, before=NO_THREADS)
    assert rig.ended() == 0
    assert rig.state()["state"] == "done"
    assert "Traceback" not in rig.said
    assert "learner: started" in rig.said


def test_logs_that_cannot_be_understood_end_no_training(rig: Rig) -> None:
    before = (
        "from grpo_launch.runs import metrics\n"
        "def fail(*_): raise RecursionError('too deep')\n"
        "metrics.MetricsFollower.poll = fail"
    )
    rig.start(rig.plan(*rig.both()), before=before)
    os.kill(rig.wait_until_ready(LEARNER), signal.SIGUSR2)
    assert rig.ended() == 0
    said = "warning: the run goes on, but cannot be followed (RecursionError: too deep)"
    assert rig.said.count(said) == 1
    assert rig.state()["state"] == "done"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_guard_that_ends_at_the_gate_ends_the_run(rig: Rig, signum: int) -> None:
    """The learner's guard has nothing to guard yet; without it nothing would ever start."""
    silent = process(rig.directory, SERVER, "sleep", "100")
    rig.start(rig.plan(silent, rig.adversary(LEARNER)))
    rig.wait_until_said("waiting for http")
    os.kill(guard_of(rig, LEARNER), signum)
    assert rig.ended() == 137
    assert "guard of the learner: was ended before it had anything to guard" in rig.said
    assert rig.alive() == []


def guard_of(rig: Rig, name: str) -> int:
    mark = f"{guard.GUARD_MARK}={rig.run}:{name}".encode()
    return next(e.pid for e in proc.everything() if mark in proc.environ(e.pid))
