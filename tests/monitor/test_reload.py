"""``grpo-runs reload``: a run that goes on serves other weights, or says in one line why not."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.engines.vllm.reload import RELOAD
from grpo_launch.errors import ConfigError, LaunchError, PreflightError
from grpo_launch.monitor import cli
from grpo_launch.plan import SERVER, Gate, Reload
from grpo_launch.runs import plans
from tests.conftest import Project
from tests.monitor.called import start
from tests.monitor.made import going_on, identity, make_run
from tests.stages.made import NO_HEAD, Fake, save, serving


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """A server of the model ``old``; ``new`` fits it, ``part`` does not."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "new", fill=2)
    save(tmp_path / "part", NO_HEAD)
    with serving(save(tmp_path / "old")) as started:
        yield started


def make(root: Path, url: str, how: Reload | None = RELOAD, **changes: Any) -> Path:
    """A run whose server is at ``url``; going on, unless ``changes`` say otherwise."""
    run = make_run(root / "runs", **(changes or going_on(state="serving")))
    plan, _ = plans.read(run)
    gate = Gate(SERVER, url, (), None, 1.0, "", "", "old", reload=how)
    text = dataclasses.replace(plan, gates=(gate,)).to_json()
    (run / plans.NAME).write_text(text)
    return run


def test_it_serves_other_weights(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "planted-key")
    run = make(tmp_path, fake.url)
    assert cli.run(["reload", "exp", "new", "--version", "iter-1", "--pause", "abort"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith(
        "exp/20261121-140000-aaaa: server serves new as iter-1, requests waited 0."
    )
    state = fake.state()
    assert (state["version"], state["mode"]) == ("iter-1", "abort")
    assert state["headers"]["Authorization"] == "Bearer planted-key"
    assert "planted-key" not in (run / "reload.jsonl").read_text() + (run / plans.NAME).read_text()
    assert cli.run(["reload", "latest", "new", "--json"]) == 0
    printed = capsys.readouterr()
    (server,) = json.loads(printed.out)["servers"]
    assert (server["outcome"], server["version"]) == ("reloaded", "new")
    assert "the same weights" in printed.err


def test_what_is_refused(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, fake.url)
    assert cli.run(["reload", "exp", "part"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: {tmp_path}/part: lm_head.weight is missing, the server would silently keep what"
        " it has, save a checkpoint of the model that is served"
    )
    assert cli.run(["reload", "exp", "nowhere"]) == 2
    assert "nowhere: is no directory" in capsys.readouterr().err
    assert fake.state()["asked"] == []


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ("pause=404", 3, "development mode only (status 404: "),
        ("load=500", 4, "load failed (status 500: "),
    ],
)
def test_a_server_that_does_not(
    fake: Fake,
    tmp_path: Path,
    fault: str,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(tmp_path / "old", fault) as failing:
        make(tmp_path, failing.url)
        assert cli.run(["reload", "exp", "new"]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert line.startswith(f"error: {failing.url}: ")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"how": None}, ConfigError, "server takes no new weights while it runs"),
        ({"state": "interrupted"}, PreflightError, "is over (interrupted), start it again"),
        (
            {"supervisor": {**identity(), "host": "elsewhere"}},
            PreflightError,
            "runs on another host",
        ),
    ],
)
def test_a_run_that_cannot(
    fake: Fake, tmp_path: Path, change: dict[str, Any], error: type[LaunchError], said: str
) -> None:
    make(tmp_path, fake.url, **change)
    with pytest.raises(error) as caught:
        cli.run(["reload", "exp", "new"])
    assert said in str(caught.value)
    assert fake.state()["asked"] == []


@pytest.mark.parametrize("words", [["exp"], ["exp", "new", "--pause", "never"], ["exp", "a", "b"]])
def test_a_command_line_that_is_wrong(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        cli.run(["reload", *words])


@pytest.mark.slow
def test_a_terminated_command_lets_requests_go_on(project: Project) -> None:
    directory = project.directory
    save(directory / "new", fill=2)
    with serving(save(directory / "old"), "load=hang") as hanging:
        make(directory, hanging.url)
        with start(project, "reload", "exp", "new") as process:
            deadline = time.monotonic() + 30
            while "load" not in hanging.state()["asked"]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 128 + signal.SIGTERM
        assert hanging.state()["paused"] is False
