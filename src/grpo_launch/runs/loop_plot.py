"""A loop as a picture: rewards by iteration, and the seconds of each iteration by phase."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

_PHASES = {
    "serve": "start of the servers",
    "collect": "rollout",
    "collect_eval": "evaluation",
    "select": "selection",
    "learner": "update",
    "publish": "publishing",
    "reload": "reload",
}
"""Stages and their names in the legend, in the order of an iteration."""

_COLOURS = ("tab:gray", "tab:blue", "tab:cyan", "tab:olive", "tab:orange", "tab:brown", "tab:pink")
_OTHER = "other"
_LOST = {"failed": ("update failed", "tab:red"), "skipped": ("update skipped", "tab:gray")}

Row = Mapping[str, Any]
"""A line of ``iterations.jsonl``, see ``loop_state.told``."""


def draw(rows: Sequence[Row], title: str, path: Path) -> bool:
    """Write the picture of a loop as a PNG.

    Args:
        rows: the iterations that have ended; at least one.
        title: the line above the picture.
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

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _rewards(above, rows)
    _seconds(below, rows)
    below.set_xlabel("iteration")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    return True


def number(row: Row, name: str) -> float | None:
    """A finite number of a row; None where there is none."""
    value = row.get(name)
    is_number = type(value) in (int, float) and math.isfinite(cast("float", value))
    return float(cast("float", value)) if is_number else None


def seconds(row: Row) -> dict[str, float]:
    """The seconds of an iteration by stage."""
    spent = row.get("seconds")
    named = cast("Mapping[str, Any]", spent) if isinstance(spent, Mapping) else {}
    return {name: value for name in named if (value := number(named, name)) is not None}


def _rewards(axis: Any, rows: Sequence[Row]) -> None:
    curves = (("reward", "train", "tab:green", "o"), ("eval_reward", "eval", "tab:blue", "s"))
    lowest = 0.0
    for name, label, colour, marker in curves:
        known = [(at, y) for at, row in _numbered(rows) if (y := number(row, name)) is not None]
        if known:
            lowest = min(lowest, *(y for _, y in known))
            xs, ys = zip(*known, strict=True)
            axis.plot(xs, ys, color=colour, marker=marker, ms=4, lw=1.4, label=label)
    for update, (label, colour) in _LOST.items():
        lost = [at for at, row in _numbered(rows) if row.get("update") == update]
        for at in lost:
            axis.axvline(at, color=colour, ls="--", lw=1, label=label if at == lost[0] else None)
    axis.set_ylabel("mean reward")
    axis.grid(alpha=0.3)
    if lowest == 0:
        axis.set_ylim(bottom=0)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="best", fontsize="small")


def _seconds(axis: Any, rows: Sequence[Row]) -> None:
    spent = [seconds(row) for row in rows]
    numbers = [at for at, _ in _numbered(rows)]
    floor = [0.0] * len(rows)
    others = [sum(v for name, v in each.items() if name not in _PHASES) for each in spent]
    stacks = [
        (label, colour, [each.get(stage, 0.0) for each in spent])
        for (stage, label), colour in zip(_PHASES.items(), _COLOURS, strict=True)
    ]
    for label, colour, heights in [*stacks, (_OTHER, "lightgray", others)]:
        if any(heights):
            axis.bar(numbers, heights, bottom=floor, color=colour, label=label, width=0.8)
            floor = [below + height for below, height in zip(floor, heights, strict=True)]
    axis.set_ylabel("seconds")
    axis.grid(alpha=0.3, axis="y")
    if any(floor):
        axis.set_ylim(0, 1.08 * max(floor))
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")


def _numbered(rows: Sequence[Row]) -> list[tuple[float, Row]]:
    """The rows with their numbers, from 1."""
    return [(number(row, "step") or place, row) for place, row in enumerate(rows, 1)]
