"""A loop of the real vLLM and the real LLaMA-Factory, of which something is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpo_launch.runs import loop_state
from tests.conftest import ROOT, Project
from tests.engine.real import ENGINE, MODEL, finish, nightly, quiet_ports, run_directory, titled

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("loop"),
]

LLAMAFACTORY = ROOT / ".venv-llamafactory"
ITERATIONS = 3
TASKS = 64


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path, 0)
    yield made
    made.end_everything()


def words(swap: str) -> list[str]:
    return [
        "role=loop", "config=digits_loop", f"loop.iterations={ITERATIONS}", f"loop.swap={swap}",
        "loop.eval_interval=2", f"rollout_server.port={quiet_ports(1)[0]}",
        f"rollout_server.model={MODEL}", f"train.model_name_or_path={MODEL}",
        f"runtime.server.path={ENGINE}", f"runtime.learner.path={LLAMAFACTORY}",
    ]  # fmt: skip


def wait_for_line(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if line.startswith(beginning):
            return
    raise AssertionError(seen)


def wait_for_episodes(project: Project, iteration: int) -> None:
    """Its servers and its collector are there then."""
    path = run_directory(project) / f"iterations/{iteration:04d}/train/episodes.jsonl"
    deadline = time.monotonic() + 300
    while not (path.is_file() and path.stat().st_size):
        assert time.monotonic() < deadline, f"no episode in {path}"
        time.sleep(0.02)


def of_victim(project: Project, victim: str, launcher: int) -> int:
    if victim == "launcher":
        return launcher
    if victim == "engine":
        return titled("VLLM::EngineCore", project)[0]
    record = json.loads((run_directory(project) / "run.json").read_text())
    return record["processes"]["collect"]["pid"]


@pytest.mark.parametrize(
    ("swap", "victim", "moment", "status"),
    [
        ("reload", "launcher", "learner: started", -signal.SIGKILL),
        pytest.param("restart", "engine", "iteration 1: collect", 5, marks=nightly),
        pytest.param("reload", "collector", "iteration 1: collect", 137, marks=nightly),
    ],
)
def test_it_learns_though_something_is_killed(
    project: Project, swap: str, victim: str, moment: str, status: int
) -> None:
    process = project.start(*words(swap))
    wait_for_line(process, moment)
    if victim != "launcher":
        wait_for_episodes(project, 1)
    os.kill(of_victim(project, victim, process.pid), signal.SIGKILL)
    assert finish(process).status == status
    done = finish(project.start(*words(swap), "resume=latest"))
    assert done.status == 0, done.stderr
    run = run_directory(project)
    rows = loop_state.rows(run)
    assert [(row["step"], row["version"], row["update"]) for row in rows] == [
        (number + 1, number, "done") for number in range(ITERATIONS)
    ]
    rewards = [row["reward"] for row in rows]
    assert rewards == sorted(rewards)
    assert rewards[-1] > 3 * rewards[0]
    assert [row["eval_reward"] is not None for row in rows] == [True, False, True]
    for number in range(ITERATIONS):
        lines = (run / f"iterations/{number:04d}/train/episodes.jsonl").read_text().splitlines()
        episodes = [json.loads(line) for line in lines]
        assert len({episode["id"] for episode in episodes}) == len(episodes) >= 0.98 * TASKS
        assert {episode["version"] for episode in episodes} == {str(number)}
    assert os.readlink(run / "models" / "current") == f"iter_{ITERATIONS}"
    assert (run / "loop.png").stat().st_size > 10_000
    assert project.left_over() == []
