"""Reads what the W&B client kept for later, with the client's own tools.

``wandb leet inspect`` prints the records of a run's transaction log in protobuf's text format,
which the client's own message types parse.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OfflineRun:
    """One W&B run on disk.

    Attributes:
        directory: ``offline-run-<time>-<id>``.
        run: the ``RunRecord``: id, project, group, job type, name.
        config: its configuration.
        history: the logged rows.
        artifacts: the ``ArtifactRecord`` of each artifact.
    """

    directory: Path
    run: Any
    config: dict[str, Any]
    history: list[dict[str, Any]]
    artifacts: list[Any]

    def artifact(self, name: str) -> Any:
        (found,) = [artifact for artifact in self.artifacts if artifact.name == name]
        return found


def runs(run_dir: Path) -> list[OfflineRun]:
    """The W&B runs below a run directory, in the order of their start."""
    return [read(path) for path in sorted((run_dir / "wandb").glob("offline-run-*"))]


def read(directory: Path) -> OfflineRun:
    from google.protobuf import text_format
    from wandb.proto import wandb_internal_pb2 as messages

    (log,) = directory.glob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", str(log)]
    shown = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    ).stdout
    blocks = re.split(r"^# record \d+: .*$", shown, flags=re.MULTILINE)[1:]
    records = [text_format.Parse(block, messages.Record()) for block in blocks]
    (run,) = [record.run for record in records if record.HasField("run")]
    updates = [u for r in records if r.HasField("config") for u in r.config.update]
    return OfflineRun(
        directory,
        run,
        {u.key: json.loads(u.value_json) for u in (*run.config.update, *updates) if u.key},
        [_row(record.history.item) for record in records if record.HasField("history")],
        [record.artifact for record in records if record.HasField("artifact")],
    )


def _row(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def to_be_synced(run_dir: Path) -> str:
    """What ``wandb sync`` says it would upload."""
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run", str(run_dir / "wandb")]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr
