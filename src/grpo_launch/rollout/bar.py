"""A progress bar on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import Any


@contextlib.contextmanager
def shown(title: str) -> Generator[Callable[[dict[str, Any]], None] | None]:
    """What figures are given to while the bar is there; None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining
    except ImportError:  # in an environment of others
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, text="")

        def update(figures: dict[str, Any]) -> None:
            done = figures["step"] + figures["failed"]
            bar.update(task, completed=done, total=figures["max_steps"], text=text(figures))

        yield update


def text(figures: dict[str, Any]) -> str:
    """What stands beside the bar."""
    parts = [f"{figures['episodes_per_s']:.1f}/s {figures['tokens_per_s']:.0f} tok/s"]
    if figures["reward"] is not None:
        parts.append(f"reward {figures['reward']:.3f}")
    if figures["failed"]:
        parts.append(f"failed {figures['failed']}")
    waiting = (figures["waiting_for_model"], figures["waiting_for_environment"])
    parts.append("waiting for model {}, environment {}".format(*waiting))
    return " ".join(parts)
