"""Another Python to test with is found where it is installed; one that is not there is no error."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

WORKS, FAILS = "exit 0", "echo 'pyenv: command not found' >&2; exit 127"


def put(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        ({}, None),
        ({"bin/python3.77": WORKS}, "bin/python3.77"),
        ({"bin/python3.77": FAILS}, None),
        (
            {"bin/python3.77": FAILS, "pyenv/versions/3.77.1/bin/python3": WORKS},
            "pyenv/versions/3.77.1/bin/python3",
        ),
        ({"pyenv/versions/3.7.7/bin/python3": WORKS}, None),
        ({"bin/uv": "echo $UV/python3", "uv/python3": WORKS}, "uv/python3"),
        ({"bin/uv": "exit 2"}, None),
    ],
    ids=["none", "on PATH", "a shim", "pyenv behind a shim", "another", "uv", "uv without it"],
)
def test_a_python_is_found(programs: dict[str, str], found: str | None, tmp_path: Path) -> None:
    for name, body in programs.items():
        put(tmp_path / name, body)
    environ = {
        "PATH": os.pathsep.join([str(tmp_path / "bin"), "/usr/bin", "/bin"]),
        "PYENV_ROOT": str(tmp_path / "pyenv"),
        "UV": str(tmp_path / "uv"),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", ". scripts/lib.sh; find_version 3.77"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == ([str(tmp_path / found)] if found else [])
    assert done.returncode == (0 if found else 1)
