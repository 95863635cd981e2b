"""All servers of a run get new weights, or a loop is told what to do instead."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.engines.vllm.reload import RELOAD
from grpo_launch.plan import SERVER, Gate, Reload
from grpo_launch.runs import plans
from grpo_launch.stages import swap
from tests.monitor.made import make_run
from tests.stages.made import NO_HEAD, Fake, save, serving


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """``new`` fits the model ``old``, ``part`` does not."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "old")
    save(tmp_path / "new", fill=2)
    save(tmp_path / "part", NO_HEAD)
    return tmp_path


def make(directory: Path, urls: Sequence[str], how: Reload | None = RELOAD) -> Path:
    run = make_run(directory / "runs")
    plan, _ = plans.read(run)
    names = [f"{SERVER}_{number}" for number in range(len(urls))]
    gates = tuple(
        Gate(name, url, (), None, 1.0, "", "", "old", reload=how)
        for name, url in zip(names, urls, strict=True)
    )
    (run / plans.NAME).write_text(dataclasses.replace(plan, gates=gates).to_json())
    return run


def journal(run: Path) -> list[tuple[str, str]]:
    lines = map(json.loads, (run / "reload.jsonl").read_text().splitlines())
    return [(line["server"], line["outcome"]) for line in lines]


def servers(stack: ExitStack, directory: Path, *faults: str) -> list[Fake]:
    return [
        stack.enter_context(serving(directory / "old", *([fault] if fault else [])))
        for fault in faults
    ]


def command(run: Path, model: str = "new") -> list[str]:
    return [str(run), "--model", model, "--version", "3"]


def test_all_servers_serve_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "planted-key")
    with ExitStack() as stack:
        fakes = servers(stack, directory, "", "")
        run = make(directory, [fake.url for fake in fakes])
        assert swap.main(command(run)) == 0
        states = [fake.state() for fake in fakes]
    assert [state["version"] for state in states] == ["3", "3"]
    assert [state["directory"] for state in states] == [str(directory / "new")] * 2
    assert {state["headers"]["Authorization"] for state in states} == {"Bearer planted-key"}
    said = capsys.readouterr().err
    assert said.splitlines()[0] == f"{SERVER}_0 serves {directory}/new as 3"
    assert "planted-key" not in said + (run / "reload.jsonl").read_text()


@pytest.mark.costly
@pytest.mark.parametrize(
    ("faults", "model", "status", "message"),
    [
        (["", ""], "part", 2, "error: {0}/part: lm_head.weight is missing, the server would"),
        (["", ""], "nowhere", 2, "error: {0}/nowhere: is no directory"),
        (["load=500", ""], "new", 75, "load failed (status 500: "),
        (["", "load=500"], "new", 75, "load failed (status 500: "),
        (["pause=404", ""], "new", 75, "development mode only (status 404: "),
        (["", "pause=404"], "new", 75, "development mode only (status 404: "),
        (["load=die", ""], "new", 75, "restart the server"),
    ],
)
def test_servers_that_do_not(
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    faults: list[str],
    model: str,
    status: int,
    message: str,
) -> None:
    with ExitStack() as stack:
        run = make(directory, [fake.url for fake in servers(stack, directory, *faults)])
        assert swap.main(command(run, model)) == status
    assert message.format(directory) in capsys.readouterr().err


def test_what_is_refused_for_a_later_server_is_a_restart_of_all(directory: Path) -> None:
    save(directory / "other", NO_HEAD)
    with ExitStack() as stack:
        first, second = servers(stack, directory, "", "")
        run = make(directory, [first.url, second.url])
        plan, _ = plans.read(run)
        gates = (plan.gates[0], dataclasses.replace(plan.gates[1], model="other"))
        (run / plans.NAME).write_text(dataclasses.replace(plan, gates=gates).to_json())
        assert swap.main(command(run)) == 75
    assert journal(run)[-1] == (f"{SERVER}_1", "refused")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"how": None}, "server_0 takes no new weights while it runs, set loop.swap=restart"),
        ({"urls": []}, "has no rollout server, name another run"),
    ],
)
def test_a_run_that_cannot(
    directory: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    run = make(directory, **{"urls": ["http://127.0.0.1:9"], **change})
    assert swap.main(command(run)) == 2
    assert capsys.readouterr().err == f"error: {run}: {message}\n"
    (run / plans.NAME).unlink()
    assert swap.main(command(run)) == 2
    assert f"error: {run}: plan.json cannot be read" in capsys.readouterr().err


def test_the_first_model_may_have_been_removed_since(directory: Path) -> None:
    save(directory / "newer", fill=3)
    with ExitStack() as stack:
        (fake,) = servers(stack, directory, "")
        run = make(directory, [fake.url])
        (run / "run.json").unlink()  # the servers of a loop have only a plan
        assert swap.main(command(run)) == 0
        shutil.rmtree(directory / "old")
        assert swap.main(command(run, "newer")) == 0
        assert fake.state()["directory"] == str(directory / "newer")
        assert swap.main(command(run, "part")) == 2
        os.utime(run / plans.NAME, (2e9, 2e9))  # a server that was started after all that
        assert swap.main(command(run, "new")) == 2


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_in_between_and_started_again(directory: Path, number: int) -> None:
    """A load that was cut off is made again, and tried."""
    with ExitStack() as stack:
        fakes = servers(stack, directory, "", "load=hang*1")
        run = make(directory, [fake.url for fake in fakes])
        words = [sys.executable, "-m", "grpo_launch.stages.swap", *command(run)]
        process = stack.enter_context(
            subprocess.Popen(words, env={**os.environ, "VLLM_API_KEY": ""})
        )
        deadline = time.monotonic() + 60
        while "load" not in fakes[1].state()["asked"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(10) == (143 if number == signal.SIGTERM else -number)
        assert fakes[1].state()["paused"] is (number == signal.SIGKILL)
        assert swap.main(command(run)) == 0
        states = [fake.state() for fake in fakes]
    assert [state["version"] for state in states] == ["3", "3"]
    assert [state["paused"] for state in states] == [False, False]
    assert journal(run)[-1] == (f"{SERVER}_1", "reloaded")
