"""``grpo-runs stop`` on real runs: it returns when all is gone, and touches nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from grpo_launch.supervise import proc
from tests.conftest import Project
from tests.monitor.called import grpo_runs
from tests.monitor.made import going_on, identity, lost, make_run, process
from tests.supervise.test_foreground import read_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def record_of(project: Project) -> dict[str, Any]:
    return json.loads((project.directory / "runs" / "latest" / "run.json").read_text())


def kill_at_once(project: Project) -> None:
    """``kill -9`` of the launcher and all guards, none of which can see the others go."""
    record = record_of(project)
    pids = [entry["guard"]["pid"] for entry in record["processes"].values()]
    pids.append(record["supervisor"]["pid"])
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of nobody's run."""
    with subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def test_from_another_terminal(project: Project) -> None:
    launcher = project.start("role=both", "config=exp", FAKE_LEARNER="hang")
    read_until(launcher, "step ")
    listed = json.loads(grpo_runs(project, "list", "--json").stdout)["runs"][0]
    assert (listed["state"], listed["is_supervised"]) == ("training", True)
    assert {p["name"] for p in listed["alive"]} == {"server", "learner"}
    done = grpo_runs(project, "stop")
    # What it says is true the moment it says it: the launcher may not even be collected.
    assert project.left_over() == []
    assert done.status == 0, done.stderr
    assert done.stdout.startswith(f"{listed['run']}: stopped after ")
    assert done.stdout.endswith("(interrupted)\n")
    assert launcher.wait(5) == 143
    again = grpo_runs(project, "stop", "exp")
    assert (again.status, again.stderr) == (0, "")
    assert f"{listed['run']}: has already ended (interrupted, " in again.stdout


def test_a_stopped_supervisor_is_woken(project: Project) -> None:
    launcher = project.start("role=server", "config=exp")
    read_until(launcher, "server: ready")
    launcher.send_signal(signal.SIGSTOP)
    assert grpo_runs(project, "stop", "--all").status == 0
    assert project.left_over() == []
    assert launcher.wait(5) == 143


def test_kill_does_not_wait_for_the_deadline(project: Project) -> None:
    launcher = project.start(
        "role=both", "config=exp", "shutdown.term_s=3600", "shutdown.kill_s=30",
        FAKE_SERVER="stubborn", FAKE_LEARNER="stubborn",
    )  # fmt: skip
    read_until(launcher, "step ")
    done = grpo_runs(project, "stop", "--kill", "--json")
    assert done.status == 0, done.stderr
    assert project.left_over() == []
    assert launcher.wait(5) == 143
    ended = json.loads(done.stdout)["runs"][0]
    assert (ended["outcome"], ended["state"]) == ("stopped", "interrupted")


@pytest.mark.parametrize("options", [[], ["--kill"]], ids=["wait", "kill"])
def test_what_a_lost_run_has_left_is_ended(project: Project, options: list[str]) -> None:
    launcher = project.start(
        "role=both", "config=exp", "shutdown.term_s=0.5", FAKE_SERVER="stubborn",
        FAKE_LEARNER="stubborn",
    )  # fmt: skip
    read_until(launcher, "step ")
    kill_at_once(project)
    launcher.wait(10)
    assert project.left_over() != []
    shown = grpo_runs(project, "list")
    assert " lost " in shown.stdout
    assert "still alive: server " in shown.stdout
    done = grpo_runs(project, "stop", *options)
    assert done.status == 0, done.stderr
    assert "ended what was left after" in done.stdout
    assert project.left_over() == []
    record = record_of(project)
    assert (record["state"], record["status"]) == ("lost", 137)
    assert record["ended"] >= record["started"]
    mode = (project.directory / "runs" / "latest" / "run.json").stat().st_mode
    assert mode & 0o077 == 0


def test_a_launcher_that_was_killed_leaves_it_to_its_guards(project: Project) -> None:
    launcher = project.start("role=both", "config=exp", FAKE_LEARNER="hang")
    read_until(launcher, "step ")
    launcher.kill()
    launcher.wait(10)
    done = grpo_runs(project, "stop")
    assert done.status == 0, done.stderr
    assert project.left_over() == []
    assert record_of(project)["state"] == "lost"


def test_all_of_several(project: Project) -> None:
    launcher = project.start("role=server", "config=exp")
    read_until(launcher, "server: ready")
    root = project.directory / "runs"
    make_run(root, "other/20261121-140000-0001", **lost())
    make_run(root, "other/20261121-140000-0002")
    make_run(root, "other/20261121-140000-0003", **_on_another_host())
    body = json.loads(grpo_runs(project, "stop", "--all", "--json").stdout)
    assert [run["outcome"] for run in body["runs"]] == ["stopped"]
    assert launcher.wait(5) == 143
    none = grpo_runs(project, "stop", "--all")
    assert (none.status, none.stdout) == (0, "")
    assert "no run goes on below runs" in none.stderr


def _on_another_host() -> dict[str, Any]:
    return going_on(supervisor={**identity(), "host": "node7"})


