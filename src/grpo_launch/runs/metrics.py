"""The learner's own log of metrics, read while it grows; the plan says what it looks like."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import files
from grpo_launch.base.tailing import LineTail
from grpo_launch.plan import Metrics


@dataclass(frozen=True)
class Step:
    """One row that was logged, for one optimizer step or several.

    Attributes:
        step: optimizer steps that had been made.
        max_steps: their number; 0 where it is not known.
        reward: mean reward, or None where it was not logged: a generation may last for several
            steps.
        completion_length: mean tokens of a completion.
        step_time: seconds of one of its steps.
        begins: whether it is the first of a start of the learner, and so holds the warm-up.
        loss: that was logged, or None.
        elapsed: seconds since the learner began to train, or None.
    """

    step: int
    max_steps: int
    reward: float | None
    completion_length: float | None
    step_time: float | None
    begins: bool = False
    loss: float | None = None
    elapsed: float | None = None

    @property
    def of_all(self) -> str:
        """``3/40``, or ``3`` where nobody knows how many there are."""
        return f"{self.step}/{self.max_steps}" if self.max_steps else str(self.step)


class MetricsFollower:
    """Reads the steps that are logged below a directory from now on.

    Args:
        output_dir: the learner's output directory; it need not exist yet. What its
            logs hold already is of earlier runs, whatever the clock says.
        metrics: where it logs and how; None: nobody knows.
    """

    def __init__(self, output_dir: Path, metrics: Metrics | None) -> None:
        self._output_dir = output_dir
        self._metrics = metrics
        self._before = {path: size for _, path, size in _logs(output_dir, metrics)}
        self._lines: LineTail | None = None
        self.steps: list[Step] = []

    def poll(self) -> list[Step]:
        """The steps that were logged since the last call."""
        if self._metrics is None:
            return []
        if self._lines is None:
            path = self._newest()
            if path is None:
                return []
            self._lines = LineTail(path, self._before.get(path, 0))
        read = (parse(line, self._metrics) for line in self._lines.read())
        fresh = [step for step in read if step is not None]
        if fresh and not self.steps:
            fresh[0] = replace(fresh[0], begins=True)
        self.steps += fresh
        return fresh

    def _newest(self) -> Path | None:
        logs = _logs(self._output_dir, self._metrics)
        # One that is smaller was made anew.
        written = [log for log in logs if log[2] != self._before.get(log[1], 0)]
        return max(written)[1] if written else None


class History:
    """The steps that a run has logged so far; cheap to ask for again and again.

    An attempt that begins again before the end of the last one takes its steps back.

    Args:
        output_dir: the learner's output directory; it need not exist yet.
        metrics: where it logs and how; None: nobody knows.
        since: leave out logs that were last written before (seconds since the epoch);
            for a directory that several runs write into.
        until: leave out logs that were last written after.
        at_most: bytes to read of each log at first, from its end; None: all.

    Attributes:
        newest: the numbers of the row that was logged last, by the learner's own names.
        latest: the newest number of each name; not every row has all of them.
    """

    def __init__(
        self,
        output_dir: Path,
        metrics: Metrics | None,
        since: float | None = None,
        until: float | None = None,
        at_most: int | None = None,
    ) -> None:
        self._output_dir = output_dir
        self._metrics = metrics
        self._since = float("-inf") if since is None else since
        self._until = float("inf") if until is None else until
        self._at_most = at_most
        self._lines: dict[Path, LineTail] = {}
        self._unbegun: set[Path] = set()
        self._steps: dict[int, Step] = {}
        self.newest: dict[str, float] = {}
        self.latest: dict[str, float] = {}

    def steps(self) -> list[Step]:
        """The steps so far, in ascending order."""
        for modified, path, size in sorted(_logs(self._output_dir, self._metrics)):
            if not size or not self._since <= modified <= self._until:
                continue
            if path not in self._lines:
                begin = 0 if self._at_most is None else max(0, size - self._at_most)
                self._lines[path] = LineTail(path, begin)
                self._unbegun |= set() if begin else {path}
            if size != self._lines[path].offset:  # smaller: a start made it anew
                self._take(path, self._lines[path].read())
        return list(self._steps.values())

    def _take(self, path: Path, lines: list[bytes]) -> None:
        for line in lines:
            row = _row(line)
            step = _step(row, self._metrics) if row and self._metrics else None
            if row is not None and step is not None:
                step = replace(step, begins=path in self._unbegun)
                self._unbegun.discard(path)
                if self._steps and next(reversed(self._steps)) >= step.step:
                    self._steps = {n: s for n, s in self._steps.items() if n < step.step}
                self._steps[step.step] = step
                self.newest = {
                    name: value for name in row if (value := _number(row[name])) is not None
                }
                self.latest |= self.newest


def _logs(output_dir: Path, metrics: Metrics | None) -> list[tuple[float, Path, int]]:
    """Modification time, path and bytes of each log of metrics."""
    found: list[tuple[float, Path, int]] = []
    for pattern in metrics.files if metrics else ():
        for path in output_dir.glob(pattern):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_mtime, path, status.st_size))
    return found


def parse(line: bytes, metrics: Metrics) -> Step | None:
    """The step of one line, or None where it is no step (the summary at the end)."""
    row = _row(line)
    return None if row is None else _step(row, metrics)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row: Any = files.loads(line)
    except ValueError:
        return None
    return cast("dict[str, Any]", row) if isinstance(row, dict) else None


def _step(row: dict[str, Any], metrics: Metrics) -> Step | None:
    done, slash, total = str(row.get(metrics.step, "")).partition("/")
    if not slash:
        total = str(row.get(metrics.max_steps, "")) if metrics.max_steps else "0"
    if not _is_count(done) or not _is_count(total):
        return None
    if not any(name in row for name in metrics.trained or (metrics.reward, metrics.loss)):
        return None
    time = next((row[name] for name in metrics.step_time if name in row), None)
    return Step(
        int(done),
        int(total),
        _number(row.get(metrics.reward)),
        _number(row.get(metrics.completion_length)),
        _number(time),
        loss=_number(row.get(metrics.loss)),
        elapsed=_seconds(row.get(metrics.elapsed)),
    )


_DURATION = re.compile(r"(?:(\d{1,5}) days?, )?(\d{1,2}):(\d\d):(\d\d)", re.ASCII)
"""As ``str(timedelta)`` has it, in whole seconds."""


def _seconds(value: Any) -> float | None:
    if isinstance(value, str) and (parts := _DURATION.fullmatch(value)):
        days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    return _number(value)


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) < 16


def _number(value: Any) -> float | None:
    # Python's JSON has numbers of any length, and true is one.
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e300:
        return None
    return float(value)
