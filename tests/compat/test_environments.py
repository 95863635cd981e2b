"""Environments that do not say what they mean: one line for each mistake, with the variable.

``environments/*.env`` are what people export. The first line says what it is about, and begins
with "Warning:" where a launch may go on; a second comment is the role, else ``check``.
``expected/NAME.txt`` is what goes to standard error, compared whole;
``pytest tests/compat --update-golden`` rewrites it.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from grpo_launch import cli

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in (HERE / "environments").glob("*.env"))
MESSAGE = re.compile(r"(error|warning): environment\S*( \(from \w+\))?: [A-Z].*, \S.*")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's directory with the experiment, and an environment with nothing in it."""
    shutil.copytree(HERE / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.environ", {"PATH": "", "HOME": str(tmp_path)})
    return tmp_path


def read(name: str) -> tuple[str, str, dict[str, str]]:
    """What an environment is about, the role, and the variables."""
    lines = (HERE / "environments" / f"{name}.env").read_text().splitlines()
    about, *more = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    pairs = [line.partition("=")[::2] for line in lines if not line.startswith("#")]
    return about, (more or ["role=check"])[0], dict(pairs)


@pytest.mark.costly
@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_names_the_variable(
    name: str,
    directory: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    about, role, environ = read(name)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    arguments = [role, "config=valid", "compat=env", "preflight=false", "dry_run=true"]
    monkeypatch.setattr(sys, "argv", ["grpo_launch", *arguments])
    status = cli.main()
    shown = capsys.readouterr()
    golden = HERE / "expected" / f"{name}.txt"
    if request.config.getoption("--update-golden", default=False):
        golden.write_text(shown.err)
    assert shown.err == golden.read_text()
    assert status == (0 if about.startswith("Warning: ") else 2)
    messages = shown.err.splitlines()
    assert messages
    assert [line for line in messages if not MESSAGE.fullmatch(line)] == []
    assert "never-shown" not in shown.err + shown.out


def test_every_environment_has_its_messages() -> None:
    assert sorted(path.stem for path in (HERE / "expected").glob("*.txt")) == NAMES
