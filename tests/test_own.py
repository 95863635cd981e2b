"""Tests, and what they start, write below directories of their own; what does not is seen."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.supervise import locks
from tests import own
from tests.conftest import Project

PLACES = (
    "import os, tempfile; from grpo_launch.supervise import locks\n"
    "print(tempfile.gettempdir(), locks.directory().parent, os.environ['HOME'])"
)


def test_nobody_writes_at_home_or_where_real_runs_lock(project: Project) -> None:
    session = os.environ["TMPDIR"]
    assert Path.home() == Path(session) != Path(pwd.getpwuid(os.geteuid()).pw_dir)
    assert str(locks.BASE) == session
    done = subprocess.run(
        [sys.executable, "-c", PLACES], env=project.environment(), capture_output=True, text=True
    )
    assert done.stdout.split() == [session, session, str(project.directory)], done.stderr


def test_programs_are_told_also_where_a_test_emptied_its_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"TMPDIR", "GRPO_LAUNCH_LOCKS"}
    assert told <= set(os.environ)
    for name in told:
        monkeypatch.delenv(name)
    assert told <= set(project.environment())


def test_new_files_in_a_clone_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("*.log\n")
    monkeypatch.setattr(own, "ROOT", tmp_path)
    before = own.in_the_clone()
    for name in ("configs/new.yaml", "run.log", "src/__pycache__/a.pyc", ".venv-3.10/bin/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert own.in_the_clone() - before == {"configs/new.yaml", "run.log"}


def test_locks_of_a_test_among_those_of_real_runs_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BASE", tmp_path)
    held = [locks.take(8000, "/home/me/runs/a"), locks.take(8001, f"{tmp_path}/test/runs/b")]
    path = locks.directory() / "port-8001"
    assert own.locks_of(tmp_path / "test", tmp_path) == [f"{path} of {tmp_path}/test/runs/b"]
    for descriptor in held:
        assert descriptor is not None
        os.close(descriptor)
