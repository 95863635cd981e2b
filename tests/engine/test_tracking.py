"""The real learner reports to the real W&B client, offline, and to TensorBoard."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.engine.conftest import DEMO_STEPS, Ran
from tests.engine.real import PYTHON, nightly
from tests.tracking import offline

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def test_a_training_is_one_run_with_metrics_facts_and_an_artifact(demo: Ran) -> None:
    done, run = demo.done, demo.directory
    assert done.status == 0, done.stderr
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
    assert sorted(steps) == list(range(1, DEMO_STEPS + 1))
    assert all("train/reward" in steps[step] for step in range(1, DEMO_STEPS))
    assert training.config["learning_rate"] == 0.005  # the learner's own
    assert training.config["launcher"]["gpus"] == {"server": ["0"], "learner": ["1"]}
    assert training.config["launcher"]["run"] == str(run)
    assert "ms_swift" in training.config["provenance"]["engine_packages"]
    assert {artifact.name for artifact in training.artifacts} == {"model-grpo-tiny"}

    assert (upload.run.run_group, upload.run.job_type) == ("grpo-tiny", "checkpoint_upload")
    artifact = upload.artifact("grpo-tiny-ckpt")
    assert (artifact.type, {*artifact.aliases}) == ("model", {"latest", "end"})
    metadata = json.loads(artifact.metadata)
    assert (metadata["experiment"], metadata["step"]) == ("tiny_cpu", DEMO_STEPS)
    (version,) = (run / "output").glob("v0-*")
    files = {entry.path: entry.local_path for entry in artifact.manifest.contents}
    assert {"args.json", "logging.jsonl", f"checkpoint-{DEMO_STEPS}/model.safetensors"} <= {*files}
    assert not any(name.startswith("checkpoint-8/") for name in files)
    assert all(Path(source).is_relative_to(version) for source in files.values())
    assert "Would sync 2 run(s)" in offline.to_be_synced(run)

    (events,) = (run / "tensorboard").glob("events.out.tfevents.*")
    assert _scalars(events)["train/reward"] == list(range(1, DEMO_STEPS + 1))

    needles = [secret.encode() for secret in demo.secrets.values()]
    holding = [f for f in run.rglob("*") if f.is_file() for n in needles if n in f.read_bytes()]
    assert holding == []
    assert not any(secret in done.stdout + done.stderr for secret in demo.secrets.values())
    assert demo.left_over == []


@nightly
def test_a_restart_goes_on_in_the_same_run(restarted: Ran) -> None:
    assert restarted.done.status == 0, restarted.done.stderr
    # Offline each start keeps files of its own; one id lets "wandb sync" join them. The client
    # writes in blocks of 32 KiB, so what was killed after a few steps may hold nothing.
    run = restarted.directory
    first, again, _ = sorted((run / "wandb").glob("offline-run-*"))
    second = offline.read(again)
    assert first.name.endswith(f"-{second.run.run_id}")
    assert second.run.resume
    assert second.history[0]["train/global_step"] > 1
    assert second.history[-1]["train/global_step"] == 16


def _scalars(events: Path) -> dict[str, list[int]]:
    """The steps of each scalar, read by TensorBoard in the engine's environment."""
    code = (
        "import json, sys; from tensorboard.backend.event_processing import event_accumulator as e;"
        "a = e.EventAccumulator(sys.argv[1]); a.Reload();"
        "print(json.dumps({k: [s.step for s in a.Scalars(k)] for k in a.Tags()['scalars']}))"
    )
    command = [str(PYTHON), "-c", code, str(events)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(shown.splitlines()[-1])
