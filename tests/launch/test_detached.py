"""``launch=detached``: the caller gets its terminal back, the run goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from grpo_launch import plan
from grpo_launch.backends import background
from grpo_launch.config.compose import compose
from grpo_launch.errors import PreflightError
from grpo_launch.planning.devices import assign
from grpo_launch.planning.planner import build
from grpo_launch.runs import create
from grpo_launch.settle.prepared import Prepared
from grpo_launch.supervise import locks
from tests.conftest import Project, free_port
from tests.launch.helpers import argument, end_of, in_state, nothing_left, plan_of, run_of, until
from tests.launch.helpers import read as record_of
from tests.launch.helpers import supervisor as pid_of

pytestmark = pytest.mark.slow


def test_it_prints_the_runs_name_and_the_run_ends_well(project: Project) -> None:
    done = project.launch("role=both", "config=exp", "launch=detached")
    assert done.status == 0, done.stderr
    (name,) = done.stdout.splitlines()
    assert name.startswith("exp/")
    assert f"grpo-runs logs -f {name}" in done.stderr
    assert f"grpo-runs stop {name}" in done.stderr
    run = run_of(project, name)
    assert record_of(run)["backend"] == "detached"
    assert in_state(run, "done")["status"] == 0
    nothing_left(project)
    log = (run / "logs" / "launcher.log").read_text()
    assert "reward 0.25 -> 0.75 in 3 steps" in log


def test_the_supervisor_has_taken_over_and_is_on_its_own(project: Project) -> None:
    done = project.launch("role=both", "config=exp", "launch=detached", FAKE_LEARNER="hang")
    run = run_of(project, done.stdout.strip())
    pid = pid_of(run)
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"grpo_launch.execute.supervisor" in command
    os.kill(pid, signal.SIGTERM)
    assert in_state(run, "interrupted")["status"] == 143
    nothing_left(project)


def test_the_supervisor_holds_the_port_locks(project: Project) -> None:
    done = project.launch("role=both", "config=exp", "launch=detached", FAKE_LEARNER="hang")
    run = run_of(project, done.stdout.strip())
    assert locks.holder(project.port)
    second = project.launch("role=both", "config=exp", "launch=detached")
    assert second.status == 3
    assert (
        f"port {project.port} belongs to the run runs/{done.stdout.strip()}, stop it"
        in second.errors[0]
    )
    pid = pid_of(run)
    os.kill(pid, signal.SIGTERM)
    end_of(pid)
    until(lambda: not locks.holder(project.port))
    nothing_left(project)


def test_a_run_elsewhere_is_named_by_its_directory(project: Project) -> None:
    done = project.launch("role=server", "config=exp", "launch=detached", "run.dir=here")
    assert done.stdout == "here\n"
    os.kill(pid_of(project.directory / "here"), signal.SIGTERM)
    nothing_left(project)


def prepared(directory: Path) -> Prepared:
    """A run that is ready to be started, in ``directory``."""
    config = compose(
        "tiny_cpu", ["role=both", "runtime=current", f"train.rlhf.vllm_server_port=[{free_port()}]"]
    )
    parts = (plan.SERVER, plan.LEARNER)
    planned = build(config, assign(config, []), parts, "runs/tiny_cpu/x", directory)
    create.create(planned, config, {}, directory)
    run = directory / planned.run_dir
    environ = dict(os.environ)
    return Prepared(planned, run, "tiny_cpu/x", environ, directory, (), "tag", 0.0, sweeping=False)


def test_a_supervisor_that_fails_at_start_is_reported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = prepared(tmp_path)
    (run.run / "plan.json").write_text("{}")
    with pytest.raises(PreflightError, match=r"ended with status 1 before it took over") as caught:
        background.supervise(run, run.run / background.LOG)
    assert "launcher.log" in str(caught.value)
    assert "format: is missing" in capfd.readouterr().err
    state = record_of(run.run)
    assert (state["state"], state["status"]) == ("failed", 3)


def test_a_log_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    run = prepared(tmp_path)
    with pytest.raises(PreflightError, match="cannot be started"):
        background.supervise(run, tmp_path / "no" / "such" / "log")


def test_detached_runs_of_a_sweep_get_ports_of_their_own(project: Project) -> None:
    done = project.launch(
        "--multirun", "role=both", "config=exp", "launch=detached", "ports=auto",
        "train.rlhf.beta=0.1,0.2", FAKE_LEARNER="hang",
    )  # fmt: skip
    assert done.status == 0, done.stderr
    runs = [run_of(project, line) for line in done.stdout.splitlines() if line.startswith("exp/")]
    assert len(runs) == 2
    numbers = {argument(plan_of(run)["processes"][0]["argv"], "--port") for run in runs}
    assert len(numbers) == 2
    for run in runs:
        in_state(run, "training")
        os.kill(pid_of(run), signal.SIGTERM)
    nothing_left(project)