def test_a_run_of_another_host_is_not_touched(project: Project) -> None:
    run = make_run(project.directory / "runs", **_on_another_host())
    before = (run / "run.json").read_text()
    done = grpo_runs(project, "stop")
    assert done.status == 3
    assert done.errors == [
        f"error: exp/{run.name}: runs on node7, say grpo-runs stop exp/{run.name} there"
    ]
    assert (run / "run.json").read_text() == before


@pytest.mark.parametrize("case", ["supervisor", "process", "boot"])
def test_a_stranger_with_the_same_number_is_not_touched(
    project: Project, sleeper: subprocess.Popen[bytes], case: str
) -> None:
    changes = lost(processes={"server": {**process(sleeper.pid), "start_time": 1}})
    if case == "supervisor":
        changes["supervisor"] = {**identity(sleeper.pid), "start_time": 1}
    if case == "boot":
        changes = lost(processes={"server": process(sleeper.pid)})
        changes["supervisor"] = identity(sleeper.pid, boot="another")
    run = make_run(project.directory / "runs", **changes)
    done = grpo_runs(project, "stop", "--kill")
    assert (done.status, done.stderr) == (0, "")
    assert "nothing was left" in done.stdout
    assert json.loads((run / "run.json").read_text())["state"] == "lost"
    entry = proc.read(sleeper.pid)
    assert entry is not None
    assert entry.alive


FORGED = {
    "supervisor": lambda pid: going_on(supervisor=identity(pid)),
    "supervisor of a sweep": lambda pid: going_on(supervisor={**identity(pid), "goes_on": True}),
    "process": lambda pid: lost(processes={"server": process(pid)}),
    "guard": lambda pid: lost(processes={"server": process(guard=pid)}),
    "all": lambda pid: going_on(
        supervisor=identity(pid), processes={"server": process(pid, guard=pid)}
    ),
}


@pytest.mark.parametrize("options", [[], ["--kill"], ["--sweep"], ["--all"]], ids=str)
@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED)
def test_whom_a_forged_record_names_is_not_touched(
    project: Project,
    sleeper: subprocess.Popen[bytes],
    changes: Callable[[int], dict[str, Any]],
    options: list[str],
) -> None:
    """Not even where pid, start time, host and boot are right."""
    run = make_run(project.directory / "runs", **changes(sleeper.pid))
    done = grpo_runs(project, "stop", *options)
    assert done.status == 0, done.stderr
    assert "nothing was left" in done.stdout
    supervises = json.loads((run / "run.json").read_text())["supervisor"]["pid"] == sleeper.pid
    said = f"exp/{run.name}: run.json names pid {sleeper.pid}, which supervises no such run"
    assert (said in done.stderr) == supervises
    assert json.loads((run / "run.json").read_text())["state"] == "lost"
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.01)


def test_another_run_s_supervisor_is_not_touched(project: Project) -> None:
    """A copied run directory names a supervisor that goes on."""
    launcher = project.start("role=server", "config=exp")
    read_until(launcher, "server: ready")
    copy = project.directory / "runs" / "exp" / "20261121-140000-c0b1"
    shutil.copytree((project.directory / "runs" / "latest").resolve(), copy)
    done = grpo_runs(project, "stop", copy.name)
    assert done.status == 0, done.stderr
    assert "which supervises no such run" in done.stderr
    assert launcher.poll() is None
    assert grpo_runs(project, "stop", "latest").status == 0
    assert launcher.wait(5) == 143


def test_an_unreadable_run_is_left_alone_while_something_of_it_lives(project: Project) -> None:
    run = make_run(project.directory / "runs", logs={"server": b""})
    (run / "run.json").write_text("{")
    with open(run / "logs" / "attempt_1" / "server.log", "ab") as log:
        writer = subprocess.Popen(["sleep", "600"], stdout=log)
    try:
        done = grpo_runs(project, "stop", f"runs/exp/{run.name}")
        assert done.status == 3
        assert "not JSON (" in done.errors[0]
        assert f"these are alive: server {writer.pid}, end them with kill" in done.errors[0]
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
    done = grpo_runs(project, "stop")
    assert (done.status, done.stderr) == (0, "")


def test_without_any_run(project: Project) -> None:
    done = grpo_runs(project, "stop", "exp/20261121-140000-0000")
    assert done.status == 2
    assert done.errors == ["error: runs: holds no runs, start one, or say --runs DIR"]


def test_it_costs_little_to_wait(project: Project) -> None:
    """A run that takes seconds to end is not watched by looking at /proc all the time."""
    launcher = project.start(
        "role=server", "config=exp", "shutdown.term_s=3", FAKE_SERVER="stubborn"
    )
    read_until(launcher, "server: ready")
    before, began = os.times().children_user, time.monotonic()
    assert grpo_runs(project, "stop").status == 0
    took = time.monotonic() - began
    assert took >= 2.5
    assert os.times().children_user - before < 0.25 * took + 0.5
    launcher.wait(5)
