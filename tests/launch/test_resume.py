"""``resume=``: from which checkpoint, and that nothing old is written to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.runs import checkpoints, record
from grpo_launch.settle import continuation
from tests.conftest import Project
from tests.launch.helpers import checkpoint
from tests.supervise.rig import CHECKPOINTS

pytestmark = pytest.mark.slow


def past_run(cwd: Path, name: str, started: float, **plan: Any) -> Path:
    """The directory of a run that has ended."""
    run = cwd / "runs" / name
    run.mkdir(parents=True)
    state = {
        "format": record.FORMAT, "experiment": name.partition("/")[0], "started": started,
        "ended": started + 100, "supervisor": {"pid": 1, "start_time": 0, "boot": ""},
        "role": "both", "backend": "foreground", "state": "done", "reason": None, "status": 0,
        "urls": [], "attempt": 1, "attempts": [], "processes": {},
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(state))
    if plan:
        (run / "plan.json").write_text(json.dumps({"format": 3, **plan}))
    return run


class Resolving:
    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.said: list[str] = []

    def __call__(self, said: str) -> Path:
        found = continuation.resolve(said, "exp", CHECKPOINTS, self.cwd, "here", self.said.append)
        return found.path


@pytest.fixture
def resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolving:
    monkeypatch.chdir(tmp_path)
    return Resolving(tmp_path)


def test_latest_is_of_the_newest_run_that_has_one(resolve: Resolving, tmp_path: Path) -> None:
    old = checkpoint(past_run(tmp_path, "exp/a", 1.0) / "output" / "v0-x", 10)
    new = checkpoint(past_run(tmp_path, "exp/b", 2.0) / "output" / "v0-x", 5)
    past_run(tmp_path, "exp/c", 3.0)
    checkpoint(past_run(tmp_path, "other/d", 4.0) / "output" / "v0-x", 99)
    assert resolve("latest") == new
    assert resolve("exp/a") == old
    assert resolve.said == []


@pytest.mark.parametrize("fault", [{"state": False}, {"cut": 1}, {"cut": 70}])
def test_incomplete_ones_are_passed_over(
    resolve: Resolving, tmp_path: Path, fault: dict[str, Any]
) -> None:
    output = past_run(tmp_path, "exp/a", 1.0) / "output" / "v0-x"
    whole = checkpoint(output, 9)
    checkpoint(output, 10, **fault)
    assert resolve("latest") == whole
    (warning,) = resolve.said
    assert warning.startswith("warning: runs/exp/a/output/v0-x/checkpoint-10: passed over, ")


@pytest.mark.parametrize("named", ["exp/a", "a", "runs/exp/a", "runs/latest"])
def test_a_run_has_several_names(resolve: Resolving, tmp_path: Path, named: str) -> None:
    run = past_run(tmp_path, "exp/a", 1.0)
    (tmp_path / "runs" / "latest").symlink_to("exp/a")
    wanted = checkpoint(run / "output" / "v0-x", 3)
    assert resolve(named) == wanted
    assert resolve(str(run)) == wanted


def test_a_checkpoint_by_its_path(resolve: Resolving, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "elsewhere", 3)
    assert resolve("elsewhere/checkpoint-3") == path
    moved = path.rename(tmp_path / "best")
    assert resolve(str(moved)) == moved


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"state": False}, "trainer_state.json is missing"),
        ({"cut": 1}, "model.safetensors is only a part of a file"),
    ],
)
def test_a_named_checkpoint_that_is_incomplete_is_refused(
    resolve: Resolving, tmp_path: Path, fault: dict[str, Any], said: str
) -> None:
    checkpoint(tmp_path, 3, **fault)
    with pytest.raises(PreflightError, match=f"the checkpoint checkpoint-3 is incomplete: {said}"):
        resolve("checkpoint-3")


def test_what_may_be_wrong_with_a_checkpoint(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 3)
    assert checkpoints.fault(path, CHECKPOINTS) is None
    (path / "trainer_state.json").write_text('{"global_step": 4}')
    assert checkpoints.fault(path, CHECKPOINTS) == "trainer_state.json says step 4"
    for odd in ("{", "[]", "{}", '{"global_step": "3"}'):
        (path / "trainer_state.json").write_text(odd)
        assert checkpoints.fault(path, CHECKPOINTS) == "its files cannot be read"
    (path / "trainer_state.json").write_text('{"global_step": 3}')
    index = {"weight_map": {"w": "model.safetensors", "v": "model-2.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert checkpoints.fault(path, CHECKPOINTS) == "model-2.safetensors is missing"
    (path / "model.safetensors.index.json").unlink()
    (path / "model.safetensors").unlink()
    assert checkpoints.fault(path, CHECKPOINTS) == "it has no weights"
    assert checkpoints.complete(path, CHECKPOINTS) is None


@pytest.mark.parametrize("said", ["exp/none", "none", "", "runs", "checkpoint-1", "../..", "a*"])
def test_what_is_not_there_is_an_error(resolve: Resolving, tmp_path: Path, said: str) -> None:
    past_run(tmp_path, "exp/a", 1.0)
    with pytest.raises(ConfigError, match="is neither a checkpoint nor a run"):
        resolve(said)


def test_a_run_of_another_format_is_refused_in_one_line(resolve: Resolving, tmp_path: Path) -> None:
    run = past_run(tmp_path, "exp/a", 1.0)
    checkpoint(run / "output", 7)
    (run / "run.json").write_text('{"format": 2}')
    with pytest.raises(ConfigError, match=r"cannot be read .*, name the checkpoint's own"):
        resolve("exp/a")


def test_nothing_complete_is_an_error(resolve: Resolving, tmp_path: Path) -> None:
    checkpoint(past_run(tmp_path, "exp/a", 1.0) / "output", 1, state=False)
    with pytest.raises(PreflightError, match="no run of exp in runs/ has a complete checkpoint"):
        resolve("latest")
    with pytest.raises(PreflightError, match="the run exp/a has no complete checkpoint"):
        resolve("exp/a")


def test_a_shared_output_directory_is_told_apart_by_time(
    resolve: Resolving, tmp_path: Path
) -> None:
    shared = {
        "run_dir": "runs/exp/x",
        "output_dir": "shared",
        "processes": [{"cwd": str(tmp_path)}],
    }
    for name, started, step in (("exp/a", 1000.0, 20), ("exp/b", 2000.0, 10)):
        past_run(tmp_path, name, started, **shared)
        path = checkpoint(tmp_path / "shared" / f"v-{step}", step)
        os.utime(path / "trainer_state.json", (started + 50, started + 50))
    assert resolve("latest").name == "checkpoint-10"
    assert resolve("exp/a").name == "checkpoint-20"


# Whole runs


def first_run(project: Project, *overrides: str) -> Path:
    done = project.launch("role=both", "config=exp", "ports=auto", *overrides)
    assert done.status == 0, done.stderr
    (project.directory / "learner.runs").unlink()
    return (project.directory / "runs" / "latest").resolve()


def learner_arguments(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "learner_arguments.yaml").read_text())


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_run_goes_on_from_the_latest_checkpoint(project: Project) -> None:
    old = first_run(project)
    wanted = checkpoint(old / "output" / "v0-now", 2)
    before = snapshot(old)
    dry = project.launch("role=both", "config=exp", "resume=latest", "ports=auto", "dry_run=json")
    assert f"resume_from_checkpoint: {wanted}" in dry.stdout.replace("\\n", "\n")
    assert snapshot(old) == before

    done = project.launch("role=both", "config=exp", "resume=latest", "ports=auto")
    assert done.status == 0, done.stderr
    shown = wanted.relative_to(project.directory)
    assert f"training goes on from {shown}, step 2" in done.stderr
    new = (project.directory / "runs" / "latest").resolve()
    assert new != old
    assert learner_arguments(new)["resume_from_checkpoint"] == str(wanted)
    state = json.loads((new / "run.json").read_text())
    assert state["attempts"][0]["resumed_from"] == str(wanted)
    assert snapshot(old) == before
    assert project.left_over() == []


def test_a_restart_without_a_new_checkpoint_goes_on_from_the_old_one(project: Project) -> None:
    old = first_run(project)
    wanted = checkpoint(old / "output" / "v0-now", 2)
    done = project.launch(
        "role=both", "config=exp", f"resume={old.parent.name}/{old.name}", "ports=auto",
        "on_failure=restart", "restart.budget=1", "restart.backoff_s=0",
        FAKE_SERVER="die_at_start",
    )  # fmt: skip
    assert done.status == 4
    run = (project.directory / "runs" / "latest").resolve()
    attempts = json.loads((run / "run.json").read_text())["attempts"]
    assert [attempt["resumed_from"] for attempt in attempts] == [str(wanted)] * 2
    for number in (1, 2):
        kept = run / "logs" / f"attempt_{number}" / "learner_arguments.yaml"
        assert yaml.safe_load(kept.read_text())["resume_from_checkpoint"] == str(wanted)
    assert "training starts anew" not in done.stderr


def test_an_unversioned_output_directory_is_not_written_twice(project: Project) -> None:
    own = ("+train.training.add_version=false", "+train.training.output_dir=out")
    ended = record.read(first_run(project, *own))["ended"]
    wanted = checkpoint(project.directory / "out", 2)
    os.utime(wanted / "trainer_state.json", (ended, ended))
    before = snapshot(project.directory / "out")
    for resume in ("resume=latest", f"resume={wanted}", "resume=null"):
        done = project.launch("role=both", "config=exp", "ports=auto", resume, *own)
        assert done.status == 0, done.stderr
        run = (project.directory / "runs" / "latest").resolve()
        assert learner_arguments(run)["output_dir"] == f"out/{run.name}"
        (project.directory / "learner.runs").unlink()
    after = snapshot(project.directory / "out")
    assert {path: after[path] for path in before} == before


def test_a_server_alone_says_that_resume_means_nothing(project: Project) -> None:
    done = project.launch("role=server", "config=exp", "resume=latest", "dry_run=true")
    assert done.status == 0, done.stderr
    assert "warning: command line: resume: means nothing to a server alone" in done.stderr


def test_the_place_that_says_resume_is_named(project: Project) -> None:
    done = project.run("role=learner", "config=exp", "resume=latest")
    assert done.status == 3
    assert done.errors[0].startswith("error: command line: resume: no run of exp in runs/")
    done = project.run("role=learner", "config=exp", "resume=nonsense")
    assert done.status == 2
    assert project.files() == set()


def test_the_check_says_from_where(project: Project) -> None:
    run = past_run(project.directory, "exp/a", 1.0)
    checkpoint(run / "output", 7)
    said = ("role=check", "config=exp", "resume=latest", "ports=auto", "preflight=false")
    done = project.run(*said)
    assert done.status == 0, done.stderr
    assert "runs/exp/a/output/checkpoint-7" in done.stdout
    done = project.run(*said, "output=json")
    summary = json.loads(done.stdout)["summary"]
    assert summary["resume"] == {"checkpoint": "runs/exp/a/output/checkpoint-7"}
    assert summary["ports"]["http"].startswith("127.0.0.1:")
    done = project.run("role=check", "config=exp", "resume=exp/b", "preflight=false")
    assert done.status == 2


@pytest.mark.parametrize("resume", ["latest", "exp/a", "runs/exp/a/output/checkpoint-7"])
def test_the_wandb_run_goes_on(project: Project, resume: str) -> None:
    run = past_run(project.directory, "exp/a", 1.0)
    checkpoint(run / "output", 7)
    tracked = ("role=learner", "config=exp", "tracking=wandb", "dry_run=json")
    before = project.run(*tracked)
    (run / "plan.json").write_text(before.stdout.replace('"NEW"', '"20260101-000000-abcd"'))
    said = "the W&B run 20260101-000000-abcd goes on (tracking.wandb.id=ID begins another)"
    done = project.run(*tracked, f"resume={resume}")
    assert done.status == 0, done.stderr
    assert said in done.stderr
    learner = json.loads(done.stdout)["processes"][0]
    assert learner["env"]["WANDB_RUN_ID"] == "20260101-000000-abcd"
    done = project.run(*tracked, f"resume={resume}", "tracking.wandb.id=fresh")
    assert json.loads(done.stdout)["processes"][0]["env"]["WANDB_RUN_ID"] == "fresh"
    assert said not in done.stderr
    # The caller's own run is none of ours.
    done = project.run(*tracked, f"resume={resume}", WANDB_RUN_ID="mine")
    assert said not in done.stderr
    assert "WANDB_RUN_ID" not in json.loads(done.stdout)["processes"][0]["env"]
    # A run that did not report to W&B has no run to go on with.
    (run / "plan.json").write_text(project.run(*tracked, "tracking=none").stdout)
    done = project.run(*tracked, f"resume={resume}")
    assert "W&B" not in done.stderr
