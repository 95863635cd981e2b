"""``grpo-runs list``: one line a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from grpo_launch.errors import one_line
from grpo_launch.monitor import living
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.view import View, view
from grpo_launch.monitor.words import NOTHING, addresses, age, and_, fit, table
from grpo_launch.runs import find, pace, record

FORMAT = 1
"""The version of what ``--json`` prints; fields may be added within a version."""

_HEAD = (
    *("RUN", "STATE", "ROLE", "ATTEMPT", "STEP", "REWARD", "LOSS"),
    *("STARTED", "TOOK", "URL", "REASON"),
)
_RIGHT = "ATTEMPT STEP REWARD LOSS STARTED TOOK"


def run(context: Context, *, as_json: bool) -> int:
    """Print all runs, newest last.

    Returns:
        The exit status, 0.
    """
    found = find.runs(context.root)
    machine = living.look()
    views = [view(run, machine) for run in found]
    if as_json:
        context.json({"format": FORMAT, "runs": [brief(v, context.now()) for v in views]})
    elif views:
        context.out("\n".join(lines(views, context.now(), context.width)))
    else:
        context.say(f"no runs below {context.root}")
    return 0


def lines(views: Sequence[View], now: float, width: int | None = None) -> list[str]:
    """The table, with remarks below the runs that need one.

    Where the reasons have no room beside the rest, they stand below. A loss is shown of a
    training without rewards; where no run is one, there is no column for it.

    Args:
        views: the runs.
        now: seconds since the epoch.
        width: characters of a line; None: as many as it takes.
    """
    head, rows = _HEAD, [_row(view, now) for view in views]
    loss = head.index("LOSS")
    if all(row[loss] == NOTHING for row in rows):
        head, *rows = ((*row[:loss], *row[loss + 1 :]) for row in (head, *rows))
    whole = table(head, rows, _RIGHT)
    reasons = [row[-1] for row in rows]
    beside = any(reasons) and (width is None or all(len(line) <= width for line in whole))
    if not beside:
        whole = table(head[:-1], [row[:-1] for row in rows], _RIGHT)
    told = fit(whole[0], width)
    for shown, reason, row in zip(views, reasons, whole[1:], strict=True):
        below = [reason] if reason and not beside else []
        for line in (row, *(f"  {remark}" for remark in (*below, *remarks(shown)))):
            told += fit(line, width)
    return told


def remarks(shown: View) -> list[str]:
    """What a table has no column for."""
    found: list[str] = []
    if (recorded := shown.recorded) is not None:
        told = dict.fromkeys(f"{a.process}: {a.message}" for a in recorded.alarms)
        found += [f"alarm: {one_line(words)}" for words in told]
    if shown.problem is not None:
        found.append(shown.problem)
    if not shown.is_here and shown.recorded is not None and not shown.has_end:
        found.append(
            f"on host {one_line(shown.recorded.supervisor.host or '')}, as last written there"
        )
    if not shown.is_supervised and (shown.alive or shown.guards):
        found.append(f"still alive: {and_(who(shown))}")
    return found


def who(shown: View) -> list[str]:
    """The living processes of a run in words: ``server 123, 124``."""
    pids: dict[str, list[str]] = {}
    for process in shown.alive:
        pids.setdefault(one_line(process.name or "process"), []).append(str(process.pid))
    for guard in shown.guards:
        pids.setdefault("guard", []).append(str(guard.pid))
    return [f"{name} {', '.join(numbers)}" for name, numbers in pids.items()]


def brief(shown: View, now: float) -> dict[str, Any]:
    """A run as JSON; see docs/runs.md for the fields.

    Args:
        shown: the run.
        now: seconds since the epoch.
    """
    recorded, step = shown.recorded, shown.step
    body: dict[str, Any] = {
        "run": shown.found.name,
        "directory": str(shown.found.directory),
        "state": shown.state,
        "problem": shown.problem,
        "host": recorded.supervisor.host if recorded else None,
        "is_here": shown.is_here,
        "is_supervised": shown.is_supervised,
        "is_over": shown.is_over,
        "alive": [{"name": p.name, "pid": p.pid, "command": p.command} for p in shown.alive],
        "guards": [guard.pid for guard in shown.guards],
    }
    for name in ("experiment", "role", "backend", "reason", "status", "started", "ended"):
        body[name] = getattr(recorded, name) if recorded else None
    return {
        **body,
        "duration_s": shown.duration_s(now),
        "alarms": [asdict(alarm) for alarm in recorded.alarms] if recorded else [],
        "downgraded": list(recorded.downgraded) if recorded else [],
        "urls": list(recorded.urls) if recorded else [],
        "attempt": recorded.attempt if recorded else None,
        "step": step.step if step else None,
        "max_steps": step.max_steps if step else None,
        "reward": finite(shown.reward),
        "loss": finite(shown.loss),
    }


def finite(value: float | None) -> float | None:
    """``value``, or None where JSON has no word for it (NaN)."""
    return None if value is None or value != value else value


def _row(shown: View, now: float) -> tuple[str, ...]:
    recorded, step = shown.recorded, shown.step
    if recorded is None:
        return (one_line(shown.found.name), shown.state, *[NOTHING] * (len(_HEAD) - 3), "")
    took = shown.duration_s(now)
    return (
        one_line(shown.found.name),
        one_line(shown.state),
        one_line(recorded.role),
        str(recorded.attempt),
        step.of_all if step else NOTHING,
        NOTHING if shown.reward is None else pace.written_reward(shown.reward),
        NOTHING
        if shown.loss is None or shown.reward is not None
        else pace.written_loss(shown.loss),
        f"{age(max(0.0, now - recorded.started))} ago",
        NOTHING if took is None else age(took),
        addresses(recorded.urls),
        one_line(recorded.reason or "") if shown.state != record.DONE else "",
    )
