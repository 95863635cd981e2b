"""A sweep: its members are checked together, and a signal ends them together."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.launch.helpers import nothing_left, read, until

SWEEP = ("--multirun", "role=both", "config=exp", "ports=auto", "train.rlhf.beta=0.1,0.2")


def runs(project: Project) -> list[Path]:
    """The recorded members, oldest first."""
    return sorted((project.directory / "runs" / "exp").glob("*/run.json"), key=_began)


def _began(record: Path) -> float:
    return read(record.parent)["started"]


def states(project: Project) -> list[str]:
    return [read(record.parent)["state"] for record in runs(project)]


def stop(project: Project, *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "grpo_launch.monitor", "stop", *words],
        cwd=project.directory,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def told(said: str) -> list[str]:
    """What a sweep says of its members, without reasons and directories."""
    lines = (line for line in said.splitlines() if line.startswith("sweep: "))
    return [line.removeprefix("sweep: ").partition(", ")[0] for line in lines]


@pytest.mark.slow
def test_each_point_stands_beside_its_result(project: Project) -> None:
    done = project.launch(*SWEEP)
    assert done.status == 0
    first, second = (f"runs/exp/{record.parent.name}" for record in runs(project))
    lines = done.stderr.splitlines()
    rewards = next(line for line in lines if line.startswith("reward ")).partition(", ")[0]
    results = [f"done, {rewards}, {first}", f"done, {rewards}, {second}"]
    assert f"sweep: #0 train.rlhf.beta=0.1: {results[0]}" in lines
    assert lines[-4:] == [
        f"sweep: #1 train.rlhf.beta=0.2: {results[1]}",
        "sweep: 2 members have ended",
        f"  #0 train.rlhf.beta=0.1  {results[0]}",
        f"  #1 train.rlhf.beta=0.2  {results[1]}",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_sweep(project: Project, signum: signal.Signals) -> None:
    started = project.start(*SWEEP, FAKE_LEARNER="hang")
    until(lambda: states(project) == ["training"])
    started.send_signal(signum)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 128 + signum
    assert states(project) == ["interrupted"]
    assert told(said) == ["#0 train.rlhf.beta=0.1", "#0 train.rlhf.beta=0.1: interrupted"]
    nothing_left(project)


@pytest.mark.slow
def test_stop_ends_one_member_and_with_sweep_all(project: Project) -> None:
    started = project.start(*SWEEP, FAKE_LEARNER="hang")
    until(lambda: states(project) == ["training"])
    first = runs(project)[0].parent.name
    assert "stopped" in stop(project)
    until(lambda: states(project) == ["interrupted", "training"])
    assert "already ended" in stop(project, first)
    assert states(project) == ["interrupted", "training"]
    assert "stopped" in stop(project, "--sweep")
    _, said = started.communicate(timeout=60)
    assert started.returncode == 143
    assert states(project) == ["interrupted", "interrupted"]
    assert told(said) == [
        "#0 train.rlhf.beta=0.1",
        "#0 train.rlhf.beta=0.1: interrupted",
        "#1 train.rlhf.beta=0.2",
        "#1 train.rlhf.beta=0.2: interrupted",
        "2 members have ended",
    ]
    nothing_left(project)


@pytest.mark.slow
@pytest.mark.parametrize(("on_error", "members"), [("continue", 2), ("stop", 1)])
def test_a_member_that_fails(project: Project, on_error: str, members: int) -> None:
    done = project.launch(*SWEEP, f"sweep.on_error={on_error}", FAKE_LEARNER="fail")
    assert done.status not in (0, 2, 143)
    assert states(project) == ["failed"] * members
    assert ("the sweep ends here (sweep.on_error=stop)" in done.stderr) is (members == 1)
    assert done.stderr.count("0.1: failed, the learner ended with status ") == 1


@pytest.mark.slow
def test_no_member_starts_where_one_is_wrong(project: Project) -> None:
    done = project.run(*SWEEP[:4], "health.path=/health/,nope,no")
    assert done.status == 2
    lines = done.stderr.splitlines()
    assert [line.partition(": command line")[0] for line in lines] == [
        "error: #1 health.path=nope",
        "error: #2 health.path=no",
    ]
    assert project.files() == set()


@pytest.mark.slow
def test_members_have_directories_of_their_own(project: Project) -> None:
    done = project.run(*SWEEP, "run.dir=mine")
    assert done.status == 2
    assert "run.dir: is the same for several members of the sweep" in done.stderr
    assert project.files() == set()


def test_what_follows_a_failure_is_known(project: Project) -> None:
    done = project.run("role=both", "config=exp", "dry_run=true", "sweep.on_error=ignore")
    assert done.status == 2
    assert "sweep.on_error: 'ignore' is unknown, use continue or stop" in done.stderr
