"""``prepare``: what ``role=check`` judges is what a launch runs, and all of it at once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grpo_launch import plan
from grpo_launch.backends import registry
from grpo_launch.base.host import Host
from grpo_launch.checks import preflight
from grpo_launch.config.compose import compose
from grpo_launch.errors import ConfigError, LaunchError
from grpo_launch.roles import _launch, both, check
from grpo_launch.runs.record import RunRecord
from grpo_launch.settle import prepare
from grpo_launch.settle.preparation import Aim, Preparation
from grpo_launch.supervise import locks, sockets
from tests.conftest import FAKES, Project
from tests.launch.helpers import closing_port

BOTH = (plan.SERVER, plan.LEARNER)
KEY = "0123456789abcdef0123456789abcdef01234567"
WANDB = ("tracking=wandb", "tracking.wandb.mode=online")


@pytest.fixture(autouse=True)
def here(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The project is the working directory; its locks are its own."""
    monkeypatch.chdir(project.directory)
    directory = tmp_path_factory.mktemp("locks")
    monkeypatch.setattr(locks, "BASE", directory)
    return directory


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


def host(project: Project, **environ: str) -> Host:
    return Host(project.directory, project.environment(**environ), 0.0, "abcd")


def prepared(
    stack: contextlib.ExitStack, project: Project, aim: Aim, *overrides: str, **environ: str
) -> Preparation:
    config = compose("exp", ["role=both", "accelerator.kind=cpu", *overrides])
    backend = registry.of(config)
    return prepare.prepare(stack, config, host(project, **environ), BOTH, aim, backend.check)


def failures(made: Preparation) -> list[str]:
    return [str(failure) for failure in made.failures]


def checked(
    project: Project, capsys: pytest.CaptureFixture[str], *overrides: str, **environ: str
) -> dict[str, Any]:
    """What ``role=check output=json`` prints."""
    config = compose("exp", ["role=check", "accelerator.kind=cpu", "output=json", *overrides])
    check.run(config, host(project, **environ))
    return json.loads(capsys.readouterr().out)


def launch_error(project: Project, *overrides: str, **environ: str) -> LaunchError:
    config = compose("exp", ["role=both", "accelerator.kind=cpu", *overrides])
    with pytest.raises(LaunchError) as caught:
        both.run(config, host(project, **environ))
    return caught.value


