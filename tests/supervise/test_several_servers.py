"""A run with several rollout servers: each is gated, watched and torn down on its own."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.monitor import planned
from grpo_launch.monitor.detail import newest_logs
from grpo_launch.plan import LEARNER, SERVER, LaunchPlan, ProcessSpec
from tests.conftest import ROOT
from tests.supervise.rig import ADVERSARY, Rig, process, quiet_port

pytestmark = pytest.mark.slow

LIAR = (sys.executable, "-I", "-S", ROOT / "tests" / "fakes" / "liar.py")


@pytest.fixture
def ports(rig: Rig) -> list[int]:
    """A port for each of three servers."""
    found = [rig.port]
    while len(found) < 3:
        if (port := quiet_port()) not in found:
            found.append(port)
    return found


def server(rig: Rig, number: int, port: int, *behaviours: str) -> ProcessSpec:
    words = [sys.executable, "-I", "-S", ADVERSARY, rig.mark, rig.directory, SERVER, port]
    return process(rig.directory, f"server_{number}", *words, *behaviours)


def plan_of(
    rig: Rig, ports: list[int], *processes: ProcessSpec, timeout_s: float = 40, **changes: Any
) -> LaunchPlan:
    (gate,) = rig.plan().gates
    gates = [
        dataclasses.replace(
            gate,
            server=f"server_{number}",
            url=f"http://127.0.0.1:{port}",
            timeout_s=timeout_s,
        )
        for number, port in enumerate(ports)
    ]
    return rig.plan(*processes, gates=tuple(gates), **changes)


def servers(rig: Rig, ports: list[int], *behaviours: str) -> list[ProcessSpec]:
    return [server(rig, number, port, *behaviours) for number, port in enumerate(ports)]


def test_the_learner_starts_when_all_are_ready_and_its_end_ends_them_all(
    rig: Rig, ports: list[int]
) -> None:
    rig.start(plan_of(rig, ports, *servers(rig, ports, "stubborn"), rig.adversary(LEARNER)))
    learner = rig.wait_until_ready(LEARNER)
    ready = [rig.said.index(f"server_{number}: ready after") for number in range(3)]
    assert max(ready) < rig.said.index("learner: started")
    assert rig.state()["urls"] == [f"http://127.0.0.1:{port}" for port in ports]
    assert list(rig.state()["processes"]) == ["server_0", "server_1", "server_2", "learner"]
    os.kill(learner, signal.SIGUSR2)
    assert rig.ended() == 0
    assert "stopping server_0 and server_1 and server_2\n" in rig.said
    assert {p["exit"] for p in rig.state()["processes"].values()} == {137, 0}
    assert list(newest_logs(rig.run, planned.read(rig.run).names)) == [
        "server_0",
        "server_1",
        "server_2",
        "learner",
    ]
    assert rig.alive() == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_death_of_one_ends_the_learner_and_the_others(
    rig: Rig, ports: list[int], number: int
) -> None:
    rig.start(plan_of(rig, ports, *servers(rig, ports), rig.adversary(LEARNER)))
    rig.wait_until_ready(LEARNER)
    os.kill(rig.state()["processes"][f"server_{number}"]["pid"], signal.SIGKILL)
    assert rig.ended() == 5
    assert f"run/logs/server_{number}.log: server_{number} died under the learner" in rig.said
    assert rig.alive() == []


def test_one_that_never_answers_fails_the_gate_by_name(rig: Rig, ports: list[int]) -> None:
    two = ports[:2]
    silent = process(rig.directory, "server_1", *LIAR, two[1], "garbage")
    plan = plan_of(rig, two, server(rig, 0, two[0]), silent, rig.adversary(LEARNER), timeout_s=1)
    rig.start(plan)
    assert rig.ended() == 4
    assert "server_0: ready after" in rig.said
    assert f"http://127.0.0.1:{two[1]}/health/: server_1 is not healthy after 1 s" in rig.said
    assert "--- last lines of run/logs/server_1.log" in rig.said
    assert "learner: started" not in rig.said
    assert rig.alive() == []


def test_one_that_dies_while_the_others_load_is_named(rig: Rig, ports: list[int]) -> None:
    two = ports[:2]
    broken = process(rig.directory, "server_1", sys.executable, "-c", "raise SystemExit(3)")
    silent = process(rig.directory, "server_0", *LIAR, two[0], "garbage")
    rig.start(plan_of(rig, two, silent, broken, rig.adversary(LEARNER)))
    assert rig.ended() == 4
    assert "server_1.log: server_1 ended with status 3 before it was ready" in rig.said
    assert rig.alive() == []


def test_servers_may_not_answer_for_each_other(rig: Rig, ports: list[int]) -> None:
    """The second finds its port taken by the first and moves on, as ``swift rollout`` does."""
    port = ports[0]
    first = process(rig.directory, "server_0", *LIAR, port, "moves")
    second = process(rig.directory, "server_1", *LIAR, port, "moves")
    rig.start(plan_of(rig, [port, port], first, second, rig.adversary(LEARNER)))
    assert rig.ended() == 4
    assert "not by the started server" in rig.said
    assert rig.alive() == []


def test_a_dead_engine_behind_one_of_them_is_named(rig: Rig, ports: list[int]) -> None:
    two, dead = ports[:2], rig.directory / "dead"
    code = f"import sys; open({str(dead)!r}, 'x').close(); sys.exit(1)"
    learner = process(rig.directory, LEARNER, sys.executable, "-c", code)
    liar = process(rig.directory, "server_1", *LIAR, two[1], "dead", dead)
    rig.start(plan_of(rig, two, server(rig, 0, two[0]), liar, learner))
    assert rig.ended() == 5
    assert "server_1.log: the engine of server_1 died" in rig.said
    assert rig.alive() == []


def test_one_of_another_launcher_that_vanishes_is_named(rig: Rig, ports: list[int]) -> None:
    two, other = ports[:2], Rig(_beside(rig.directory))
    try:
        other.start(plan_of(other, two, *servers(other, two)))
        other.wait_until_said("server_1: ready")
        watchdog = dataclasses.replace(rig.plan().watchdog, health_s=0.1)
        rig.start(plan_of(rig, two, rig.adversary(LEARNER), watchdog=watchdog))
        rig.wait_until_ready(LEARNER)
        assert rig.said.count(f"of the run {other.run}") == 2
        os.kill(other.state()["processes"]["server_1"]["pid"], signal.SIGUSR1)
        assert other.ended() == 7
        assert rig.ended() == 5
        assert "is gone, nobody listens there any more" in rig.said
        assert rig.alive() == []
    finally:
        other.close()


def test_servers_alone_show_whose_line_it_is_and_end_together(rig: Rig, ports: list[int]) -> None:
    two = ports[:2]
    rig.start(plan_of(rig, two, *servers(rig, two), role="server"))
    rig.wait_until_said("server_0: ready")
    rig.wait_until_said("server_1: ready")
    log = rig.run / "logs" / "attempt_1" / "server_1.log"
    with log.open("a") as file:
        file.write("half a line")
        file.flush()
        file.write(" and the rest\n")
    rig.wait_until_said("server_1 | half a line and the rest\n")
    os.kill(rig.state()["processes"]["server_0"]["pid"], signal.SIGUSR1)
    assert rig.ended() == 7
    assert rig.state()["reason"] == "server_0 ended with status 7"
    assert rig.alive() == []


def test_nothing_outlives_the_launcher_and_the_guard_of_one(rig: Rig, ports: list[int]) -> None:
    supervisor = rig.start(
        plan_of(rig, ports, *servers(rig, ports, "double_fork"), rig.adversary(LEARNER))
    )
    rig.wait_until_ready(LEARNER)
    guard = rig.guard("server_1")
    os.kill(supervisor.pid, signal.SIGKILL)
    os.kill(guard, signal.SIGKILL)
    assert rig.alive_after(20) == []
    assert rig.state()["state"] == "lost"


def _beside(directory: Path) -> Path:
    other = directory.with_name(f"{directory.name}_other")
    other.mkdir()
    return other
