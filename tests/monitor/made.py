"""Run directories as the launcher leaves them, made by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from grpo_launch.runs import record
from grpo_launch.supervise import proc

START = 1_795_269_600.0  # 2026-11-21 14:00:00 UTC
NOBODY = 4_194_304 + 1  # above the greatest pid that Linux gives (proc(5), pid_max)


def identity(pid: int = NOBODY, *, boot: str | None = None) -> dict[str, Any]:
    entry = proc.read(pid)
    return {
        "pid": pid,
        "start_time": entry.start_time if entry else 0,
        "boot": record.boot_id() if boot is None else boot,
        "host": os.uname().nodename,
    }


def process(pid: int = NOBODY, code: int | None = None, guard: int = NOBODY) -> dict[str, Any]:
    named = {name: value for name, value in identity(pid).items() if name in ("pid", "start_time")}
    return {
        "argv": ["swift", "rollout"],
        **named,
        "exit": code,
        "guard": {"pid": guard, "start_time": identity(guard)["start_time"]},
    }


def make_run(
    root: Path,
    name: str = "exp/20261121-140000-aaaa",
    *,
    steps: int = 0,
    gpus: dict[str, str] | None = None,
    logs: dict[str, bytes] | None = None,
    timing: Sequence[dict[str, Any]] = (),
    **changes: Any,
) -> Path:
    """A run below ``root``; ``changes`` are fields of its record."""
    directory = root / name
    attempt = directory / "logs" / "attempt_1"
    attempt.mkdir(parents=True)
    body: dict[str, Any] = {
        "format": record.FORMAT,
        "experiment": directory.parent.name,
        "role": "both",
        "backend": "foreground",
        "state": "done",
        "reason": "the learner ended with status 0",
        "status": 0,
        "started": START,
        "ended": START + 90.0,
        "urls": ["http://127.0.0.1:8080"],
        "supervisor": identity(),
        "attempt": 1,
        "attempts": [
            {
                "number": 1,
                "started": START,
                "ended": START + 90.0,
                "reason": "the learner ended with status 0",
                "resumed_from": None,
                "processes": {},
            }
        ],
        "processes": {"server": process(code=143), "learner": process(code=0)},
    }
    body.update(changes)
    (directory / "run.json").write_text(json.dumps(body))
    (directory / "plan.json").write_text(json.dumps(_plan(root, directory, gpus or {}, logs or ())))
    for half, text in (logs or {}).items():
        (attempt / f"{half}.log").write_bytes(text)
    if timing:
        text = "".join(json.dumps(line) + "\n" for line in timing)
        (directory / "timing.jsonl").write_text(text)
    if steps:
        output = directory / "output" / "v0-now"
        output.mkdir(parents=True)
        rows = [
            {
                "loss": 0.001 * i,
                "reward": i / steps,
                "completions/mean_length": 10.0 + i,
                "step_time": 2.0,
                "global_step/max_steps": f"{i}/40",
            }
            for i in range(1, steps + 1)
        ]
        (output / "logging.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return directory


def going_on(**changes: Any) -> dict[str, Any]:
    """The fields of a run that this very process supervises."""
    return {
        "state": "training",
        "reason": None,
        "status": None,
        "ended": None,
        "supervisor": identity(os.getpid()),
        "attempts": [
            {
                "number": 1,
                "started": START,
                "ended": None,
                "reason": None,
                "resumed_from": None,
                "processes": {},
            }
        ],
        **changes,
    }


def lost(**changes: Any) -> dict[str, Any]:
    """The fields of a run whose supervisor is gone without an end."""
    return going_on(supervisor=identity(), **changes)


def _plan(root: Path, directory: Path, gpus: dict[str, str], logs: Iterable[str]) -> dict[str, Any]:
    several = sorted((n for n in logs if n.startswith("server_")), key=lambda n: int(n[7:]))
    return {
        "format": 2,
        "output_dir": str(directory.relative_to(root.parent) / "output"),
        "deadlines": {"term_s": 1, "kill_s": 5},
        "processes": [
            {
                "name": name,
                "cwd": str(root.parent),
                "env": {"CUDA_VISIBLE_DEVICES": gpus.get(name, "")},
            }
            for name in (*(several or ["server"]), "learner")
        ],
    }
