"""What counts as progress of a training."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from grpo_launch.config.choices import ConsoleMode
from grpo_launch.execute.console import Console
from grpo_launch.execute.observe import Observer
from grpo_launch.plan import ProcessSpec, Signs
from tests.supervise.rig import make_plan

SIGNS = Signs(served="POST /infer/")
SERVED = 'INFO: 127.0.0.1:1 - "POST /infer/ HTTP/1.1" 200 OK\n'
HEALTH = 'INFO: 127.0.0.1:1 - "GET /health/ HTTP/1.1" 200 OK\n'


def observer_of(logs: Path) -> Observer:
    server = ProcessSpec("server", "server", (), "/", "server.log", signs=SIGNS)
    learner = ProcessSpec("learner", "learner", (), "/", "learner.log")
    plan = make_plan(logs, server, learner, port=1)
    return Observer(plan, logs, logs, Console(ConsoleMode.auto, io.StringIO()))


@pytest.mark.parametrize(
    ("asked", "log", "progressed"),
    [
        (0, "", False),
        (0, HEALTH, False),
        (0, SERVED, True),
        (1, SERVED, False),
        (1, SERVED + HEALTH, False),
        (1, SERVED + SERVED, True),
        (2, SERVED, False),
    ],
    ids=["nothing", "health", "a batch", "own", "own and health", "own and a batch", "one late"],
)
def test_a_token_that_the_watchdog_asked_for_is_no_progress(
    tmp_path: Path, asked: int, log: str, progressed: bool
) -> None:
    observer = observer_of(tmp_path)
    for _ in range(asked):
        observer.asked("server")
    (tmp_path / "server.log").write_text(log)
    observer.look(at_most_every_s=0)
    assert observer.has_progressed() is progressed
    assert observer.has_progressed() is False


def test_a_line_of_the_learner_is_progress(tmp_path: Path) -> None:
    observer = observer_of(tmp_path)
    (tmp_path / "learner.log").write_text("loading\n")
    observer.look(at_most_every_s=0)
    assert observer.has_progressed()


def test_what_was_asked_of_one_server_hides_no_progress_of_another(tmp_path: Path) -> None:
    names = ("server_0", "server_1")
    specs = [ProcessSpec(name, "server", (), "/", f"{name}.log", signs=SIGNS) for name in names]
    plan = make_plan(tmp_path, *specs, port=1)
    observer = Observer(plan, tmp_path, tmp_path, Console(ConsoleMode.auto, io.StringIO()))
    for name in names:
        observer.asked(name)
    (tmp_path / "server_0.log").write_text(SERVED)
    observer.look(at_most_every_s=0)
    assert not observer.has_progressed()
    (tmp_path / "server_1.log").write_text(SERVED + SERVED)
    observer.look(at_most_every_s=0)
    assert observer.has_progressed()
