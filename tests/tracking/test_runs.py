"""Whole runs with a fake engine and the real W&B client: what follows a training."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FAKES, Finished, Project
from tests.launch.helpers import checkpoint, in_state, nothing_left, plan_of, read, run_of, until
from tests.tracking import offline

pytestmark = pytest.mark.slow

RUN = ("role=both", "config=exp", "run.dir=runs/r", "tracking=wandb")
OFFLINE = (*RUN, "tracking.wandb.mode=offline", "tracking.wandb.project=hanabi")
KEY = "0123456789abcdef0123456789abcdef01234567"
UNREACHABLE = {
    "WANDB_API_KEY": KEY,
    "WANDB_BASE_URL": "http://127.0.0.1:9",
    "WANDB_INIT_TIMEOUT": "2",
}


def upload_of(run: Path) -> dict[str, Any]:
    return read(run)["afterwards"]["upload"]


def warnings(done: Finished) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("warning: ")]


def with_python(project: Project, script: str) -> dict[str, str]:
    """An environment whose ``python``, with which the upload is started, does something else."""
    directory = project.directory / "bin"
    directory.mkdir()
    (directory / "python").write_text(f"#!/bin/bash\n{script}\n")
    (directory / "python").chmod(0o755)
    path = [str(directory), str(FAKES), str(Path(sys.executable).parent), "/usr/bin", "/bin"]
    return {"PATH": os.pathsep.join(path), "FAKE_CHECKPOINT": "1"}


def test_the_checkpoint_becomes_an_artifact(project: Project) -> None:
    done = project.launch(*OFFLINE, FAKE_CHECKPOINT="1")
    assert done.status == 0, done.stderr
    assert "checkpoint-3 is queued as the artifact exp-ckpt; upload it with: " in done.stderr
    assert "wandb sync runs/r/wandb/offline-run-*" in done.stderr
    run = run_of(project, "r")
    assert read(run)["state"] == "done"
    assert upload_of(run) == {"state": "queued", "detail": "exp-ckpt"}
    (upload,) = offline.runs(run)
    assert upload.run.job_type == "checkpoint_upload"
    assert upload.run.run_group == "exp"
    artifact = upload.artifact("exp-ckpt")
    assert sorted(entry.path for entry in artifact.manifest.contents) == [
        "args.json",
        "checkpoint-3/model.safetensors",
        "checkpoint-3/trainer_state.json",
        "logging.jsonl",
    ]
    metadata = json.loads(artifact.metadata)
    assert metadata["experiment"] == "exp"
    assert metadata["run"] == str(run)
    assert (metadata["step"], metadata["reward"]) == (3, 0.75)
    assert metadata["output_dir"] == str(run / "output")
    nothing_left(project)


def test_the_learner_is_told_about_its_run_and_the_launcher_s_facts(project: Project) -> None:
    import yaml

    assert project.launch(*OFFLINE, FAKE_CHECKPOINT="1", WANDB_NAME="mine").status == 0
    run = run_of(project, "r")
    learner = plan_of(run)["processes"][1]
    said = {**learner["env_defaults"], **learner["env"]}
    assert said["WANDB_MODE"] == "offline"
    assert said["WANDB_DIR"] == str(run)
    # What the client will read when it is told so by the variable.
    facts = yaml.safe_load(Path(said["WANDB_SWEEP_PARAM_PATH"]).read_text())
    assert facts["launcher"]["value"]["gpus"] == {"server": ["0"], "learner": ["1"]}
    assert facts["provenance"]["value"]["grpo_launch"]


def test_a_shared_output_directory_gives_only_this_run_s_files(project: Project) -> None:
    shared = project.directory / "shared"
    checkpoint(shared / "v9-other", 900)
    (shared / "v9-other" / "args.json").write_text("other")
    done = project.launch(*OFFLINE, "+train.training.output_dir=shared", FAKE_CHECKPOINT="1")
    assert done.status == 0, done.stderr
    artifact = offline.runs(run_of(project, "r"))[0].artifact("exp-ckpt")
    sources = {entry.local_path for entry in artifact.manifest.contents}
    assert {str(Path(source).parent) for source in sources} == {
        str(shared / "v0-now"),
        str(shared / "v0-now" / "checkpoint-3"),
    }


@pytest.mark.parametrize("how", ["not wanted", "disabled", "no checkpoint", "training failed"])
def test_nothing_is_uploaded(project: Project, how: str) -> None:
    more = {
        "not wanted": ["tracking.wandb.upload_checkpoint=false"],
        "disabled": ["tracking.wandb.mode=disabled"],
    }.get(how, [])
    environ = {} if how == "no checkpoint" else {"FAKE_CHECKPOINT": "1"}
    if how == "training failed":
        environ["FAKE_LEARNER"] = "fail"
    done = project.launch(*OFFLINE, *more, **environ)
    assert done.status == (7 if how == "training failed" else 0)
    run = run_of(project, "r")
    assert offline.runs(run) == []
    assert not (run / "logs" / "upload.log").exists()
    said = [line for line in warnings(done) if "upload" in line]
    expected = "warning: no complete checkpoint of this run, nothing is uploaded"
    assert said == ([expected] if how == "no checkpoint" else [])


def test_a_failed_upload_warns_and_can_be_tried_again(project: Project) -> None:
    done = project.launch(*RUN, FAKE_CHECKPOINT="1", **UNREACHABLE)
    assert done.status == 0, done.stderr
    run = run_of(project, "r")
    assert read(run)["state"] == "done"
    assert upload_of(run)["state"] == "failed"
    (warning,) = [line for line in warnings(done) if "upload" in line]
    assert warning == (
        "warning: the checkpoint was not uploaded (status 1, see runs/r/logs/upload.log); "
        "the training is done, try again with: bash runs/r/upload_again.sh"
    )
    assert "Error" in (run / "logs" / "upload.log").read_text()
    retry = warning.rpartition("with: ")[2]
    assert KEY not in (run / "upload_again.sh").read_text()
    again = subprocess.run(
        shlex.split(retry),
        cwd=project.directory,
        env=project.environment(WANDB_MODE="offline"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert offline.runs(run)[0].artifact("exp-ckpt").type == "model"


def test_an_upload_has_a_time_limit(project: Project) -> None:
    environ = with_python(project, "trap '' TERM; sleep 1000 & wait; sleep 1000")
    limit = "tracking.wandb.upload_timeout_s=1"
    done = project.launch(*OFFLINE, limit, "shutdown.term_s=1", **environ)
    assert done.status == 0, done.stderr
    assert upload_of(run_of(project, "r")) == {"state": "failed", "detail": "no end after 1s"}
    nothing_left(project)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_upload_and_not_the_success(project: Project, signum: int) -> None:
    environ = with_python(project, "setsid sleep 1000 & touch uploading; wait")
    started = project.start(*OFFLINE, **environ)
    until(lambda: (project.directory / "uploading").exists())
    assert in_state(run_of(project, "r"), "uploading")
    started.send_signal(signum)
    _, stderr = started.communicate(timeout=50)
    assert started.returncode == 0, stderr
    assert f"{signal.Signals(signum).name}, the upload was stopped" in stderr
    assert read(run_of(project, "r"))["state"] == "done"
    nothing_left(project)


def test_a_killed_launcher_takes_the_upload_with_it(project: Project) -> None:
    environ = with_python(project, "setsid sleep 1000 & touch uploading; wait")
    started = project.start(*OFFLINE, **environ)
    until(lambda: (project.directory / "uploading").exists())
    run = run_of(project, "r")
    started.kill()
    nothing_left(project)
    started.communicate()
    until(lambda: read(run)["ended"] is not None)
    state = read(run)
    assert (state["state"], state["status"]) == ("done", 0)
    assert state["reason"].startswith("the training ended well; the launcher was killed")
    assert upload_of(run) == {"state": "failed", "detail": "the launcher was killed"}
    assert (run / "upload_again.sh").exists()
