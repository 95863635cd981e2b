"""The kinds of ``runtime``: is it there, which interpreter it has, what is installed in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch import runtimes
from grpo_launch.config import schema


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def venv(path: str) -> runtimes.Runtime:
    return runtimes.of(schema.Runtime(schema.RuntimeKind.venv, path=path))


def conda(name: str) -> runtimes.Runtime:
    return runtimes.of(schema.Runtime(schema.RuntimeKind.conda, name=name))


CURRENT = runtimes.of(schema.Runtime(schema.RuntimeKind.current))


def test_a_virtual_environment_is_one_with_an_interpreter(tmp_path: Path) -> None:
    problem = venv("env").problem({}, tmp_path)
    assert problem is not None
    assert problem.key == "runtime.path"
    assert problem.what == "env is no virtual environment"
    assert venv("env").python(["swift"], {}, tmp_path) is None
    python = executable(tmp_path / "env" / "bin" / "python")
    assert venv("env").problem({}, tmp_path) is None
    assert venv("env").python(["swift"], {}, tmp_path) == python


@pytest.mark.parametrize(
    "place",
    ["{root}/envs/ms", "{home}/.conda/envs/ms", "{elsewhere}/ms", "{listed}/ms"],
    ids=["beside conda", "in the home directory", "in CONDA_ENVS_PATH", "in environments.txt"],
)
def test_a_conda_environment_is_looked_for_where_conda_looks(tmp_path: Path, place: str) -> None:
    places = {name: tmp_path / name for name in ("root", "home", "elsewhere", "listed")}
    executable(places["root"] / "bin" / "conda")
    environ = {
        "PATH": str(places["root"] / "bin"),
        "HOME": str(places["home"]),
        "CONDA_ENVS_PATH": str(places["elsewhere"]),
    }
    (places["home"] / ".conda").mkdir(parents=True)
    (places["home"] / ".conda" / "environments.txt").write_text(f"{places['listed']}/ms\n")
    problem = conda("ms").problem(environ, tmp_path)
    assert problem is not None
    assert problem.what == "there is no conda environment ms"
    prefix = Path(place.format(**places))
    python = executable(prefix / "bin" / "python")
    assert conda("ms").problem(environ, tmp_path) is None
    assert conda("ms").python(["swift"], environ, tmp_path) == python


def test_without_conda_there_is_no_conda_environment(tmp_path: Path) -> None:
    problem = conda("ms").problem({"PATH": str(tmp_path)}, tmp_path)
    assert problem is not None
    assert problem.what == "conda is not on PATH"


def test_the_interpreter_beside_a_command_is_its_own(tmp_path: Path) -> None:
    python, swift = (executable(tmp_path / "bin" / name) for name in ("python", "swift"))
    environ = {"PATH": str(swift.parent)}
    assert CURRENT.python(["swift"], environ, tmp_path) == python
    assert CURRENT.python(["python", "-m", "swift"], environ, tmp_path) == python
    assert CURRENT.python(["absent"], environ, tmp_path) is None


def test_the_first_line_of_a_console_script_names_its_interpreter(tmp_path: Path) -> None:
    """``pip install --user`` puts scripts where no interpreter is."""
    python = executable(tmp_path / "usr" / "bin" / "python3")
    executable(tmp_path / "bin" / "swift", f"#!{python}\n")
    executable(tmp_path / "bin" / "shell", "#!/bin/sh\n")
    environ = {"PATH": str(tmp_path / "bin")}
    assert CURRENT.python(["swift"], environ, tmp_path) == python
    assert CURRENT.python(["shell"], environ, tmp_path) is None
