"""LLaMA-Factory itself, trained through the launcher on the CPU."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.learners.llamafactory.outputs import METRICS
from grpo_launch.runs import checkpoints, plans
from grpo_launch.runs.metrics import Step, parse
from grpo_launch.supervise import proc
from tests.conftest import ROOT, Finished, Project
from tests.engine.real import MODEL, finish, nightly, run_directory, wait_for_step

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("llamafactory"),
]

ENVIRONMENT = ROOT / ".venv-llamafactory"
TRAINING = [
    "role=learner", "config=sft_llamafactory", f"runtime.path={ENVIRONMENT}",
    f"train.model_name_or_path={MODEL}", "train.num_train_epochs=null",
]  # fmt: skip
TWO = ["gpus.learner=[0,1]"]
ENDLESS = "train.max_steps=100000"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path, 0)
    yield made
    made.end_everything()


def steps_of(run: Path) -> list[Step]:
    lines = (run / "output" / "trainer_log.jsonl").read_bytes().splitlines()
    return [step for line in lines if (step := parse(line, METRICS)) is not None]


def listed(project: Project, *words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "grpo_launch.monitor", *words, "--json"],
        cwd=project.directory, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_the_loss_falls_and_is_told_everywhere(project: Project) -> None:
    done = finish(project.start(*TRAINING, "train.max_steps=24", "train.save_steps=12"))
    assert done.status == 0, done.stderr
    run = run_directory(project)
    losses = [step.loss for step in steps_of(run)]
    assert len(losses) == 24
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[0] > 5 > 2 > losses[-1]
    assert "warning" not in done.stderr
    assert re.search(r"^loss 5\.\d+ -> [\d.]+ in 24 steps", done.stderr, re.MULTILINE)
    (shown,) = listed(project, "list")["runs"]
    assert (shown["state"], shown["step"], shown["loss"]) == ("done", 24, losses[-1])
    assert shown["reward"] is None
    kept = [c.step for c in checkpoints.every(run / "output", layout(run))]
    assert kept == [12, 24]
    assert project.left_over() == []


def layout(run: Path) -> Any:
    return plans.read(run)[0].checkpoints


@nightly
def test_the_shipped_flags_are_those_of_the_installed_version() -> None:
    script = ROOT / "scripts" / "make_flag_snapshot.py"
    command = [sys.executable, script, "--check", "--product", "LLaMA-Factory"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@nightly
def test_the_shipped_templates_are_those_of_the_installed_version() -> None:
    folder = ROOT / "src" / "grpo_launch" / "learners" / "llamafactory"
    command = [ENVIRONMENT / "bin" / "python", folder / "ask_templates.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == (folder / "templates.json").read_text()


REHEARSALS: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "the learner takes its arguments, 8 rows read"),
    "another template": (["train.template=llama3"], "template llama3 makes other prompts than"),
    "a combination": (["train.predict_with_generate=true"], "make sure eval_dataset"),
}


@nightly
@pytest.mark.parametrize("mistake", REHEARSALS)
def test_a_rehearsal_says_what_the_training_would(project: Project, mistake: str) -> None:
    overrides, message = REHEARSALS[mistake]
    words = ["role=check", *TRAINING[1:], "rehearse=true", *overrides]
    done = finish(project.start(*words))
    assert message in done.stdout + done.stderr


@nightly
def test_a_training_goes_on_from_its_checkpoint(project: Project) -> None:
    long = ["train.max_steps=400", "train.save_steps=5"]
    first = project.start(*TRAINING, *long, "rehearse=false")
    wait_for_step(first, 20)
    first.send_signal(signal.SIGINT)
    assert finish(first).status == 130
    newest = max(step.step for step in steps_of(run_directory(project)))
    more = [f"train.max_steps={newest + 5}", "train.save_steps=1000", "resume=latest"]
    done = finish(project.start(*TRAINING, *more, "rehearse=false"))
    assert done.status == 0, done.stderr
    steps = steps_of(run_directory(project))
    assert steps[0].step > 5
    assert steps[-1].step == newest + 5


@nightly
def test_a_training_that_is_killed_is_restarted(project: Project) -> None:
    process = project.start(
        *TRAINING, "train.max_steps=60", "train.save_steps=5", "on_failure=restart",
        "restart.backoff_s=0", "rehearse=false",
    )  # fmt: skip
    wait_for_step(process, 12)
    record = json.loads((run_directory(project) / "run.json").read_text())
    os.kill(record["processes"]["learner"]["pid"], signal.SIGKILL)
    done = finish(process)
    assert done.status == 0, done.stderr
    record = json.loads((run_directory(project) / "run.json").read_text())
    assert len(record["attempts"]) == 2
    assert "checkpoint-" in record["attempts"][1]["resumed_from"]
    assert listed(project, "list")["runs"][0]["step"] == 60


@nightly
def test_the_time_limit_ends_a_training(project: Project) -> None:
    done = finish(project.start(*TRAINING, ENDLESS, "learner.timeout_s=30", "rehearse=false"))
    assert done.status == 124, done.stderr
    assert "30" in done.stderr
    assert project.left_over() == []


def workers(project: Project) -> list[int]:
    """torchrun's workers, each in a session of its own."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in project.left_over()}
    return [pid for pid, words in commands.items() if b"llamafactory/launcher.py" in words
            and b"torchrun" not in words]  # fmt: skip


def launched(project: Project) -> subprocess.Popen[str]:
    return project.start(*TRAINING, *TWO, ENDLESS, "rehearse=false", "shutdown.term_s=5")


@nightly
@pytest.mark.parametrize("how", ["interrupted", "torchrun killed", "launcher killed"])
def test_the_workers_of_torchrun_end_with_the_run(project: Project, how: str) -> None:
    process = launched(project)
    wait_for_step(process, 1)
    running = workers(project)
    assert len(running) == 2
    sessions = {os.getsid(pid) for pid in running}
    assert sessions == set(running)
    if how == "interrupted":
        process.send_signal(signal.SIGTERM)
    elif how == "torchrun killed":
        (torchrun,) = {proc.read(pid).ppid for pid in running}  # type: ignore[union-attr]
        os.kill(torchrun, signal.SIGKILL)
    else:
        os.kill(process.pid, signal.SIGKILL)
    watched = [os.pidfd_open(pid) for pid in running]
    ended: Finished | None = finish(process) if how != "launcher killed" else None
    for pidfd in watched:
        assert select.select([pidfd], [], [], 30)[0]
        os.close(pidfd)
    if ended is not None:
        assert ended.status == (143 if how == "interrupted" else ended.status)
        assert ended.status != 0
        assert project.left_over() == []
