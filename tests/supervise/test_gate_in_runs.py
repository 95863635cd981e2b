"""The gate in real runs: servers that lie, strangers, and servers of other runs."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grpo_launch.plan import LEARNER, SERVER, LaunchPlan, ProcessSpec, Signs
from tests.conftest import ROOT
from tests.supervise.rig import Rig, make_gate, process

pytestmark = pytest.mark.slow

LIAR = [sys.executable, "-I", "-S", str(ROOT / "tests" / "fakes" / "liar.py")]

Stranger = Callable[[int, str], int]


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """Starts a liar that belongs to nobody; its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int, mode: str) -> int:
        liar = subprocess.Popen([*LIAR, str(port), mode], stdout=subprocess.PIPE)
        started.append(liar)
        assert liar.stdout is not None
        assert liar.stdout.readline() == b"listening\n"
        return liar.pid

    yield start
    for liar in started:
        assert liar.poll() is None, "somebody has ended the stranger"
        liar.kill()
        liar.communicate()


def liar(rig: Rig, mode: str, *more: object) -> ProcessSpec:
    return process(rig.directory, SERVER, *LIAR, rig.port, mode, *more)


def gate(plan: LaunchPlan, **changes: object) -> LaunchPlan:
    gates = tuple(dataclasses.replace(gate, **changes) for gate in plan.gates)
    return dataclasses.replace(plan, gates=gates)


@pytest.mark.parametrize(
    ("mode", "seen"),
    [
        ("redirect", "status 301"),
        ("garbage", "RemoteProtocolError"),
        ("endless", "ReadTimeout"),
        ("slow", "ReadTimeout"),
    ],
)
def test_a_server_whose_health_lies(rig: Rig, mode: str, seen: str) -> None:
    plan = gate(rig.plan(liar(rig, mode), rig.adversary(LEARNER)), timeout_s=1.0)
    rig.start(plan)
    assert rig.ended() == 4
    assert f"not healthy after 1 s ({seen})" in rig.said
    assert "learner: started" not in rig.said
    assert rig.alive() == []


def test_a_server_that_answers_without_a_token(rig: Rig) -> None:
    rig.start(rig.plan(liar(rig, "hollow"), rig.adversary(LEARNER)))
    assert rig.ended() == 4
    assert "healthy, but no token comes back (status 200, but without a token)" in rig.said
    assert "learner: started" not in rig.said
    assert rig.alive() == []


def test_a_header_that_never_ends_does_not_hold_up_the_gate(rig: Rig) -> None:
    plan = gate(rig.plan(liar(rig, "drip"), rig.adversary(LEARNER)), timeout_s=0.5)
    rig.start(plan, before="from grpo_launch.execute import waiting; waiting.GATE_GRACE_S = 1")
    assert rig.ended() == 4
    assert "no whole answer after" in rig.said
    assert rig.alive() == []


def test_a_stranger_that_answers_for_the_server(rig: Rig, stranger: Stranger) -> None:
    """The port was taken between the check and the start, by something that says 200."""
    pid = stranger(rig.port, "honest")
    rig.start(rig.plan(liar(rig, "moves"), rig.adversary(LEARNER)))
    assert rig.ended() == 4
    assert f"is answered by pid {pid} (" in rig.said
    assert "not by the started server" in rig.said
    assert rig.alive() == []


def test_a_server_that_silently_moved_to_the_next_port(rig: Rig, stranger: Stranger) -> None:
    pid = stranger(rig.port, "redirect")
    server = dataclasses.replace(liar(rig, "moves"), signs=Signs(moves=True))
    rig.start(rig.plan(server, rig.adversary(LEARNER)))
    assert rig.ended() == 4
    assert f"the server moved to port {rig.port + 1}" in rig.said
    assert f"pid {pid} (" in rig.said
    assert rig.alive() == []


def test_another_world_size(rig: Rig) -> None:
    checks = make_gate("", world_size=2).checks
    rig.start(gate(rig.plan(liar(rig, "honest"), rig.adversary(LEARNER)), checks=checks))
    assert rig.ended() == 4
    assert "says 1, but TP x DP is 2" in rig.said
    assert rig.alive() == []


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A server of another terminal, for the model ``other/model``."""
    made = Rig(tmp_path_factory.mktemp("other"))
    made.start(gate(made.plan(made.adversary(SERVER)), model="other/model"))
    made.wait_until_said("server: ready")
    yield made
    made.close()


def test_a_learner_alone_finds_another_runs_model_and_says_so(rig: Rig, other: Rig) -> None:
    rig.port = other.port
    rig.start(rig.plan(rig.adversary(LEARNER)))
    assert rig.ended() == 4
    assert f"serves other/model (run {other.run}), but the learner trains some/model" in rig.said
    assert rig.alive() == []
    assert other.alive() != []


def test_a_learner_alone_says_whose_server_it_uses(rig: Rig, other: Rig) -> None:
    rig.port = other.port
    supervisor = rig.start(gate(rig.plan(rig.adversary(LEARNER)), model="other/model"))
    rig.wait_until_said(f"of the run {other.run}")
    rig.wait_until_ready(LEARNER)
    supervisor.terminate()
    assert rig.ended() == 143
    assert rig.alive() == []
    assert other.alive() != []


def test_a_dead_engine_behind_a_healthy_server_is_the_servers_death(rig: Rig) -> None:
    dead = rig.directory / "dead"
    code = f"import sys; open({str(dead)!r}, 'x').close(); sys.exit(1)"
    learner = process(rig.directory, LEARNER, sys.executable, "-c", code)
    rig.start(rig.plan(liar(rig, "dead", dead), learner))
    assert rig.ended() == 5
    assert "the engine died" in rig.said
    assert rig.alive() == []


def test_the_server_of_another_launcher_vanishes(rig: Rig, tmp_path: Path) -> None:
    words = [*LIAR, str(rig.port), "honest"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
        watchdog = dataclasses.replace(rig.plan().watchdog, health_s=0.1)
        rig.start(rig.plan(rig.adversary(LEARNER), watchdog=watchdog))
        rig.wait_until_ready(LEARNER)
        os.kill(server.pid, 9)
    assert rig.ended() == 5
    assert "is gone, nobody listens there any more" in rig.said
    assert rig.alive() == []
