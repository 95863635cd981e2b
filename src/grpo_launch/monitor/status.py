"""``grpo-runs status``: one run in full."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from grpo_launch.errors import one_line
from grpo_launch.monitor import living, serving
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.detail import Detail, detail, full
from grpo_launch.monitor.listing import FORMAT, remarks
from grpo_launch.monitor.view import view
from grpo_launch.monitor.words import addresses, age, fit, idle, moment, number, size, split, table
from grpo_launch.runs import find, pace
from grpo_launch.runs.reading import RecordedProcess

_LONGEST_COMMAND = 60


def run(context: Context, word: str, *, as_json: bool) -> int:
    """Print one run.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: the word means no run, or several.
    """
    found = find.one(word, context.root, context.cwd)
    shown = detail(view(found, living.look()))
    if as_json:
        context.json({"format": FORMAT, **full(shown, context.now())})
    else:
        told = lines(shown, context.now(), str(context.cwd))
        context.out("\n".join(part for line in told for part in fit(line, context.width)))
    return 0


def lines(shown: Detail, now: float, cwd: str) -> list[str]:
    """The run as text.

    Args:
        shown: the run.
        now: seconds since the epoch.
        cwd: paths below it are shown relative to it.
    """
    told = [f"{one_line(shown.view.found.name)}  {one_line(shown.view.state)}"]
    told += [f"  {remark}" for remark in remarks(shown.view)]
    if notes := shown.notes:
        more = f", and {len(notes) - 1} more" if len(notes) > 1 else ""
        told.append(f"  {one_line(notes[0])}{more}")
    facts = list(_facts(shown, now, cwd))
    width = max(len(name) for name, _ in facts)
    told += [f"  {name:<{width}}  {value}" for name, value in facts]
    for heading, rows in (
        ("processes", _processes(shown)),
        ("attempts", _attempts(shown, now, cwd)),
        ("checkpoints", _checkpoints(shown, now, cwd)),
        ("logs", _logs(shown, cwd)),
        ("newest metrics", _metrics(shown)),
    ):
        if rows:
            told += ["", heading, *(f"  {row}" for row in table(rows[0], rows[1:]))]
    return told


def short(path: str, cwd: str) -> str:
    """``path``, relative to ``cwd`` where it is below it."""
    return one_line(path[len(cwd) + 1 :] if path.startswith(f"{cwd}{os.sep}") else path)


def _facts(shown: Detail, now: float, cwd: str) -> Iterator[tuple[str, str]]:
    recorded, view = shown.view.recorded, shown.view
    if recorded is not None:
        if recorded.reason:
            yield "reason", one_line(recorded.reason)
        if recorded.status is not None:
            yield "status", str(recorded.status)
        yield "role", f"{one_line(recorded.role)}, {one_line(recorded.backend)}"
        ago = age(max(0.0, now - recorded.started))
        yield "started", f"{moment(recorded.started)}, {ago} ago"
        took = view.duration_s(now)
        if took is not None:
            yield "took" if view.has_end else "running for", age(took)
        if view.is_supervised:
            yield "supervisor", f"pid {recorded.supervisor.pid}"
        yield "url", addresses(recorded.urls)
    if shown.serving:
        yield "serving", serving.words(shown.serving)
    yield "directory", short(str(view.found.directory), cwd)
    if shown.steps:
        last = shown.steps[-1]
        facts = [last.of_all]
        facts += [] if (newest := pace.newest(shown.steps)) is None else [newest]
        facts += [] if shown.step_s is None else [f"{shown.step_s:.1f} s/step"]
        facts += [f"{age(shown.eta_s)} left"] if shown.eta_s else []
        yield "step", ", ".join(facts)
    if shown.split is not None:
        yield "time", f"{split(shown.split)}; {idle(shown.split)}"


def _processes(shown: Detail) -> list[tuple[str, ...]]:
    recorded = shown.view.recorded
    return [
        (
            one_line(name),
            f"pid {process.pid}",
            _fate(shown, name, process),
            "GPU " + ",".join(gpus) if (gpus := shown.planned.gpus.get(name)) else "",
            _command(process.argv),
        )
        for name, process in (recorded.processes.items() if recorded else ())
    ]


def _fate(shown: Detail, name: str, process: RecordedProcess) -> str:
    others = shown.children(name, process)
    more = f" and {len(others)} more" if others else ""
    if shown.is_alive(process):
        return f"alive{more}"
    if not shown.view.is_here and process.exit is None:
        return "not seen from here"
    fate = process.fate or "gone"
    return f"{fate}, but {len(others)} alive" if others else fate


def _command(argv: tuple[str, ...]) -> str:
    command = one_line(shlex.join(argv))
    return command if len(command) <= _LONGEST_COMMAND else f"{command[:_LONGEST_COMMAND]}..."


def _attempts(shown: Detail, now: float, cwd: str) -> list[tuple[str, ...]]:
    recorded = shown.view.recorded
    rows: list[tuple[str, ...]] = []
    for attempt in recorded.attempts if recorded else ():
        until = attempt.ended or (now if shown.view.is_supervised else None)
        source = attempt.resumed_from
        rows.append(
            (
                str(attempt.number),
                "" if until is None else age(max(0.0, until - attempt.started)),
                one_line(attempt.reason or ""),
                f"from {short(source, cwd)}" if source else "",
            )
        )
    return rows


def _checkpoints(shown: Detail, now: float, cwd: str) -> list[tuple[str, ...]]:
    return [
        (f"step {c.step}", f"{age(max(0.0, now - c.written))} ago", short(str(c.path), cwd))
        for c in shown.checkpoints
    ]


def _logs(shown: Detail, cwd: str) -> list[tuple[str, ...]]:
    return [
        (name, size(length), short(str(path), cwd))
        for name, path in shown.logs.items()
        if (length := _length(path)) is not None
    ]


def _length(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _metrics(shown: Detail) -> list[tuple[str, ...]]:
    return [(one_line(name), number(value)) for name, value in shown.metrics.items()]
