"""Runs with a timing, made by hand: the launcher's files, and what the plugin would write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from grpo_launch import plan
from grpo_launch.planning import devices, planner
from grpo_launch.runs import record
from tests.composed import shipped

NAME = "summary_1024/20261121-140000-aaaa"
VISIBLE = [str(i) for i in range(8)]


def start(swift: str = "4.6.0") -> dict[str, Any]:
    return {"kind": "start", "format": 1, "start": 0.0, "begin": 0.0, "pid": 1, "swift": swift}


def line(kind: str, begin: float, end: float, step: int = 0, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"kind": kind, "begin": begin, "end": end, "step": step, "train": True}
    if kind == "generate":
        body |= {"requests": 48, "completions": 48, "tokens": 48 * 512, "longest": 1024}
    return {**body, "background": False, **more}


def steady(
    generations: int,
    generate: float,
    sync: float,
    learn: float,
    *,
    score: float = 0.1,
    steps: int = 1,
    requests: int = 48,
) -> list[dict[str, Any]]:
    """A learner that takes the same seconds each time, ``steps`` optimizer steps a generation."""
    lines = [start()]
    now = 100.0
    for number in range(generations):
        step = number * steps
        lines.append(line("sync", now, now + sync, step))
        now += sync
        lines.append(line("generate", now, now + generate, step, requests=requests))
        now += generate
        lines.append(line("score", now, now + score, step))
        now += score + learn
    return lines


def make_run(
    root: Path,
    lines: Sequence[dict[str, Any]] | None,
    *overrides: str,
    name: str = NAME,
    parts: Sequence[str] = (plan.SERVER, plan.LEARNER),
    state: str = "done",
) -> Path:
    """A run of ``summary_1024`` on eight GPUs, below ``root``."""
    directory = root / name
    directory.mkdir(parents=True)
    config = shipped("summary_1024", ["role=both", *overrides])
    split = devices.assign(config, VISIBLE)
    planned = planner.build(config, split, parts, f"runs/{name}", root.parent)
    (directory / "plan.json").write_text(planned.to_json())
    (directory / "config.yaml").write_text(yaml.safe_dump(config.as_dict()))
    for file in planned.files:
        (root.parent / file.path).write_text(file.text)
    body = {"format": record.FORMAT, "state": state}
    (directory / "run.json").write_text(json.dumps(body))
    if lines is not None:
        text = "".join(json.dumps(row) + "\n" for row in lines)
        (directory / "timing.jsonl").write_text(text)
    return directory
