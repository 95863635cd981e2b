"""``launch=tmux``: a session of its own, with the caller's environment and nobody else's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from grpo_launch.backends.tmux import backend
from grpo_launch.errors import PreflightError
from grpo_launch.supervise import locks
from tests.conftest import Project
from tests.launch.helpers import in_state, nothing_left, plan_of, read, run_of, until
from tests.launch.helpers import supervisor as pid_of
from tests.launch.test_detached import prepared

pytestmark = pytest.mark.slow

SECRET = "hunter2-is-no-argument"


@dataclass(frozen=True)
class Tmux:
    """A tmux server of the test's own."""

    directory: str

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": os.environ["PATH"], "TMUX_TMPDIR": self.directory}
        return subprocess.run(
            ["tmux", *arguments], env=environ, capture_output=True, text=True, check=False
        )

    def sessions(self) -> list[str]:
        return self("list-sessions", "-F", "#{session_name}").stdout.split()


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        if os.environ.get("GRPO_LAUNCH_NEEDS_TMUX"):
            pytest.fail("tmux is not installed")
        pytest.skip("tmux is not installed")
    # Not tmp_path: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        made = Tmux(directory)
        yield made
        made("kill-server")


def launch(project: Project, tmux: Tmux, *arguments: str, **environ: str) -> tuple[str, Path]:
    """The session and the run of a launch that succeeds."""
    done = project.launch(
        "role=both", "config=exp", "launch=tmux", *arguments, TMUX_TMPDIR=tmux.directory, **environ
    )
    assert done.status == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("tmux attach -t train_exp_")
    return line.split()[-1], (project.directory / "runs" / "latest").resolve()


def test_the_run_is_in_a_session_on_a_terminal(project: Project, tmux: Tmux) -> None:
    session, run = launch(project, tmux, FAKE_LEARNER="hang")
    assert session == f"train_exp_{run.name}"
    assert tmux.sessions() == [session]
    assert read(run)["backend"] == "tmux"
    in_state(run, "training")
    terminal = os.readlink(f"/proc/{pid_of(run)}/fd/2")
    assert terminal.startswith("/dev/pts/")
    assert "learner: started" in until(
        lambda: "learner: started" in (text := tmux("capture-pane", "-p").stdout) and text
    )
    log = run / "logs" / "launcher.log"
    until(lambda: "step 3/3  reward 0.75" in log.read_text())
    os.kill(pid_of(run), signal.SIGTERM)
    assert in_state(run, "interrupted")["status"] == 143
    nothing_left(project)
    assert log.read_text().splitlines()[-1].startswith("SIGTERM: interrupted")


def test_a_session_that_is_done_goes_away(project: Project, tmux: Tmux) -> None:
    _, run = launch(project, tmux)
    assert in_state(run, "done")["status"] == 0
    until(lambda: tmux.sessions() == [])
    nothing_left(project)


def test_a_session_that_failed_stays_to_be_read(project: Project, tmux: Tmux) -> None:
    session, run = launch(project, tmux, FAKE_LEARNER="fail")
    in_state(run, "failed")
    last = "status 7; Enter closes this session"
    text = until(lambda: last in (seen := tmux("capture-pane", "-p").stdout) and seen)
    assert "ValueError: loss is nan" in text
    log = (run / "logs" / "launcher.log").read_text()
    assert "learner: started" in log
    assert "ValueError: loss is nan" in log
    assert "the learner ended with status 7 after" in log
    assert "\x1b" not in log
    assert tmux.sessions() == [session]
    tmux("send-keys", "-t", session, "Enter")
    until(lambda: tmux.sessions() == [])
    nothing_left(project)


def test_killing_the_session_ends_the_run_in_order(project: Project, tmux: Tmux) -> None:
    session, run = launch(project, tmux, FAKE_LEARNER="hang")
    in_state(run, "training")
    tmux("kill-session", "-t", session)
    assert in_state(run, "interrupted")["status"] == 129
    nothing_left(project)


