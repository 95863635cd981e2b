"""The learner's own log of metrics, read while it grows; the plan says what it looks like."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grpo_launch.base.tailing import LineTail
from grpo_launch.plan import Metrics
from grpo_launch.runs.rows import Row, Rows


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
        log: the log of the process itself, of this attempt.

    Attributes:
        steps: those that were logged; where lines of one step are merged, as far as is known.
    """

    def __init__(self, output_dir: Path, metrics: Metrics | None, log: Path | None = None) -> None:
        self._places = _Places(output_dir, metrics, (log,) if log else ())
        self._metrics = metrics
        self._before = {path: size for _, path, size in self._places.logs()}
        self._lines: LineTail | None = None
        self._rows = Rows(metrics) if metrics else None
        self.steps: list[Step] = []

    def poll(self) -> list[Step]:
        """The steps that were logged since the last call, or of which more is known."""
        if self._metrics is None or self._rows is None:
            return []
        if self._lines is None:
            path = self._newest()
            if path is None:
                return []
            self._lines = LineTail(path, self._before.get(path, 0))
        read = ((_step(r.fields, self._metrics), r) for r in self._rows.take(self._lines.read()))
        fresh = [(step, row.again) for step, row in read if step is not None]
        if not self._metrics.merges:
            steps = [step for step, _ in fresh]
            if steps and not self.steps:
                steps[0] = replace(steps[0], begins=True)
            self.steps += steps
            return steps
        known = {step.step: step for step in self.steps}
        for step, again in fresh:
            begins = not known or step.step == min(known)
            known = _with(known, replace(step, begins=begins), back=again)
        self.steps = [*known.values()]
        return [known[step.step] for step, _ in fresh if step.step in known]

    def _newest(self) -> Path | None:
        logs = self._places.logs()
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
        own: the logs of the process itself, that of its first attempt first.

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
        own: Sequence[Path] = (),
    ) -> None:
        self._places = _Places(output_dir, metrics, own)
        self._metrics = metrics
        self._since = float("-inf") if since is None else since
        self._until = float("inf") if until is None else until
        self._at_most = at_most
        self._lines: dict[Path, tuple[LineTail, Rows]] = {}
        self._unbegun: set[Path] = set()
        self._steps: dict[int, Step] = {}
        self.newest: dict[str, float] = {}
        self.latest: dict[str, float] = {}

    def steps(self) -> list[Step]:
        """The steps so far, in ascending order."""
        for modified, path, size in sorted(self._places.logs()):
            in_time = self._since <= modified <= self._until or path in self._places.own
            if self._metrics is None or not size or not in_time:
                continue
            if path not in self._lines:
                begin = 0 if self._at_most is None else max(0, size - self._at_most)
                self._lines[path] = LineTail(path, begin), Rows(self._metrics)
                self._unbegun |= set() if begin else {path}
            tail, rows = self._lines[path]
            if size != tail.offset:  # smaller: a start made it anew
                self._take(path, rows.take(tail.read()), self._metrics)
        return list(self._steps.values())

    def _take(self, path: Path, rows: Sequence[Row], metrics: Metrics) -> None:
        for row in rows:
            step = _step(row.fields, metrics)
            if step is None:
                continue
            known = self._steps.get(step.step)
            is_first = path in self._unbegun
            begins = is_first or (metrics.merges and known is not None and known.begins)
            self._unbegun.discard(path)
            # Where lines are merged, only the reader of a log knows whether it is the same step.
            back = is_first or row.again or not metrics.merges
            self._steps = _with(self._steps, replace(step, begins=begins), back=back)
            self.newest = {
                name: value
                for name in row.fields
                if (value := _number(row.fields[name])) is not None
            }
            self.latest |= self.newest


def _with(steps: dict[int, Step], step: Step, *, back: bool) -> dict[int, Step]:
    """``steps`` and one more, in ascending order; with ``back`` without those after it."""
    newest = next(reversed(steps), -1)
    if newest < step.step:
        steps[step.step] = step
        return steps
    kept = {n: s for n, s in steps.items() if n < step.step} if back else steps
    return dict(sorted({**kept, step.step: step}.items()))


@dataclass(frozen=True)
class _Places:
    """Where a learner logs its steps.

    Attributes:
        output_dir: its output directory.
        metrics: what the plan says of it.
        own: the logs of its process.
    """

    output_dir: Path
    metrics: Metrics | None
    own: Sequence[Path]

    def logs(self) -> list[tuple[float, Path, int]]:
        """Modification time, path and bytes of each log of metrics."""
        if self.metrics is None:
            return []
        below = (self.output_dir.glob(pattern) for pattern in self.metrics.files)
        found: list[tuple[float, Path, int]] = []
        for path in itertools.chain(*below) if self.metrics.files else self.own:
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_mtime, path, status.st_size))
        return found


def parse(line: bytes, metrics: Metrics) -> Step | None:
    """The step of one line, or None where it is no step (the summary at the end)."""
    steps = (_step(row.fields, metrics) for row in Rows(metrics).take([line]))
    return next(steps, None)


def _step(row: dict[str, Any], metrics: Metrics) -> Step | None:
    done, slash, total = str(row.get(metrics.step, "")).partition("/")
    if not slash:
        said = row.get(metrics.max_steps) if metrics.max_steps else None
        is_there = said is not None or not metrics.max_steps or metrics.steps
        total = str(said if said is not None else metrics.steps) if is_there else ""
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
