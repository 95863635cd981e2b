"""``scripts/upload_checkpoint.py`` with the real W&B client, offline and disabled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import own
from tests.conftest import ROOT
from tests.launch.helpers import checkpoint
from tests.tracking import offline

SCRIPT = ROOT / "scripts" / "upload_checkpoint.py"


def upload(tmp_path: Path, files: dict[str, str], **environ: str) -> tuple[Any, dict[str, Any]]:
    manifest = tmp_path / "checkpoint_upload.json"
    manifest.write_text(json.dumps({"files": files, "metadata": {"step": 2}, "result": None}))
    said = {
        **own.environment(),
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "WANDB_DIR": str(tmp_path),
        "WANDB_DATA_DIR": f"{tmp_path}/wandb/data",
        "WANDB_PROJECT": "hanabi",
        "WANDB_NAME": "grpo-ckpt-upload",
        "WANDB_RUN_GROUP": "grpo",
        "WANDB_JOB_TYPE": "checkpoint_upload",
        **environ,
    }
    words = [str(manifest), "--name", "grpo-ckpt", "--alias", "latest", "--alias", "end"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env=said,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, json.loads(manifest.read_text())


@pytest.mark.slow
def test_offline_it_is_queued_for_wandb_sync(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "output" / "v0", 2)
    (path.parent / "args.json").write_text("{}")
    files = {"checkpoint-2": str(path), "args.json": str(path.parent / "args.json")}
    done, manifest = upload(tmp_path, files, WANDB_MODE="offline")
    assert done.returncode == 0, done.stderr
    assert manifest["result"]["state"] == "queued"
    (run,) = offline.runs(tmp_path)
    assert manifest["result"]["run"] == str(run.directory)
    assert (run.run.project, run.run.run_group) == ("hanabi", "grpo")
    assert (run.run.job_type, run.run.display_name) == ("checkpoint_upload", "grpo-ckpt-upload")
    artifact = run.artifact("grpo-ckpt")
    assert (artifact.type, {*artifact.aliases}) == ("model", {"latest", "end"})
    assert json.loads(artifact.metadata) == {"step": 2}
    inside = {entry.path: entry.local_path for entry in artifact.manifest.contents}
    assert sorted(inside) == [
        "args.json",
        "checkpoint-2/model.safetensors",
        "checkpoint-2/optimizer.pt",
        "checkpoint-2/trainer_state.json",
    ]
    # Not a copy: a checkpoint may be as large as what is left of the disk.
    assert inside["checkpoint-2/model.safetensors"] == str(path / "model.safetensors")
    assert "Would sync 1 run(s)" in offline.to_be_synced(tmp_path)


@pytest.mark.slow
def test_disabled_it_uploads_nothing(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "output", 2)
    done, manifest = upload(tmp_path, {"checkpoint-2": str(path)}, WANDB_MODE="disabled")
    assert done.returncode == 0, done.stderr
    assert manifest["result"] == {"state": "disabled", "artifact": "grpo-ckpt", "run": None}
    assert offline.runs(tmp_path) == []


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_failure_is_one_line_and_status_1(tmp_path: Path, mode: str) -> None:
    path = checkpoint(tmp_path / "output", 2)
    files = {"checkpoint-2": str(path if mode == "online" else path.with_name("gone"))}
    done, manifest = upload(tmp_path, files, WANDB_MODE=mode)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert ("No API key" if mode == "online" else "gone is gone") in line
    assert manifest["result"] is None
