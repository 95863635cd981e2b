"""A run as a picture: reward (or loss), completion length and step time over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_launch.runs.cycles import Cycle
from grpo_launch.runs.metrics import Step

_PARTS = {"waiting": "generation", "sync": "weight sync", "learning": "learning", "other": "other"}
"""Of a cycle's seconds, the learner's way, and their names in the legend."""

_REWARD, _LOSS, _TIME = "mean reward", "loss", "step time (s)"
_SIGNED = (_REWARD, _LOSS)
"""What may be below zero."""

_MANY = 3
"""A first step of so many times the longest other one only warms up."""


def draw(
    steps: Sequence[Step], title: str, path: Path, cycles: Mapping[int, Cycle] | None = None
) -> bool:
    """Write the plot of a run as a PNG.

    Args:
        steps: what was logged; at least one.
        title: the line above the plot.
        path: the file to write.
        cycles: what the learner did, by optimizer step, where that is known.

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
    panels = _panels(steps)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (label, values, colour) in zip(axes, panels, strict=True):
        known = [(s.step, v) for s, v in zip(steps, values, strict=True) if v is not None]
        axis.plot([x for x, _ in known], [y for _, y in known], color=colour, marker=".", lw=1.2)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        if label not in _SIGNED and known:
            axis.set_ylim(0, 1.1 * max(y for _, y in known) or 1)
        if label == _TIME:
            _leave_out_the_warm_up(axis, steps)
            if cycles:
                _stack(axis, steps, cycles)
    axes[-1].set_xlabel("optimizer step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    return True


def _panels(steps: Sequence[Step]) -> list[tuple[str, list[float | None], str]]:
    """Label, values and colour of what was logged; a loss tells of a training without rewards."""
    panels = [
        (_REWARD, [s.reward for s in steps], "tab:green"),
        (_LOSS, [s.loss for s in steps], "tab:green"),
        ("completion length (tokens)", [s.completion_length for s in steps], "tab:blue"),
        (_TIME, [s.step_time for s in steps], "tab:orange"),
    ]
    logged = [panel for panel in panels if any(value is not None for value in panel[1])]
    rewarded = any(label == _REWARD for label, *_ in logged)
    return [p for p in logged if p[0] != _LOSS or not rewarded] or panels[:1]


def _leave_out_the_warm_up(axis: Any, steps: Sequence[Step]) -> None:
    """Let a first step that took many times as long not flatten the others."""
    first, *others = [step.step_time for step in steps]  # a row may stand for several steps
    highest = max((seconds for seconds in others if seconds is not None), default=0.0)
    if first is not None and first > _MANY * highest > 0:
        axis.set_ylim(0, 1.4 * highest)
        text = f" step {steps[0].step}: {first:.0f} s"
        axis.text(0.07, 0.94, text, transform=axis.transAxes, va="top", fontsize="small")


def _stack(axis: Any, rows: Sequence[Step], cycles: Mapping[int, Cycle]) -> None:
    """Fill the seconds of the steps with what they went into, the mean of each row's steps."""
    shares = {
        row.step: [cycles[step] for step in range(before + 1, row.step + 1) if step in cycles]
        for before, row in zip([rows[0].step - 1, *(r.step for r in rows)], rows, strict=False)
    }
    timed = [step for step, found in shares.items() if found]
    parts = [
        [
            sum(getattr(cycle, part) / cycle.steps for cycle in shares[step]) / len(shares[step])
            for step in timed
        ]
        for part in _PARTS
    ]
    if len(timed) > 1:
        colours = ("tab:blue", "tab:gray", "tab:orange", "tab:pink")
        axis.stackplot(timed, *parts, labels=_PARTS.values(), colors=colours, alpha=0.55, lw=0)
        axis.legend(loc="upper right", ncols=len(_PARTS), fontsize="small")
