"""A run as a picture: reward, completion length and step time over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grpo_launch.runs.metrics import Step


def draw(steps: Sequence[Step], title: str, path: Path) -> bool:
    """Write the plot of a run as a PNG.

    Args:
        steps: what was logged; at least one.
        title: the line above the plot.
        path: the file to write.

    Returns:
        False where matplotlib (the extra ``plot``) is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 7.5), layout="constrained")
    panels = (
        ("mean reward", [s.reward for s in steps], "tab:green"),
        ("completion length (tokens)", [s.completion_length for s in steps], "tab:blue"),
        ("step time (s)", [s.step_time for s in steps], "tab:orange"),
    )
    axes = figure.subplots(len(panels), 1, sharex=True)
    for axis, (label, values, colour) in zip(axes, panels, strict=True):
        known = [(s.step, v) for s, v in zip(steps, values, strict=True) if v is not None]
        axis.plot([x for x, _ in known], [y for _, y in known], color=colour, marker=".", lw=1.2)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        if label != "mean reward" and known:
            axis.set_ylim(0, 1.1 * max(y for _, y in known) or 1)
    axes[-1].set_xlabel("optimizer step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    return True
