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
    """Reads the steps that are logged below a directory from now on.

    Args:
        output_dir: the learner's output directory; it need not exist yet. What its
            logs hold already is of earlier runs, whatever the clock says.
    """

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = output_dir
        self._before = {path: size for _, path, size in _logs(output_dir)}
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
            self._offset = self._before.get(self._file, 0)
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
        grown = [log for log in _logs(self._output_dir) if log[2] > self._before.get(log[1], 0)]
        return max(grown)[1] if grown else None


def _logs(output_dir: Path) -> list[tuple[float, Path, int]]:
    """Modification time, path and bytes of each log of metrics."""
    found: list[tuple[float, Path, int]] = []
    for pattern in ("*/logging.jsonl", "logging.jsonl"):
        for path in output_dir.glob(pattern):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_mtime, path, status.st_size))
    return found


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
