"""The command line of ``grpo-runs``: what it takes, and what it says of what it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.errors import ConfigError
from grpo_launch.monitor import arguments, cli
from tests.conftest import Project
from tests.monitor.called import grpo_runs
from tests.monitor.made import make_run


@pytest.mark.parametrize(
    ("words", "run", "process"),
    [
        ([], "latest", None),
        (["learner"], "latest", "learner"),
        (["exp"], "exp", None),
        (["exp", "server"], "exp", "server"),
        (["server", "exp"], "exp", "server"),
        (["exp", "-f", "server"], "exp", "server"),
        (["-n", "3", "exp", "-f"], "exp", None),
        (["exp", "collector"], "exp", "collector"),
        (["server", "learner"], "server", "learner"),
    ],
)
def test_a_run_and_a_process(words: list[str], run: str, process: str | None) -> None:
    options = arguments.parse(["logs", *words])
    assert (options.run, options.process) == (run, process)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "command line: the following arguments are required: COMMAND, see grpo-runs --help"),
        (["lsit"], "command line: argument COMMAND: invalid choice: 'lsit'"),
        (["list", "x"], "unrecognized arguments: x"),
        (["logs", "a", "b", "c"], "b is one word too many"),
        (["logs", "-n", "-3"], "argument -n/--lines: "),
        (["logs", "-n", "1.5"], "argument -n/--lines: '1.5' is no count"),
        (["stop", "x", "--all"], "--all: contradicts x, say one of them"),
        (["prune"], "nothing says which runs are to go, say --keep N"),
        (["prune", "--state", "training"], "--state: training is no end, say done, failed"),
        (["prune", "--older-than", "week"], "--older-than: week is no time"),
        (["status"], "runs: holds no runs"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["grpo-runs", *words])
    assert cli.main() == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("error: ")
    assert said in shown.err


def test_the_traceback_on_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["grpo-runs", "status"])
    with pytest.raises(ConfigError):
        cli.main()


@pytest.mark.parametrize("command", ["", "list", "status", "logs", "stop", "watch", "prune"])
def test_help_fits_a_terminal(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments.parse([*command.split(), "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 100
    assert shown.startswith("usage: grpo-runs")


def test_another_root_and_names_with_control_characters(project: Project) -> None:
    make_run(project.directory / "kept", "odd\x1b[2J/20261121-140000-aaaa", url="\x1b]0;x\x07")
    for command in ("list", "status", "watch"):
        done = grpo_runs(project, command, "--runs", "kept")
        assert done.status == 0, done.stderr
        assert all(c.isprintable() or c == "\n" for c in done.stdout)
    listed = json.loads(grpo_runs(project, "list", "--json", "--runs", "kept").stdout)
    assert listed["runs"][0]["experiment"] == "odd\x1b[2J"


@pytest.mark.slow
def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    heavy = {
        "hydra",
        "omegaconf",
        "yaml",
        "httpx",
        "rich",
        "matplotlib",
        "asyncio",
        "importlib.metadata",
    }
    for words in (["list"], ["prune", "--keep", "1"], ["stop", "--all"]):
        code = (
            f"import sys; sys.argv = ['grpo-runs', *{words!r}];"
            "from grpo_launch.monitor.cli import main; status = main();"
            f"heavy = {heavy!r} & set(sys.modules);"
            "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_installed_console_script() -> None:
    script = Path(sys.executable).with_name("grpo-runs")
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
