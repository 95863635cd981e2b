"""One run in full: what ``grpo-runs status`` and ``watch`` tell besides a line of the list."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpo_launch.monitor import planned
from grpo_launch.monitor.listing import brief, finite
from grpo_launch.monitor.serving import Counts, counts
from grpo_launch.monitor.view import View
from grpo_launch.runs import checkpoints, pace, plans, record, shares
from grpo_launch.runs.checkpoints import Checkpoint
from grpo_launch.runs.metrics import History, Step
from grpo_launch.runs.reading import RecordedProcess
from grpo_launch.runs.shares import Split
from grpo_launch.runs.timing import Timings

LAUNCHER = "launcher"
"""Whose log a run in the background has besides."""

_INTERVALS = 100
"""Intervals of the learner that tell what its seconds go into: some 30 generations."""


@dataclass(frozen=True)
class Detail:
    """One run in full.

    Attributes:
        view: the run.
        planned: what was planned for it.
        logs: the logs of the newest attempt, by process, and a background run's own.
        checkpoints: the complete ones, fewest steps first.
        steps: all that was logged, in ascending order.
        metrics: the numbers of the newest row, by the learner's own names.
        latest: the newest number of each name.
        split: what its seconds have gone into lately, where its learner writes that down.
        serving: what its servers count, while it goes on.
    """

    view: View
    planned: planned.Planned
    logs: dict[str, Path]
    checkpoints: tuple[Checkpoint, ...]
    steps: tuple[Step, ...]
    metrics: dict[str, float]
    latest: dict[str, float]
    split: Split | None = None
    serving: Counts = field(default_factory=dict[str, Mapping[str, float]])

    @property
    def step_s(self) -> float | None:
        """Seconds of a recent step, on the mean; generation and learning together."""
        return pace.seconds_per_step(self.steps)

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last step, while the run goes on."""
        return pace.seconds_left(self.steps) if self.view.is_supervised else None

    def is_alive(self, process: RecordedProcess) -> bool:
        """Whether a process of the record itself lives."""
        identity = (process.pid, process.start_time)
        return identity in [(p.entry.pid, p.entry.start_time) for p in self.view.alive]

    def children(self, name: str, process: RecordedProcess) -> list[int]:
        """The pids of what lives below that process."""
        return [p.pid for p in self.view.alive if p.name == name and p.pid != process.pid]

    @property
    def notes(self) -> list[str]:
        """What is not understood of its record and its plan, with the file's name."""
        parts = {record.NAME: self.view.notes, plans.NAME: self.planned.notes}
        return [f"{file}: {note}" for file, notes in parts.items() for note in notes]


def detail(
    shown: View,
    past: History | None = None,
    timings: Timings | None = None,
    *,
    with_checkpoints: bool = True,
) -> Detail:
    """Look at all that a run has left in its directory.

    Args:
        shown: the run.
        past: what it has logged, where that is being followed.
        timings: when its learner did what, where that is being followed.
        with_checkpoints: whether to look into its checkpoints, which takes a moment.
    """
    directory, plan = shown.found.directory, planned.read(shown.found.directory)
    if past is None and shown.recorded is not None:
        past = planned.history(directory, shown.recorded, plan)
    inside = _is_inside(plan.output_dir, directory)
    started = shown.recorded.started if shown.recorded else 0.0
    layout = plan.plan.checkpoints if with_checkpoints else None
    every = checkpoints.every(plan.output_dir, layout)
    kept = [c for c in every if inside or c.written >= started]
    steps = past.steps() if past else []
    return Detail(
        view=shown,
        planned=plan,
        logs=newest_logs(directory, plan.names),
        checkpoints=tuple(kept),
        steps=tuple(steps),
        metrics=dict(past.newest) if past else {},
        latest=dict(past.latest) if past else {},
        split=_recent(timings or Timings(directory)),
        serving=counts(shown, plan.plan),
    )


def newest_logs(directory: Path, names: Sequence[str]) -> dict[str, Path]:
    """The logs of the newest attempt, and a background run's own; absolute, by name.

    Args:
        directory: the run directory.
        names: of the processes in its plan.
    """
    logs = directory / "logs"
    attempt = logs / f"attempt_{max(attempts(directory), default=0)}"
    paths = {name: attempt / f"{name}.log" for name in names}
    paths[LAUNCHER] = logs / f"{LAUNCHER}.log"
    return {name: path for name, path in paths.items() if path.is_file()}


def attempts(directory: Path) -> list[int]:
    """The numbers of the attempts that have logs, in ascending order."""
    try:
        names = os.listdir(directory / "logs")
    except OSError:
        return []
    said = (name.removeprefix("attempt_") for name in names if name.startswith("attempt_"))
    return sorted(int(number) for number in said if number.isdecimal() and len(number) < 10)


def full(shown: Detail, now: float) -> dict[str, Any]:
    """A run in full as JSON; see docs/runs.md for the fields.

    Args:
        shown: the run.
        now: seconds since the epoch.
    """
    recorded = shown.view.recorded
    return {
        **brief(shown.view, now),
        "supervisor": recorded.supervisor.pid if recorded else None,
        "processes": _processes(shown, recorded.processes if recorded else {}),
        "attempts": [
            {
                "number": attempt.number,
                "started": attempt.started,
                "ended": attempt.ended,
                "reason": attempt.reason,
                "resumed_from": attempt.resumed_from,
                "exits": {name: p.exit for name, p in attempt.processes.items()},
            }
            for attempt in (recorded.attempts if recorded else ())
        ],
        "logs": {name: str(path) for name, path in shown.logs.items()},
        "checkpoints": [
            {"path": str(c.path), "step": c.step, "written": c.written} for c in shown.checkpoints
        ],
        "step_s": shown.step_s,
        "eta_s": shown.eta_s,
        "split": None if shown.split is None else _split(shown.split),
        "serving": {name: dict(values) for name, values in shown.serving.items()},
        "metrics": {name: finite(value) for name, value in shown.metrics.items()},
        "notes": shown.notes,
    }


def _recent(timings: Timings) -> Split | None:
    return shares.split(start[-_INTERVALS:] for start in timings.starts()[-1:])


def _split(split: Split) -> dict[str, Any]:
    """The medians of an optimizer step's parts, in seconds, and what waits how much of the time."""
    return {
        "generate_s": split.per_step * split.generating.median,
        "sync_s": split.per_step * split.sync.median,
        "learn_s": split.per_step * split.learning.median,
        "other_s": split.per_step * split.other.median,
        "server_idle": split.server_idle,
        "learner_waits": split.learner_waits,
        "generations": split.cycles,
    }


def _processes(shown: Detail, processes: Mapping[str, RecordedProcess]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "pid": process.pid,
            "exit": process.exit,
            "stopped": process.stopped,
            "is_alive": shown.is_alive(process),
            "children": shown.children(name, process),
            "gpus": list(shown.planned.gpus.get(name, ())),
            "argv": list(process.argv),
        }
        for name, process in processes.items()
    ]


def _is_inside(path: Path, directory: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory))
