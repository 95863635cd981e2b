"""Side processes in whole runs with the fake engine: gated, watched, and ended with the run."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Project
from tests.supervise.rig import quiet_port, wait_for
from tests.supervise.test_foreground import read_until

pytestmark = pytest.mark.slow

JUDGE = ROOT / "tests" / "fakes" / "judge.py"


@dataclass
class Judged:
    """A project whose experiment has a judge."""

    project: Project
    port: int

    def words(self, *behaviours: str, role: str = "both") -> list[str]:
        argv = [sys.executable, "-I", "-S", str(JUDGE), str(self.port), "go", *behaviours]
        url = f"http://127.0.0.1:{self.port}/health?deep=1"
        return [
            *(f"role={role}", "config=exp"),
            *("services.judge.devices=[3]", "services.judge.env.K=v"),
            f"services.judge.argv={json.dumps(argv)}",
            f"services.judge.check.url='{url}'",
        ]

    def allow(self) -> None:
        """Let the judge be ready."""
        (self.project.directory / "go").touch()

    @property
    def run(self) -> Path:
        return self.project.directory / "runs" / "latest"

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.run / "run.json").read_text())

    @property
    def log(self) -> str:
        return (self.run / "logs" / "judge.log").read_text()


@pytest.fixture
def judged(project: Project) -> Judged:
    return Judged(project, quiet_port())


def test_the_learner_waits_for_a_service_and_its_end_ends_it(judged: Judged) -> None:
    process = judged.project.start(*judged.words())
    seen = read_until(process, "server: ready")
    wait_for(lambda: judged.log, lambda log: " 503 " in log)
    judged.allow()
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    said = seen + rest
    order = ["judge: started on GPU 3", "server: started", "judge: ready", "learner: started"]
    assert sorted(order, key=said.index) == order
    assert "stopping judge and the server" in said
    assert judged.log.startswith("devices '3' K v\n")
    assert " 503 " in judged.log
    record = judged.record
    assert (record["state"], record["processes"]["judge"]["exit"]) == ("done", 143)
    assert record["urls"] == [f"http://127.0.0.1:{judged.project.port}"]
    assert judged.project.left_over() == []


def test_the_death_of_a_service_ends_the_run_by_its_name(judged: Judged) -> None:
    judged.allow()
    process = judged.project.start(*judged.words(), FAKE_LEARNER="hang")
    read_until(process, "learner: started")
    os.kill(judged.record["processes"]["judge"]["pid"], signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "judge died under the learner (status 137)" in stderr
    assert judged.record["reason"].startswith(
        f"runs/{os.readlink(judged.run)}/logs/judge.log: judge"
    )
    assert judged.project.left_over() == []


def test_a_service_that_never_becomes_healthy_is_named(judged: Judged) -> None:
    done = judged.project.launch(*judged.words(), "services.judge.check.timeout_s=0.5")
    assert done.status == 4
    (error,) = done.errors
    assert "/health?deep=1: judge is not healthy after 0.5 s (" in error
    assert "set a longer services.judge.check.timeout_s" in error
    assert judged.project.left_over() == []


def test_a_service_that_ends_before_it_is_ready_shows_its_last_lines(judged: Judged) -> None:
    ended = 'services.judge.argv=[sh,-c,"echo no such model; exit 3"]'
    done = judged.project.launch(*judged.words(), ended)
    assert done.status == 4
    assert "judge ended with status 3 before it was ready" in done.errors[0]
    assert "no such model" in done.stderr
    assert judged.project.left_over() == []


def test_a_service_that_ignores_sigterm_is_killed(judged: Judged) -> None:
    judged.allow()
    done = judged.project.launch(*judged.words("stubborn"), "shutdown.term_s=0.3")
    assert done.status == 0, done.stderr
    assert judged.record["processes"]["judge"]["exit"] == 128 + signal.SIGKILL
    assert judged.project.left_over() == []


def test_nothing_is_left_of_a_service_whose_launcher_is_killed(judged: Judged) -> None:
    judged.allow()
    process = judged.project.start(*judged.words("stubborn"), FAKE_LEARNER="hang")
    read_until(process, "learner: started")
    process.kill()
    process.communicate(timeout=60)
    assert wait_for(judged.project.left_over, lambda left: not left, 30) == []


@pytest.mark.parametrize("role", ["both", "check"])
def test_a_taken_port_is_said_before_anything_starts(judged: Judged, role: str) -> None:
    with socket.create_server(("127.0.0.1", judged.port)):
        done = judged.project.launch(*judged.words(role=role))
    assert done.status == 3
    (error,) = done.errors
    assert f"services.judge.check.url: port {judged.port} is in use by pid {os.getpid()}" in error


def test_a_command_that_is_not_there_is_said_before_anything_starts(judged: Judged) -> None:
    done = judged.project.launch(*judged.words(), "services.judge.argv=[no_such_judge]")
    assert done.status == 3
    assert "services.judge.argv: no such command: no_such_judge" in done.errors[0]
    assert not judged.run.exists()


def test_without_a_check_a_service_is_only_watched(judged: Judged) -> None:
    done = judged.project.launch(*judged.words(), "services.judge.check.url=null")
    assert done.status == 0, done.stderr
    assert "judge: started" in done.stderr
    assert "judge: ready" not in done.stderr
    assert judged.record["processes"]["judge"]["exit"] == 143


def test_a_server_alone_starts_no_service(judged: Judged) -> None:
    process = judged.project.start(*judged.words(role="server"))
    said = read_until(process, "server: ready")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert "judge" not in said
