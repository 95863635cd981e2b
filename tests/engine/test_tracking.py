"""The real learner reports to the real W&B client, offline, and to TensorBoard."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, Finished, Project
from tests.supervise.rig import quiet_port
from tests.tracking import offline

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ENGINE = ROOT / ".venv-engine"
SECRETS = {
    "WANDB_API_KEY": "planted0123456789abcdef0123456789abcdef01",
    "HF_TOKEN": "hf_planted0123456789",
    "OPENAI_API_KEY": "planted-openai-key",
}


def start(project: Project, *overrides: str, **environ: str) -> subprocess.Popen[str]:
    return project.start(
        "role=both",
        "config=tiny_cpu",
        "run.dir=runs/r",
        f"runtime.path={ENGINE}",
        f"train.model.model={ROOT / 'models' / 'tiny-qwen2'}",
        f"train.rlhf.vllm_server_port=[{quiet_port()}]",
        f"+train.rlhf.vllm_server_group_port=[{quiet_port()}]",
        "train.training.save_steps=2",
        *overrides,
        **environ,
    )


def finish(process: subprocess.Popen[str]) -> Finished:
    stdout, stderr = process.communicate(timeout=570)
    return Finished(process.returncode, stdout, stderr)


def step_of(process: subprocess.Popen[str], number: int) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if (found := re.match(r"step (\d+)/", line)) and int(found[1]) >= number:
            return
    raise AssertionError(f"no step {number}")


def test_a_training_is_one_run_with_metrics_facts_and_an_artifact(project: Project) -> None:
    done = finish(
        start(
            project,
            "tracking=[wandb,tensorboard]",
            "tracking.wandb.mode=offline",
            "tracking.wandb.project=hanabi",
            "tracking.wandb.name=grpo-tiny",
            "train.training.max_steps=4",
            **SECRETS,
        )
    )
    assert done.status == 0, done.stderr
    run = project.directory / "runs" / "r"
    training, upload = offline.runs(run)

    said = training.run
    assert (said.project, said.run_group, said.job_type) == ("hanabi", "grpo-tiny", "train")
    assert said.display_name == "grpo-tiny"
    assert (
        said.run_id
        == json.loads((run / "plan.json").read_text())["processes"][1]["env_defaults"][
            "WANDB_RUN_ID"
        ]
    )
    steps = {row["train/global_step"]: row for row in training.history}
    assert sorted(steps) == [1, 2, 3, 4]
    assert all("train/reward" in steps[step] for step in (1, 2, 3))
    assert training.config["learning_rate"] == 0.005  # the learner's own
    assert training.config["launcher"]["gpus"] == {"server": ["0"], "learner": ["1"]}
    assert training.config["launcher"]["run"] == "runs/r"
    assert "ms_swift" in training.config["provenance"]["engine_packages"]
    assert {artifact.name for artifact in training.artifacts} == {"model-grpo-tiny"}

    assert (upload.run.run_group, upload.run.job_type) == ("grpo-tiny", "checkpoint_upload")
    artifact = upload.artifact("grpo-tiny-ckpt")
    assert (artifact.type, {*artifact.aliases}) == ("model", {"latest", "end"})
    metadata = json.loads(artifact.metadata)
    assert (metadata["experiment"], metadata["step"]) == ("tiny_cpu", 4)
    (version,) = (run / "output").glob("v0-*")
    files = {entry.path: entry.local_path for entry in artifact.manifest.contents}
    assert {"args.json", "logging.jsonl", "checkpoint-4/model.safetensors"} <= {*files}
    assert not any(name.startswith("checkpoint-2/") for name in files)
    assert all(Path(source).is_relative_to(version) for source in files.values())
    assert "Would sync 2 run(s)" in offline.to_be_synced(run)

    (events,) = (run / "tensorboard").glob("events.out.tfevents.*")
    assert _scalars(events)["train/reward"] == [1, 2, 3, 4]

    needles = [secret.encode() for secret in SECRETS.values()]
    holding = [f for f in run.rglob("*") if f.is_file() for n in needles if n in f.read_bytes()]
    assert holding == []
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())
    assert project.left_over() == []


def test_a_restart_goes_on_in_the_same_run(project: Project) -> None:
    process = start(
        project,
        "tracking=wandb",
        "tracking.wandb.mode=offline",
        "tracking.wandb.log_model=false",
        "train.training.max_steps=8",
        "on_failure=restart",
        "restart.backoff_s=1",
    )
    step_of(process, 3)
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in project.left_over()}
    (engine,) = [pid for pid, line in commands.items() if line.startswith(b"VLLM::EngineCore")]
    os.kill(engine, signal.SIGKILL)
    done = finish(process)
    assert done.status == 0, done.stderr
    # Offline each start keeps files of its own; one id lets "wandb sync" join them. The client
    # writes in blocks of 32 KiB, so what was killed after a few steps may hold nothing.
    run = project.directory / "runs" / "r"
    first, again, _ = sorted((run / "wandb").glob("offline-run-*"))
    second = offline.read(again)
    assert first.name.endswith(f"-{second.run.run_id}")
    assert second.run.resume
    assert second.history[0]["train/global_step"] > 1
    assert second.history[-1]["train/global_step"] == 8


def test_disabled_trains_and_leaves_nothing(project: Project) -> None:
    overrides = ["tracking=wandb", "tracking.wandb.mode=disabled", "train.training.max_steps=2"]
    done = finish(start(project, *overrides))
    assert done.status == 0, done.stderr
    assert " in 2 steps, " in done.stderr.splitlines()[-1]
    assert offline.runs(project.directory / "runs" / "r") == []


def _scalars(events: Path) -> dict[str, list[int]]:
    """The steps of each scalar, read by TensorBoard in the engine's environment."""
    code = (
        "import json, sys; from tensorboard.backend.event_processing import event_accumulator as e;"
        "a = e.EventAccumulator(sys.argv[1]); a.Reload();"
        "print(json.dumps({k: [s.step for s in a.Scalars(k)] for k in a.Tags()['scalars']}))"
    )
    command = [str(ENGINE / "bin" / "python"), "-c", code, str(events)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(shown.splitlines()[-1])
