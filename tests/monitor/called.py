"""``grpo-runs`` as a person calls it: as a process, in the directory of a project."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import Finished, Project

COMMAND = [sys.executable, "-m", "grpo_launch.monitor"]


def grpo_runs(project: Project, *arguments: str) -> Finished:
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=project.directory,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return Finished(done.returncode, done.stdout, done.stderr)


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """One that goes on; its standard output and error are pipes."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=project.directory,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