@pytest.fixture
def no_tmux(tmp_path: Path) -> str:
    """A PATH with the engine and without tmux."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "python3"):
        (tools / name).symlink_to(str(shutil.which(name)))
    return f"{FAKES}{os.pathsep}{tools}"


# The same for both


@pytest.mark.parametrize(
    ("overrides", "environ"),
    [
        ([], {}),
        (WANDB, {"WANDB_NAME": "mine", "WANDB_API_KEY": KEY}),
        ([*WANDB, "env.file=secrets.env"], {}),
        (["ports=auto"], {}),
        (["launch=detached", "run.dir=elsewhere"], {}),
    ],
    ids=["plain", "WANDB_NAME", "env.file", "ports=auto", "run.dir"],
)
def test_a_check_and_a_launch_plan_the_same(
    stack: contextlib.ExitStack,
    project: Project,
    overrides: list[str],
    environ: dict[str, str],
) -> None:
    secrets = project.directory / "secrets.env"
    secrets.write_text(f"WANDB_API_KEY={KEY}\nWANDB_NAME=from the file\n")
    secrets.chmod(0o600)
    judged = prepared(stack, project, Aim.CHECK, *overrides, **environ)
    started = prepared(stack, project, Aim.START, *overrides, **environ)
    assert failures(judged) == failures(started) == []
    assert judged.run is not None
    assert started.run is not None
    run_id = host(project).run_id()
    assert judged.run.plan.to_json() == started.run.plan.to_json().replace(
        run_id, prepare.DRY_RUN_ID
    )
    assert judged.run.environ == started.run.environ


def test_a_check_names_the_wandb_run_as_the_learner_will(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"WANDB_NAME": "mine", "WANDB_API_KEY": KEY}
    body = checked(project, capsys, *WANDB, **environ)
    assert body["summary"]["tracking"]["W&B run"] == "mine"


def test_a_backend_that_cannot_start_the_run_is_seen_by_a_check(
    project: Project, capsys: pytest.CaptureFixture[str], no_tmux: str
) -> None:
    body = checked(project, capsys, "launch=tmux", PATH=no_tmux)
    assert body["status"] == 3
    assert [problem["what"] for problem in body["preflight"]] == ["tmux is not on PATH"]
    error = launch_error(project, "launch=tmux", PATH=no_tmux)
    assert (error.status, error.what) == (3, "tmux is not on PATH")


@pytest.mark.slow
def test_a_port_that_another_run_has_locked_is_seen_by_a_check(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = locks.take(project.port, "runs/exp/other")
    assert lock is not None
    try:
        (problem,) = checked(project, capsys)["preflight"]
        assert problem["what"] == f"port {project.port} belongs to the run runs/exp/other"
        assert launch_error(project).what == problem["what"]
    finally:
        os.close(lock)
    assert checked(project, capsys)["status"] == 0


def test_a_wrong_setting_of_the_backend_is_an_error_of_the_configuration(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ("launch=nohup", "launch.tag=a/b")
    assert checked(project, capsys, *overrides)["status"] == 2
    assert isinstance(launch_error(project, *overrides), ConfigError)


def test_a_directory_that_holds_a_run_is_seen_by_a_check(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.directory / "mine" / "logs").mkdir(parents=True)
    (problem,) = checked(project, capsys, "run.dir=mine")["preflight"]
    assert problem["what"] == "already holds a run"
    assert launch_error(project, "run.dir=mine").what == "already holds a run"


@pytest.mark.parametrize("name", ["config.yaml", "plan.json", "run.json", "notes.txt", ".git"])
def test_a_directory_that_holds_something_else_is_left_alone(
    project: Project, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    other = project.directory / "mine" / name
    other.parent.mkdir()
    other.write_text("precious")
    (problem,) = checked(project, capsys, "run.dir=mine")["preflight"]
    assert problem["what"] == f"is not empty ({name})"
    assert launch_error(project, "run.dir=mine").what == problem["what"]
    assert other.read_text() == "precious"
    assert os.listdir(other.parent) == [name]


@pytest.mark.parametrize("directory", [".", "/", "/etc", "exp.yaml"])
def test_no_run_is_recorded_over_what_is_there(
    project: Project, capsys: pytest.CaptureFixture[str], directory: str
) -> None:
    (project.directory / "exp.yaml").touch()
    (problem,) = checked(project, capsys, f"run.dir={directory}")["preflight"]
    assert problem["what"].startswith(("is not empty (", "cannot be used (Not a directory)"))


def test_an_empty_directory_takes_a_run(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.directory / "mine").mkdir()
    assert checked(project, capsys, "run.dir=mine")["status"] == 0


# Ports in TIME_WAIT


def test_a_check_says_that_a_launch_would_wait(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing_port() as port:
        body = checked(project, capsys, f"train.rlhf.vllm_server_port=[{port}]")
    assert body["status"] == 0
    (problem,) = body["preflight"]
    assert problem["severity"] == "warning"
    assert problem["what"] == f"port {port} is still in TIME_WAIT"


def test_a_launch_waits_until_the_port_is_free(
    stack: contextlib.ExitStack,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with closing_port() as port:
        ready = prepared(stack, project, Aim.START, f"train.rlhf.vllm_server_port=[{port}]")
    assert failures(ready) == []
    assert [waited.number for waited in ready.closing] == [port]
    looks = iter([True, True, False])

    def is_closing(_: int) -> bool:
        return next(looks)

    monkeypatch.setattr(sockets, "is_closing", is_closing)
    monkeypatch.setattr(sockets, "bind_failure", lambda _port: None)  # the minute is over
    monkeypatch.setattr(preflight, "_INTERVAL_S", 0.0)
    _launch.wait_for_ports(ready)
    assert next(looks, None) is None
    said = f"waiting up to 65 s for port {port}, still in TIME_WAIT"
    assert said in capsys.readouterr().err


# All at once, and nothing that follows


def test_preflight_reports_everything_with_its_place(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ("runtime=venv", "runtime.path=gone", *WANDB)
    with socket.create_server(("127.0.0.1", project.port)):
        body = checked(project, capsys, *wrong)
        error = launch_error(project, *wrong)
    places = [problem["where"] for problem in body["preflight"]]
    assert places == [
        "command line: runtime.path",
        "command line: tracking.wandb.mode",
        "configs/exp.yaml: rlhf.vllm_server_port",
    ]
    assert (body["status"], error.status) == (3, 3)
    assert [problem["rule"] for problem in body["preflight"]] == [None, "wandb has a key", None]
    lines = [f"{p['where']}: {p['what']}, {p['fix']}" for p in body["preflight"]]
    lines[1] += " [checks.warn: wandb_has_a_key]"
    assert error.lines() == lines


@pytest.mark.slow
def test_what_preflight_finds_can_be_a_warning_and_the_run_records_it(
    stack: contextlib.ExitStack, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = (*WANDB, "train.data.dataset=[gone.jsonl]")
    error = launch_error(project, *overrides)
    names = [line.rpartition(" [checks.warn: ")[2].removesuffix("]") for line in error.lines()]
    assert names == ["files_exist", "wandb_has_a_key"]
    warn = f"checks.warn=[{','.join(names)}]"
    body = checked(project, capsys, *overrides, warn)
    assert [body["status"], body["downgraded"]] == [0, ["files exist", "wandb has a key"]]
    assert {problem["severity"] for problem in body["preflight"]} == {"warning"}
    started = prepared(stack, project, Aim.START, *overrides, warn)
    assert [warning.line for warning in started.warnings] == error.lines()
    assert started.run is not None
    assert started.run.plan.downgraded == ("files_exist", "wandb_has_a_key")
    record = RunRecord.new(started.run.plan, started.run.run, "foreground")
    assert record.state["downgraded"] == ["files_exist", "wandb_has_a_key"]


@pytest.mark.slow
def test_what_keeps_a_run_from_starting_stays_an_error(project: Project) -> None:
    with socket.create_server(("127.0.0.1", project.port)):
        error = launch_error(project, "checks.warn=[files_exist]")
    assert error.status == 3
    assert [line for line in error.lines() if "[checks.warn: " in line] == []


def test_a_missing_command_is_said_once(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    body = checked(project, capsys, "engine.entry=[no-such]", "learner.entry=[no-such]")
    assert [problem["where"] for problem in body["preflight"]] == ["server: no-such"]


def test_what_env_file_might_hold_is_not_missed_when_it_cannot_be_read(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", project.port)):
        body = checked(project, capsys, *WANDB, "env.file=gone.env")
    places = [problem["where"] for problem in body["preflight"]]
    assert places == ["command line: env.file", "configs/exp.yaml: rlhf.vllm_server_port"]


def test_a_busy_port_of_a_run_is_said_once(stack: contextlib.ExitStack, project: Project) -> None:
    lock = locks.take(project.port, "runs/exp/other")
    assert lock is not None
    stack.callback(os.close, lock)
    with socket.create_server(("127.0.0.1", project.port)):
        (failure,) = failures(prepared(stack, project, Aim.CHECK))
    assert "belongs to the run runs/exp/other" in failure


# Nothing left behind


@pytest.mark.slow
def test_a_check_leaves_nothing(
    project: Project, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    before = os.listdir("/proc/self/fd")
    for overrides in ([], ["ports=auto"], ["launch=nohup"], ["launch=detached"]):
        assert checked(project, capsys, *overrides)["status"] == 0
    assert os.listdir("/proc/self/fd") == before
    assert list(here.iterdir()) == []
    assert project.files() - {".cache", ".cache/grpo_launch"} == set()


def test_a_launch_that_is_refused_gives_its_locks_back(project: Project) -> None:
    error = launch_error(project, "launch=nohup", "launch.tag=a/b")
    assert "launch.tag" in str(error)
    assert locks.holder(project.port) is None
    assert not (project.directory / "runs").exists()


# Dry runs


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    ("backend", "shown"),
    [
        ("tmux", ["session  train_exp_NEW", "tmux new-session -d ", "attach -t train_exp_NEW"]),
        ("nohup", ["nohup ", "logs/nohup_exp_YYYYmmdd_HHMMSS.exit", "logs/nohup_exp_latest.{"]),
        ("detached", ["setsid ", "runs/exp/NEW/logs/launcher.log", "grpo-runs stop exp/NEW"]),
    ],
)
def test_a_dry_run_shows_how_it_would_be_started(
    project: Project, capsys: pytest.CaptureFixture[str], backend: str, shown: list[str]
) -> None:
    def dry_run(*overrides: str) -> str:
        config = compose("exp", ["role=both", "accelerator.kind=cpu", *overrides])
        assert both.run(config, host(project)) == 0
        return capsys.readouterr().out

    plain = dry_run("dry_run=true")
    text = dry_run("dry_run=true", f"launch={backend}")
    assert text.startswith(plain)
    more = text.removeprefix(plain)
    assert all(words in more for words in shown)
    assert all(line.startswith("#") for line in more.splitlines() if line)
    as_json = dry_run("dry_run=json", f"launch={backend}")
    assert as_json == dry_run("dry_run=json")
    assert project.files() == set()
