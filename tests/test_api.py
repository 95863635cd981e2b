"""The Python API: every example of ``docs/api.md`` runs as it stands."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT, Project

DOCUMENT = ROOT / "docs" / "api.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## (\w+)\n", re.MULTILINE)


def blocks() -> dict[str, list[str]]:
    """The Python of each section, in order."""
    _, *parts = SECTION.split(DOCUMENT.read_text())
    found = zip(parts[::2], parts[1::2], strict=True)
    return {name: BLOCK.findall(text) for name, text in found}


BLOCKS = blocks()


@pytest.fixture
def surroundings(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """This process where a user of the project would be."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.directory)
    return project


def run_examples(*sections: str) -> None:
    """Compare what the examples print, in one session."""
    text = "\n".join(block for name in sections for block in BLOCKS[name])
    names: dict[str, Any] = {}
    test = doctest.DocTestParser().get_doctest(text, names, DOCUMENT.name, str(DOCUMENT), 0)
    assert test.examples
    shown: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=shown.append)
    assert result.failed == 0, "".join(shown)


def test_every_function_has_an_example() -> None:
    from grpo_launch import api

    assert sorted(BLOCKS) == sorted(api.__all__)
    assert all(BLOCKS.values())


@pytest.mark.usefixtures("surroundings")
def test_composing_checking_and_planning_start_nothing(project: Project) -> None:
    before = project.files()
    run_examples("compose", "check", "plan")
    assert {name for name in project.files() - before if not name.startswith(".cache")} == set()


@pytest.mark.usefixtures("surroundings")
def test_a_check_plans_no_server_for_a_learner_that_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from grpo_launch import api
    from grpo_launch.learners.swift.learner import SwiftLearner

    config = api.compose("summary_1024", ["role=check", "accelerator=cpu", "runtime=current"])
    assert [process.name for process in api.plan(config).processes] == ["server", "learner"]
    monkeypatch.setattr(SwiftLearner, "needs_servers", lambda self, config: False)
    assert [process.name for process in api.plan(config).processes] == ["learner"]


@pytest.mark.slow
def test_a_script_launches_and_finds_its_run(surroundings: Project) -> None:
    (script,) = BLOCKS["launch"]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert "reward 0.25 -> 0.75 in 3 steps" in done.stderr
    assert surroundings.left_over() == []
    run_examples("runs")


@pytest.mark.slow
def test_what_fails_has_a_status_and_a_line(surroundings: Project) -> None:
    (script,) = BLOCKS["launch"]
    environ = surroundings.environment(FAKE_SERVER="die_at_start")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environ, capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert done.returncode == 4
    assert "the server ended with status 3" in done.stderr
