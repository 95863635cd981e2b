"""The learner's own log of metrics, read while it grows.

ms-swift writes ``<output_dir>/v<N>-<time>/logging.jsonl``, one JSON object a
logged step: ``global_step/max_steps`` (``"3/40"``), ``reward``,
``completions/mean_length`` (tokens), ``step_time`` or ``train_speed(s/it)`` (s).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast


@dataclass(frozen=True)
class Step:
    """One logged optimizer step.

    Attributes:
        step, max_steps: optimizer steps, counted from 1.
        reward: mean reward, or None where it was not logged.
        completion_length: mean tokens of a completion.
        step_time: seconds of this step.
    """

    step: int
    max_steps: int
    reward: float | None
    completion_length: float | None
    step_time: float | None


class MetricsFollower:
    """Reads the steps of the newest ``logging.jsonl`` below a directory.

    Args:
        output_dir: the learner's output directory; it need not exist yet.
        since: seconds since the epoch; older logs are of earlier runs.
    """

    def __init__(self, output_dir: Path, since: float) -> None:
        self._output_dir = output_dir
        self._since = since
        self._file: Path | None = None
        self._offset = 0
        self._rest = b""
        self.steps: list[Step] = []

    def poll(self) -> list[Step]:
        """The steps that were logged since the last call."""
        if self._file is None:
            self._file = self._newest()
        if self._file is None:
            return []
        try:
            with open(self._file, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        fresh = [step for line in lines if (step := parse(line)) is not None]
        self.steps += fresh
        return fresh

    def _newest(self) -> Path | None:
        found: list[tuple[float, Path]] = []
        for path in (
            *self._output_dir.glob("*/logging.jsonl"),
            *self._output_dir.glob("logging.jsonl"),
        ):
            try:
                found.append((path.stat().st_mtime, path))
            except OSError:
                continue
        newest = max(found, default=None)
        # File systems keep coarser times than clocks do.
        return newest[1] if newest and newest[0] >= self._since - 2 else None


def parse(line: bytes) -> Step | None:
    """The step of one line, or None where it is no step (the summary at the end)."""
    try:
        row: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    row = cast("dict[str, Any]", row)
    done, slash, total = str(row.get("global_step/max_steps", "")).partition("/")
    if not slash or not done.isdigit() or not total.isdigit() or "reward" not in row:
        return None
    return Step(
        int(done),
        int(total),
        _number(row.get("reward")),
        _number(row.get("completions/mean_length")),
        _number(row.get("step_time", row.get("train_speed(s/it)"))),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