def test_the_callers_environment_reaches_it_and_no_argument(project: Project, tmux: Tmux) -> None:
    # This server has an environment of its own already.
    tmux("new-session", "-d", "-s", "before")
    session, run = launch(project, tmux, FAKE_LEARNER="hang", HF_TOKEN=SECRET, OMP_NUM_THREADS="3")
    learner = in_state(run, "training")["processes"]["learner"]["pid"]
    for pid in (pid_of(run), learner):
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert f"HF_TOKEN={SECRET}".encode() in environ
        assert b"OMP_NUM_THREADS=3" in environ
        assert any(entry.startswith(b"TMUX_PANE=") for entry in environ)
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                command = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            assert SECRET.encode() not in command
    for scope in (("-g",), ("-t", session)):
        assert SECRET not in tmux("show-environment", *scope).stdout
    assert SECRET not in "".join(p.read_text() for p in run.glob("*.json"))
    os.kill(pid_of(run), signal.SIGTERM)
    nothing_left(project)


def test_a_new_tmux_server_does_not_keep_the_callers_environment(
    project: Project, tmux: Tmux
) -> None:
    launch(project, tmux, FAKE_LEARNER="fail", HF_TOKEN=SECRET)
    assert SECRET not in tmux("show-environment", "-g").stdout
    assert "HOME=" in tmux("show-environment", "-g").stdout


def test_the_supervisor_in_the_session_holds_the_port_locks(project: Project, tmux: Tmux) -> None:
    _, run = launch(project, tmux, "ports=auto", FAKE_LEARNER="hang")
    assert all(locks.holder(port) for port in plan_of(run)["ports"])
    os.kill(pid_of(run), signal.SIGTERM)
    nothing_left(project)
    # A process that ends gives its memory back before its files.
    until(lambda: not any(locks.holder(port) for port in plan_of(run)["ports"]))


def test_a_session_of_that_name_is_refused(project: Project, tmux: Tmux) -> None:
    tmux("new-session", "-d", "-s", "train_my_run")
    done = project.launch(
        "role=both", "config=exp", "launch=tmux", "run.dir=my.run", TMUX_TMPDIR=tmux.directory
    )
    assert done.status == 3
    (error,) = done.errors
    assert error.startswith("error: launch=tmux: the session train_my_run exists, look at it with")
    assert project.files() == set()
    assert tmux.sessions() == ["train_my_run"]


def test_a_program_that_ends_too_early_is_reported(
    tmp_path: Path, tmux: Tmux, capfd: pytest.CaptureFixture[str]
) -> None:
    ready = prepared(tmp_path)
    ready = replace(ready, environ={**ready.environ, "TMUX_TMPDIR": tmux.directory})
    (ready.run / "plan.json").write_text("{}")
    with pytest.raises(PreflightError, match="ended before it took over"):
        backend.start(ready)
    assert "format: is missing" in capfd.readouterr().err
    assert tmux.sessions() == []
    state = read(ready.run)
    assert (state["state"], state["status"]) == ("failed", 3)


def test_without_tmux_it_is_refused(project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "python3"):
        (tools / name).symlink_to(str(shutil.which(name)))
    path = os.pathsep.join([project.environment()["PATH"].split(os.pathsep)[0], str(tools)])
    done = project.launch("role=both", "config=exp", "launch=tmux", PATH=path)
    assert done.status == 3
    assert done.errors == [
        "error: launch=tmux: tmux is not on PATH, install it, or use launch=detached"
    ]
    assert not (project.directory / "runs").exists()


def test_two_runs_in_two_sessions(project: Project, tmux: Tmux) -> None:
    first, _ = launch(project, tmux, "ports=auto", FAKE_LEARNER="hang")
    second, _ = launch(project, tmux, "ports=auto", FAKE_LEARNER="hang")
    assert sorted(tmux.sessions()) == sorted([first, second])
    ports: set[int] = set()
    for session in (first, second):
        run = run_of(project, f"exp/{session.removeprefix('train_exp_')}")
        in_state(run, "training")
        ports.update(plan_of(run)["ports"])
        os.kill(pid_of(run), signal.SIGTERM)
    assert len(ports) == 6
    nothing_left(project)
