"""``grpo-runs stop``: end runs, and return when nothing of them is left."""

from __future__ import annotations

from dataclasses import asdict

from grpo_launch.errors import one_line
from grpo_launch.monitor import living
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.ending import Ended, Ending
from grpo_launch.monitor.listing import FORMAT
from grpo_launch.monitor.view import view
from grpo_launch.monitor.words import age
from grpo_launch.runs import find


def run(context: Context, word: str | None, *, kill: bool, sweep: bool, as_json: bool) -> int:
    """End one run, or every run of this host that goes on or has left something alive.

    Args:
        context: of the command.
        word: which run; None: all.
        kill: do not wait until processes end on their own.
        sweep: end the sweeps that the runs belong to, too.
        as_json: print JSON.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: the word means no run, or several.
        PreflightError: a run cannot be ended from here, or does not end.
    """
    endings = [Ending(found, context, kill=kill, sweep=sweep) for found in _chosen(context, word)]
    for ending in endings:
        ending.ask()
    ended: list[Ended] = []
    for ending in endings:
        ended.append(ending.finish())
        if not as_json:
            context.out(_sentence(ended[-1], context.now()))
    if as_json:
        context.json({"format": FORMAT, "runs": [asdict(run) for run in ended]})
    elif not ended:
        context.say(f"no run goes on below {context.root}")
    return 0


def _chosen(context: Context, word: str | None) -> list[find.Found]:
    if word is not None:
        return [find.one(word, context.root, context.cwd)]
    machine = living.look()
    views = [view(found, machine) for found in find.runs(context.root)]
    return [v.found for v in views if v.recorded is not None and v.is_here and not v.is_over]


def _sentence(ended: Ended, now: float) -> str:
    state = one_line(ended.state)
    if ended.outcome == "already ended":
        ago = "" if ended.ended is None else f", {age(max(0.0, now - ended.ended))} ago"
        return f"{ended.run}: has already ended ({state}{ago})"
    return f"{ended.run}: {ended.outcome} after {age(ended.seconds)} ({state})"
