"""What watching and ending a run needs of its plan."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.plan import LaunchPlan
from grpo_launch.runs import plans
from grpo_launch.runs.metrics import History
from grpo_launch.runs.reading import Record


@dataclass(frozen=True)
class Planned:
    """What was planned for a run.

    Attributes:
        plan: its plan; one that starts nothing where that cannot be read.
        notes: what of it is not understood, a line each.
        output_dir: where the learner writes, absolute.
    """

    plan: LaunchPlan
    notes: tuple[str, ...]
    output_dir: Path

    @property
    def names(self) -> tuple[str, ...]:
        """The processes that an attempt starts."""
        return tuple(spec.name for spec in self.plan.of_attempt)

    @property
    def logged(self) -> tuple[str, ...]:
        """The processes that have a log: those of an attempt, and of the stages of a loop."""
        stages = (spec.name for stage in self.plan.stages for spec in stage.plan.of_attempt)
        return tuple(dict.fromkeys((*self.names, *stages)))

    @property
    def gpus(self) -> dict[str, tuple[str, ...]]:
        """The ids of each process's GPUs, by its name; a CPU has none."""
        visible = {s.name: s.env.get("CUDA_VISIBLE_DEVICES") for s in self.plan.of_attempt}
        return {name: tuple(ids.split(",")) for name, ids in visible.items() if ids}


def read(directory: Path) -> Planned:
    """The plan of the run in ``directory``, with the usual values for what it does not say."""
    plan, notes = plans.known(directory)
    return Planned(plan, notes, plans.output_dir(directory, plan))


def history(
    directory: Path, recorded: Record, planned: Planned, at_most: int | None = None
) -> History:
    """What the learner of a run has logged.

    Args:
        directory: the run directory.
        recorded: its record.
        planned: its plan.
        at_most: bytes to read of each log, from its end.
    """
    metrics, path = planned.plan.metrics, planned.output_dir
    inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory))
    logs = (directory / "logs").glob(f"attempt_*/{planned.plan.job}.log")
    own = sorted(logs, key=lambda log: (len(log.parent.name), log.parent.name))
    if inside:
        return History(path, metrics, at_most=at_most, own=own)
    return History(path, metrics, recorded.started, recorded.ended, at_most, own)
