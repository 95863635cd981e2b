"""What a collector would be refused for is found before a server starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grpo_launch.checks import collecting
from grpo_launch.planning import devices, loop
from tests import own
from tests.composed import shipped
from tests.conftest import ROOT


def found(tmp_path: Path, *overrides: str, role: str = "loop") -> list[str]:
    config = shipped("digits_loop", [f"role={role}", *overrides])
    plan = loop.build(config, devices.assign(config, []), str(tmp_path / "run"), ROOT)
    environ = {**own.environment(), "PATH": os.environ["PATH"]}
    return [str(p) for p in collecting.problems(config, plan, environ, ROOT)]


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("role", ["loop", "rollout", "update"])
def test_what_ships_would_be_collected(tmp_path: Path, role: str) -> None:
    assert found(tmp_path, role=role) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ("raise RuntimeError('boom')", "cannot be imported (RuntimeError: boom), correct"),
        ("import no_such_package", "No module named 'no_such_package'"),
        ("import os; os._exit(3)", "collector: cannot be started (status 3), correct it"),
    ],
)
def test_a_plugin_that_cannot_be_loaded(tmp_path: Path, plugin: str, said: str) -> None:
    (tmp_path / "plugin.py").write_text(plugin)
    (problem,) = found(tmp_path, f"collector.plugins=[{tmp_path}/plugin.py]")
    assert said in problem


@pytest.mark.slow
def test_plugins_are_imported_once_for_both_splits(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'a').write('x')")
    plugins = f"[{tmp_path}/plugin.py, examples/digits/plugin.py]"
    assert found(tmp_path, f"collector.plugins={plugins}") == []
    assert (tmp_path / "seen").read_text() == "x"


@pytest.mark.slow
def test_an_environment_that_no_plugin_brings(tmp_path: Path) -> None:
    (problem,) = found(tmp_path, "collector.environment=nope")
    assert problem.startswith(
        "command line: collector.environment: no environment is called nope, use one of these: "
    )


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("splits", [("eval",), ("train", "eval")])
def test_tasks_that_are_none_are_said_of_each_split(
    tmp_path: Path, splits: tuple[str, ...]
) -> None:
    empty = [tmp_path / f"{split}.jsonl" for split in splits]
    for path in empty:
        path.write_text("")
    overrides = [f"collector.{path.stem}_tasks={path}" for path in empty]
    what = "has no tasks, write one in each line, as JSON"
    assert found(tmp_path, *overrides) == [f"{path}: {what}" for path in empty]
