"""The little of ``plan.json`` that watching and ending a run needs, of any version of it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpo_launch.monitor.recorded import Recorded
from grpo_launch.plan import Deadlines
from grpo_launch.runs import find
from grpo_launch.runs.metrics import History

_DEADLINES = Deadlines(term_s=20.0, kill_s=10.0)
"""For a run whose plan says nothing."""


@dataclass(frozen=True)
class Planned:
    """What was planned for a run.

    Attributes:
        output_dir: where the learner writes, absolute.
        deadlines: of its teardown.
        gpus: per half the ids of its GPUs; empty on a CPU.
    """

    output_dir: Path
    deadlines: Deadlines
    gpus: dict[str, tuple[str, ...]]


def read(directory: Path) -> Planned:
    """What the plan of the run in ``directory`` says, with defaults for what it does not."""
    body = _json(directory / "plan.json")
    specs = [spec for spec in _items(body.get("processes")) if isinstance(spec, dict)]
    return Planned(find.output_dir(directory), _deadlines(body), _gpus(specs))


def history(
    directory: Path, recorded: Recorded, planned: Planned, at_most: int | None = None
) -> History:
    """What the learner of a run has logged.

    Args:
        directory: the run directory.
        recorded: its record.
        planned: its plan.
        at_most: bytes to read of each log, from its end.
    """
    inside = Path(os.path.realpath(planned.output_dir)).is_relative_to(os.path.realpath(directory))
    if inside:
        return History(planned.output_dir, at_most=at_most)
    return History(planned.output_dir, recorded.started, recorded.ended, at_most)


def _json(path: Path) -> dict[str, Any]:
    try:
        body: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def _items(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _deadlines(body: dict[str, Any]) -> Deadlines:
    said = body.get("deadlines")
    if not isinstance(said, dict):
        return _DEADLINES
    stages = cast("dict[str, Any]", said)
    try:
        return Deadlines(float(stages["term_s"]), float(stages["kill_s"]))
    except (TypeError, KeyError, ValueError):
        return _DEADLINES


def _gpus(specs: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for spec in specs:
        name, environ = spec.get("name"), spec.get("env")
        if not isinstance(name, str) or not isinstance(environ, dict):
            continue
        visible = cast("dict[str, Any]", environ).get("CUDA_VISIBLE_DEVICES")
        if isinstance(visible, str) and visible:
            found[name] = tuple(visible.split(","))
    return found
