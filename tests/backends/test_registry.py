"""Backends by name: the shipped ones, and those that other packages bring."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.backends import registry
from grpo_launch.errors import ConfigError
from grpo_launch.plugins import BACKENDS
from tests.conftest import Project

PLUGIN = """\
from grpo_launch.backends.base import Capabilities

CAPABILITIES = Capabilities(detached=True, hosts="many", requeue=True)

def check(prepared): return ()
def render(prepared): return f"queue {prepared.name}\\n"
def start(prepared): return 0
def describe(prepared): return [f"queued {prepared.name}"]
def cancel(run): return False
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of packages with one that brings the backends ``queue`` and ``broken``."""
    directory = tmp_path / "site"
    info = directory / "queue_backend-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: queue-backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[grpo_launch.backends]\nqueue = queue_backend\nbroken = queue_broken\n"
    )
    (directory / "queue_backend.py").write_text(PLUGIN)
    (directory / "queue_broken.py").write_text("def start(prepared): return 0\n")
    monkeypatch.syspath_prepend(str(directory))
    return directory


@pytest.mark.parametrize("name", ["foreground", "detached", "nohup", "tmux"])
def test_the_shipped_ones_are_there(name: str) -> None:
    assert registry.get(name).CAPABILITIES.hosts == "one"
    assert name in BACKENDS.names()


@pytest.mark.slow
def test_an_unknown_one_is_answered_with_the_known(project: Project) -> None:
    done = project.launch("role=check", "config=exp", "launch.backend=slurm")
    assert done.status == 2
    (error,) = done.errors
    assert error == (
        "error: command line: launch.backend: there is no backend slurm, "
        "choose one of detached, foreground, nohup, tmux"
    )


@pytest.mark.slow
def test_another_package_brings_one(project: Project, site: Path) -> None:
    said = ("role=both", "config=exp", "launch.backend=queue", "accelerator.kind=cpu")
    shown = project.launch(*said, "dry_run=true", PYTHONPATH=str(site))
    assert (shown.status, shown.stdout) == (0, "queue exp/NEW\n"), shown.stderr
    done = project.launch(*said, PYTHONPATH=str(site))
    assert done.status == 0, done.stderr
    assert "queued exp/" in done.stderr


@pytest.mark.usefixtures("site")
def test_one_that_is_not_whole_is_refused_when_it_is_loaded() -> None:
    with pytest.raises(ConfigError, match="the backend broken has no CAPAB"):
        registry.get("broken")


def test_only_the_chosen_one_is_imported() -> None:
    code = (
        "import sys; from grpo_launch.backends import registry; registry.get('foreground');"
        "sys.exit(any('tmux' in name or 'nohup' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
