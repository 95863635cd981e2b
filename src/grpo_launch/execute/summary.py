"""What a finished run leaves for people: its plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grpo_launch.errors import one_line
from grpo_launch.execute.console import Console
from grpo_launch.plan import LaunchPlan
from grpo_launch.runs import cycles, plot, timing
from grpo_launch.runs.metrics import Step

PLOT = "training.png"


def write(plan: LaunchPlan, steps: Sequence[Step], directory: Path, console: Console) -> None:
    """Draw the plot of a run, where the learner logged any step.

    Args:
        plan: of the run.
        steps: of all attempts, in the order of their logging; of a step that was
            trained twice the last one counts.
        directory: the run directory, absolute.
        console: told where the plot cannot be drawn.
    """
    if not steps:
        return
    merged = {step.step: step for step in steps}
    curve = [merged[number] for number in sorted(merged)]
    try:
        timed = cycles.by_step(timing.read(directory))
        if not plot.draw(curve, f"{plan.experiment}  {directory.name}", directory / PLOT, timed):
            console.say("no plot: pip install 'grpo_launch[plot]'")
    except Exception as error:  # whatever a plotting library makes of odd numbers: the run is over
        console.say(f"warning: {directory / PLOT}: cannot be drawn ({one_line(str(error))})")
