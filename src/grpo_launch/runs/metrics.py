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


class Lines:
    """Reads the whole lines of a growing file from an offset, in bytes, on."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._rest = b""
        self.offset = offset

    def read(self) -> list[bytes]:
        """The lines that were finished since the last call."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except OSError:
            return []
        self.offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


class MetricsFollower:
    """Reads the steps that are logged below a directory from now on.

    Args:
        output_dir: the learner's output directory; it need not exist yet. What its
            logs hold already is of earlier runs, whatever the clock says.
    """

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = output_dir
        self._before = {path: size for _, path, size in _logs(output_dir)}
        self._lines: Lines | None = None
        self.steps: list[Step] = []

    def poll(self) -> list[Step]:
        """The steps that were logged since the last call."""
        if self._lines is None:
            path = self._newest()
            if path is None:
                return []
            self._lines = Lines(path, self._before.get(path, 0))
        fresh = [step for line in self._lines.read() if (step := parse(line)) is not None]
        self.steps += fresh
        return fresh

    def _newest(self) -> Path | None:
        grown = [log for log in _logs(self._output_dir) if log[2] > self._before.get(log[1], 0)]
        return max(grown)[1] if grown else None


class History:
    """The steps that a run has logged so far; cheap to ask for again and again.

    An attempt that begins again before the end of the last one takes its steps back.

    Args:
        output_dir: the learner's output directory; it need not exist yet.
        since: leave out logs that were last written before (seconds since the epoch);
            for a directory that several runs write into.
        until: leave out logs that were last written after.
        at_most: bytes to read of each log at first, from its end; None: all.

    Attributes:
        newest: the numbers of the row that was logged last, by ms-swift's names.
    """

    def __init__(
        self,
        output_dir: Path,
        since: float | None = None,
        until: float | None = None,
        at_most: int | None = None,
    ) -> None:
        self._output_dir = output_dir
        self._since = float("-inf") if since is None else since
        self._until = float("inf") if until is None else until
        self._at_most = at_most
        self._lines: dict[Path, Lines] = {}
        self._steps: dict[int, Step] = {}
        self.newest: dict[str, float] = {}

    def steps(self) -> list[Step]:
        """The steps so far, in ascending order."""
        for modified, path, size in sorted(_logs(self._output_dir)):
            if not size or not self._since <= modified <= self._until:
                continue
            if path not in self._lines:
                begin = 0 if self._at_most is None else max(0, size - self._at_most)
                self._lines[path] = Lines(path, begin)
            if size > self._lines[path].offset:
                self._take(self._lines[path].read())
        return list(self._steps.values())

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            row = _row(line)
            step = None if row is None else _step(row)
            if row is not None and step is not None:
                if self._steps and next(reversed(self._steps)) >= step.step:
                    self._steps = {n: s for n, s in self._steps.items() if n < step.step}
                self._steps[step.step] = step
                self.newest = {
                    name: value for name in row if (value := _number(row[name])) is not None
                }


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
    row = _row(line)
    return None if row is None else _step(row)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", row) if isinstance(row, dict) else None


def _step(row: dict[str, Any]) -> Step | None:
    done, slash, total = str(row.get("global_step/max_steps", "")).partition("/")
    if not slash or not _is_count(done) or not _is_count(total) or "reward" not in row:
        return None
    return Step(
        int(done),
        int(total),
        _number(row.get("reward")),
        _number(row.get("completions/mean_length")),
        _number(row.get("step_time", row.get("train_speed(s/it)"))),
    )


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) < 16


def _number(value: Any) -> float | None:
    # Python's JSON has numbers of any length, and true is one.
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e300:
        return None
    return float(value)
