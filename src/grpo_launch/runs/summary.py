"""What a finished run leaves for people: its plot."""

from __future__ import annotations

from pathlib import Path

from grpo_launch.console import Console
from grpo_launch.plan import LaunchPlan
from grpo_launch.runs import plot
from grpo_launch.runs.metrics import MetricsFollower

PLOT = "training.png"


def write(plan: LaunchPlan, directory: Path, cwd: Path, since: float, console: Console) -> None:
    """Draw the plot of a run, where the learner logged any step.

    Args:
        plan: of the run.
        directory: the run directory, absolute.
        cwd: what the plan's output directory is relative to.
        since: when the run started, seconds since the epoch.
        console: told where the plot cannot be drawn.
    """
    metrics = MetricsFollower(cwd / plan.output_dir, since)
    metrics.poll()
    if not metrics.steps:
        return
    if not plot.draw(metrics.steps, f"{plan.experiment}  {directory.name}", directory / PLOT):
        console.say("no plot: pip install 'grpo_launch[plot]'")
