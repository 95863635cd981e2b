"""``launch=nohup``: the files of the scripts before it, and an exit status whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from grpo_launch.backends.nohup import files
from tests.conftest import ROOT, Project
from tests.launch.helpers import end_of, in_state, nothing_left, until
from tests.launch.test_detached import prepared

pytestmark = pytest.mark.slow

NAME = re.compile(r"nohup_exp_\d{8}_\d{6}(_\d+)?\.(log|exit|pid)")


def exit_status(project: Project) -> int:
    """What ``_latest.exit`` says once it says anything."""
    path = project.directory / "logs" / "nohup_exp_latest.exit"
    return int(until(lambda: path.exists() and path.read_text()))


def newest(project: Project) -> Path:
    return (project.directory / "runs" / "latest").resolve()


def test_the_files_are_those_of_the_scripts(project: Project) -> None:
    done = project.launch("role=both", "config=exp", "launch=nohup")
    assert done.status == 0, done.stderr
    first, *paths = done.stdout.splitlines()
    logs = project.directory / "logs"
    own, latest = paths[:3], paths[3:]
    assert [Path(path).suffix for path in paths] == [".log", ".exit", ".pid"] * 2
    assert all(NAME.fullmatch(Path(path).name) for path in own)
    assert latest == [f"logs/nohup_exp_latest.{ending}" for ending in ("log", "exit", "pid")]
    for link, target in zip(latest, own, strict=True):
        assert os.readlink(project.directory / link) == Path(target).name
    pid = int((logs / "nohup_exp_latest.pid").read_text())
    assert first == f"pid {pid}"
    assert exit_status(project) == 0
    end_of(pid)
    assert (project.directory / own[1]).read_bytes() == b"0\n"
    assert "reward 0.25 -> 0.75" in (project.directory / own[0]).read_text()
    assert (newest(project) / "logs" / "launcher.log").samefile(project.directory / own[0])
    nothing_left(project)


def test_a_failed_learner_leaves_its_status(project: Project) -> None:
    assert (
        project.launch("role=both", "config=exp", "launch=nohup", FAKE_LEARNER="fail").status == 0
    )
    assert exit_status(project) == 7
    nothing_left(project)


def test_an_error_of_the_run_leaves_its_status(project: Project) -> None:
    project.launch("role=both", "config=exp", "launch=nohup", FAKE_SERVER="die_at_start")
    assert exit_status(project) == 4
    nothing_left(project)


def test_sighup_is_ignored_and_sigterm_ends_the_run(project: Project) -> None:
    project.launch("role=both", "config=exp", "launch=nohup", FAKE_LEARNER="hang")
    pid = int((project.directory / "logs" / "nohup_exp_latest.pid").read_text())
    run = newest(project)
    in_state(run, "training")
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGTERM)
    # Signals are taken in the order of their numbers: a hangup that counted would be first.
    assert exit_status(project) == 143
    assert in_state(run, "interrupted")["status"] == 143
    nothing_left(project)


def test_a_killed_supervisor_leaves_an_exit_status(project: Project) -> None:
    project.launch("role=both", "config=exp", "launch=nohup", FAKE_LEARNER="stubborn")
    run = newest(project)
    in_state(run, "training")
    os.kill(int((project.directory / "logs" / "nohup_exp_latest.pid").read_text()), signal.SIGKILL)
    assert exit_status(project) == 137
    assert in_state(run, "lost")["status"] == 137
    nothing_left(project)


def test_a_supervisor_that_is_killed_between_two_attempts_leaves_one_too(
    project: Project,
) -> None:
    project.launch(
        "role=both", "config=exp", "launch=nohup", "on_failure=restart", "restart.backoff_s=300",
        FAKE_LEARNER="fail",
    )  # fmt: skip
    run = newest(project)
    in_state(run, "restarting")
    os.kill(int((project.directory / "logs" / "nohup_exp_latest.pid").read_text()), signal.SIGKILL)
    assert exit_status(project) == 137
    assert in_state(run, "lost")["status"] == 137
    nothing_left(project)


def test_starts_in_the_same_second_get_different_names(tmp_path: Path) -> None:
    run = prepared(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: files.reserve(run)["log"].name, range(24)))
    assert len(set(names)) == 24
    assert {"nohup_tag_19700101_000000.log", "nohup_tag_19700101_000000_2.log"} <= set(names)


def test_the_links_of_concurrent_starts_lead_to_one_of_them(project: Project) -> None:
    start = ("role=server", "config=exp", "launch=nohup", "ports=auto")
    launchers = [project.start(*start) for _ in range(2)]
    printed = [launcher.communicate(timeout=50)[0].splitlines() for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0]
    assert len({tuple(lines[1:4]) for lines in printed}) == 2
    logs = project.directory / "logs"
    targets = {os.readlink(logs / f"nohup_exp_latest.{end}")[:-4] for end in ("log", "pid")}
    assert len(targets) == 1
    for lines in printed:
        os.kill(int(lines[0].removeprefix("pid ")), signal.SIGTERM)
        exit_file = project.directory / lines[2]
        assert until(lambda path=exit_file: path.exists() and path.read_text()) == "143\n"
    nothing_left(project)


@pytest.mark.parametrize("tag", ["a/b", "''"])
def test_a_tag_must_be_a_part_of_a_name(project: Project, tag: str) -> None:
    done = project.launch("role=both", "config=exp", "launch=nohup", f"launch.tag={tag}")
    assert done.status == 2
    assert "cannot be a part of a file's name" in done.errors[0]
    assert project.files() == set()


def test_a_directory_that_cannot_be_written_is_said(project: Project) -> None:
    (project.directory / "logs").write_text("in the way")
    done = project.launch("role=both", "config=exp", "launch=nohup")
    assert done.status == 3
    assert "logs: cannot be written (File exists)" in done.errors[0]
    nothing_left(project)


def test_the_tag_names_the_files(tmp_path: Path) -> None:
    run = replace(prepared(tmp_path), tag="v1.5")
    assert files.reserve(run)["pid"].name == "nohup_v1.5_19700101_000000.pid"


# env=tpu


def environ_of(project: Project, name: str) -> dict[bytes, bytes]:
    state = in_state(newest(project), "training", "serving")
    environ = Path(f"/proc/{state['processes'][name]['pid']}/environ").read_bytes()
    return dict(entry.split(b"=", 1) for entry in environ.split(b"\0") if entry)


def test_the_callers_environment_wins_over_the_profile(project: Project) -> None:
    done = project.launch(
        "role=both", "config=exp", "launch=nohup", "env=tpu",
        FAKE_LEARNER="hang", ROLLOUT_FAST_GENERATE="0",
    )  # fmt: skip
    assert done.status == 0, done.stderr
    for name in ("server", "learner"):
        environ = environ_of(project, name)
        assert environ[b"ROLLOUT_FAST_GENERATE"] == b"0"
        assert environ[b"ROLLOUT_FAST_QWEN2_DECODE_ATTENTION"] == b"1"
        assert environ[b"TOKENIZERS_PARALLELISM"] == b"false"


# scripts/start_nohup.sh


def script(project: Project, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "start_nohup.sh"), *arguments],
        cwd=project.directory,
        env=project.environment(PYTHON="python", **environ),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_starts_a_run(project: Project) -> None:
    done = script(project, "--config", "configs/exp.yaml", "launch.tag=mine", "role=server")
    assert done.returncode == 0, done.stderr
    pid = int((project.directory / "logs" / "nohup_mine_latest.pid").read_text())
    state = in_state(newest(project), "serving")
    assert state["role"] == "server"
    os.kill(pid, signal.SIGTERM)
    nothing_left(project)


@pytest.mark.parametrize("name", ["it's.yaml", 'a "b" $HOME `c`.yaml', "x=y,z.yaml", "a\\'b.yaml"])
def test_the_script_quotes(project: Project, name: str) -> None:
    directory = project.directory / "other place"
    directory.mkdir()
    (directory / name).write_text((project.directory / "configs" / "exp.yaml").read_text())
    done = script(project, "--config", f"other place/{name}", "dry_run=json", "env=default")
    assert done.returncode == 0, done.stderr
    assert '"role": "both"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--config: is missing"),
        (("--config",), "--config: has no FILE"),
        (("--config", "no.yaml"), "no.yaml: there is no such file"),
        (("--config", "configs/exp.yaml", "--verbose"), "--verbose: unknown option"),
        (("--config", "configs/exp.yaml", "word"), "word: is no override"),
        (("--config", "configs/exp.yaml", "launch=tmux"), "launch=tmux: is what this script says"),
    ],
)
def test_the_script_refuses(project: Project, arguments: tuple[str, ...], said: str) -> None:
    done = script(project, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert len(done.stderr.splitlines()) == 1
    assert project.files() == set()
