"""What a bounded loop leaves for people: a verdict in a line, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grpo_launch.errors import one_line
from grpo_launch.execute.console import Console, duration
from grpo_launch.runs import loop_plot, loop_state
from grpo_launch.runs.loop_plot import Row, number, seconds

PICTURE = "loop.png"


def write(directory: Path, title: str, console: Console) -> None:
    """Tell the verdict of a loop, and draw it, where any iteration has ended.

    Args:
        directory: of the loop.
        title: the line above the picture.
        console: told the verdict, and where the picture cannot be drawn.
    """
    try:
        rows = loop_state.rows(directory)
    except OSError as error:
        console.say(f"warning: {error.filename}: cannot be read ({error.strerror})")
        return
    if not rows:
        return
    console.say(verdict(rows))
    try:
        if not loop_plot.draw(rows, title, directory / PICTURE):
            console.say("no plot: pip install 'grpo_launch[plot]'")
    except Exception as error:  # whatever a plotting library makes of odd numbers: the run is over
        console.say(f"warning: {directory / PICTURE}: cannot be drawn ({one_line(str(error))})")


def verdict(rows: Sequence[Row]) -> str:
    """A loop in a line: ``reward 0.02 -> 0.74 in 5 iterations (eval 0.03 -> 0.71), 4m12s``.

    Args:
        rows: of the iterations that have ended, the first first.
    """
    count = _counted(len(rows), "iteration")
    trained, evaluated = _change(rows, "reward"), _change(rows, "eval_reward")
    text = f"reward {trained} in {count}" if trained else count
    if evaluated:
        text += f" (eval {evaluated})"
    for update in (loop_state.FAILED, loop_state.SKIPPED):
        if lost := sum(row.get("update") == update for row in rows):
            text += f", {_counted(lost, f'{update} update')}"
    spent = sum(sum(seconds(row).values()) for row in rows)
    return f"{text}, {duration(spent)}" if spent else text


def _change(rows: Sequence[Row], name: str) -> str:
    """The first and the last value; one where there is only one, nothing where there is none."""
    values = [value for row in rows if (value := number(row, name)) is not None]
    ends = values if len(values) < 2 else [values[0], values[-1]]
    return " -> ".join(map(_short, ends))


def _short(value: float) -> str:
    """Two decimals; two digits of what would be 0.00."""
    return f"{value:.2g}" if 0 < abs(value) < 0.005 else f"{value:.2f}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
