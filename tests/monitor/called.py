"""``grpo-runs`` as it is called: in the directory of a project, apart from the tests."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import Finished, Project

MODULE = "grpo_launch.monitor"
COMMAND = [sys.executable, "-m", MODULE]


def grpo_runs(project: Project, *arguments: str) -> Finished:
    done = project.run(*arguments, module=MODULE)
    assert "Traceback" not in done.stderr
    return done


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
