"""Whole runs with the fake engine: what the user sees, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project, free_port

pytestmark = pytest.mark.slow


def run_json(project: Project) -> dict[str, object]:
    return json.loads((project.directory / "runs" / "latest" / "run.json").read_text())


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} was never said, but:\n{seen}")


def test_both_trains_says_what_happened_and_leaves_a_record(project: Project) -> None:
    project.pictures = True
    done = project.launch("role=both", "config=exp")
    assert done.status == 0, done.stderr
    assert done.stdout == ""
    assert "reward 0.25 -> 0.75 in 3 steps, " in done.stderr.splitlines()[-1]
    assert project.left_over() == []
    run = project.directory / "runs" / "latest"
    assert os.readlink(run).startswith("exp/")
    expected = {
        "run.json", "plan.json", "config.yaml", "overrides.yaml", "provenance.json",
        "learner_arguments.yaml", "logs", "output", "training.png",
    }  # fmt: skip
    assert {path.name for path in run.iterdir()} == expected
    logs = {"server.log", "learner.log"}
    assert {path.name for path in (run / "logs").iterdir()} == {*logs, "attempt_1", "latest"}
    attempt = (run / "logs" / "latest").resolve()
    assert attempt.name == "attempt_1"
    assert {path.name for path in attempt.iterdir()} == {*logs, "learner_arguments.yaml"}
    record = run_json(project)
    assert (record["state"], record["status"]) == ("done", 0)
    processes = record["processes"]
    assert isinstance(processes, dict)
    assert processes["learner"]["exit"] == 0
    assert processes["server"]["exit"] == 143
    assert (run / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_is_private_to_its_user(project: Project) -> None:
    project.pictures = True
    assert project.launch("role=both", "config=exp").status == 0
    run = (project.directory / "runs" / "latest").resolve()
    for path in (run, *run.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_each_half_gets_its_devices_and_its_arguments(project: Project) -> None:
    done = project.launch(
        "role=both", "config=exp", "rollout_server.vllm_max_num_seqs=4", "+train.rlhf.beta=0.5"
    )
    assert done.status == 0, done.stderr
    logs = project.directory / "runs" / "latest" / "logs"
    assert "--vllm_max_num_seqs 4" in (logs / "server.log").read_text()
    assert '"beta": 0.5' in (logs / "learner.log").read_text()


def test_the_headline_runtime_is_conda(project: Project) -> None:
    done = project.launch("role=both", "config=exp", "runtime=conda")
    assert done.status == 0, done.stderr
    plan = json.loads((project.directory / "runs" / "latest" / "plan.json").read_text())
    entered = ["conda", "run", "--no-capture-output", "-n", "ms"]
    assert [p["argv"][:5] for p in plan["processes"]] == [entered, entered]


@pytest.mark.parametrize(
    ("learner", "status"), [("fail", 7), ("killed", 128 + signal.SIGKILL)], ids=["fails", "killed"]
)
def test_the_learners_status_is_passed_on_and_the_server_stopped(
    project: Project, learner: str, status: int
) -> None:
    done = project.launch("role=both", "config=exp", FAKE_LEARNER=learner)
    assert done.status == status
    assert f"the learner ended with status {status}" in done.stderr.splitlines()[-1]
    assert project.left_over() == []
    assert run_json(project)["state"] == "failed"


def test_a_failed_learners_last_lines_are_shown(project: Project) -> None:
    done = project.launch("role=both", "config=exp", FAKE_LEARNER="fail")
    assert "ValueError: loss is nan" in done.stderr


def test_the_servers_death_stops_the_learner(project: Project) -> None:
    done = project.launch(
        "role=both", "config=exp", FAKE_SERVER="die_under_learner", FAKE_LEARNER="hang"
    )
    assert done.status == 5
    assert len(done.errors) == 1
    assert "the server died under the learner (status 9)" in done.errors[0]
    assert "fatal: the engine is gone" in done.stderr
    assert project.left_over() == []


@pytest.mark.parametrize("role", ["server", "both"])
def test_a_server_that_dies_at_start_shows_its_last_lines(project: Project, role: str) -> None:
    done = project.launch(f"role={role}", "config=exp", FAKE_SERVER="die_at_start")
    assert done.status == 4
    assert len(done.errors) == 1
    assert "the server ended with status 3 before it was ready" in done.errors[0]
    assert "RuntimeError: CUDA out of memory" in done.stderr
    assert project.left_over() == []


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("never_healthy", "not healthy after 0.5 s"),
        ("wrong_world_size", "says 2, but TP x DP is 1"),
        ("no_world_size", "no world size"),
        ("no_token", "healthy, but no token comes back (status 500)"),
    ],
)
def test_a_server_that_is_not_really_ready(project: Project, server: str, said: str) -> None:
    done = project.launch("role=both", "config=exp", "health.timeout_s=0.5", FAKE_SERVER=server)
    # A slow machine may reach the deadline before the server listens; give it the time it needs.
    if server != "never_healthy" and "not healthy" in done.stderr:
        done = project.launch("role=both", "config=exp", "health.timeout_s=30", FAKE_SERVER=server)
    assert done.status == 4
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert project.left_over() == []


def test_learner_alone_waits_for_a_server_of_another_terminal(project: Project) -> None:
    server = project.start("role=server", "config=exp")
    learner = project.launch("role=learner", "config=exp")
    assert learner.status == 0, learner.stderr
    read_until(server, "server: ready")
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 130
    assert project.left_over() == []


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_run_after_a_clean_teardown(
    project: Project, signum: int, status: int
) -> None:
    process = project.start("role=both", "config=exp", FAKE_LEARNER="hang")
    read_until(process, "learner: started")
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == status
    assert stderr.splitlines()[-1].startswith(f"{signal.Signals(signum).name}: interrupted")
    assert project.left_over() == []
    assert run_json(project)["state"] == "interrupted"


@pytest.mark.parametrize(("on_alarm", "status"), [("stop", 7), ("warn", 0)])
def test_a_server_that_fails_quietly_is_heard(project: Project, on_alarm: str, status: int) -> None:
    chosen = [] if on_alarm == "stop" else [f"watchdog.on_alarm={on_alarm}"]
    done = project.launch("role=both", "config=exp", *chosen, FAKE_SERVER="stale_weights")
    assert done.status == status, done.stderr
    lines = done.stderr.splitlines()
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "its rollouts are stale" in warnings[0]
    assert ("its rollouts are stale, look there for the reason" in lines[-1]) is (status == 7)
    listed = project.run("list", module="grpo_launch.monitor")
    assert "alarm: server: 'Method execution failed: collective_rpc': the server" in listed.stdout


def test_a_signal_ends_the_wait_for_a_server(project: Project) -> None:
    process = project.start("role=both", "config=exp", FAKE_SERVER="never_healthy")
    read_until(process, "waiting for")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert project.left_over() == []


def test_processes_that_ignore_sigterm_and_hide_are_killed(project: Project) -> None:
    process = project.start(
        "role=both", "config=exp", "shutdown.term_s=0.3", FAKE_SERVER="stubborn",
        FAKE_LEARNER="stubborn",
    )  # fmt: skip
    read_until(process, "step ")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert project.left_over() == []


def test_a_second_interrupt_does_not_wait_for_the_deadline(project: Project) -> None:
    process = project.start(
        "role=both", "config=exp", "shutdown.term_s=3600", FAKE_SERVER="stubborn",
        FAKE_LEARNER="stubborn",
    )  # fmt: skip
    read_until(process, "step ")
    process.send_signal(signal.SIGINT)
    read_until(process, "stopping the server")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert project.left_over() == []


def test_a_run_directory_is_never_used_twice(project: Project) -> None:
    assert project.launch("role=both", "config=exp", "run.dir=here").status == 0
    (project.directory / "learner.runs").unlink()
    other = f"train.rlhf.vllm_server_port=[{free_port()}]"  # the first is in TIME_WAIT now
    again = project.launch("role=both", "config=exp", "run.dir=here", other)
    assert again.status == 3
    assert "already holds a run" in again.errors[0]
    assert run_json_at(project.directory / "here")["state"] == "done"


def test_a_reader_that_is_gone_does_not_stop_the_teardown(project: Project) -> None:
    process = project.start("role=both", "config=exp", FAKE_LEARNER="hang")
    read_until(process, "learner: started")
    assert process.stderr is not None
    process.stderr.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert project.left_over() == []
    assert run_json(project)["state"] == "interrupted"


def test_a_deleted_run_directory_does_not_stop_the_teardown(project: Project) -> None:
    process = project.start("role=both", "config=exp", FAKE_LEARNER="hang")
    read_until(process, "step ")
    shutil.rmtree(project.directory / "runs")
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "cannot be written" in stderr
    assert project.left_over() == []


def run_json_at(run: Path) -> dict[str, object]:
    return json.loads((run / "run.json").read_text())
