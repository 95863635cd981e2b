"""``grpo-runs prune``: remove the directories of runs that have ended."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from grpo_launch.errors import ConfigError, PreflightError, one_line
from grpo_launch.monitor import living, planned, uses
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.listing import FORMAT
from grpo_launch.monitor.view import UNREADABLE, View, view
from grpo_launch.monitor.words import age, size, table
from grpo_launch.runs import checkpoints, find, record

STATES = (record.DONE, record.FAILED, record.INTERRUPTED, record.LOST)
"""The states in which a run may be removed."""

_REMOVING = ".removing-"
"""A directory with this name is being removed, or its removal was interrupted."""

_IS_USED = "is used by"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Choice:
    """Which runs are to go.

    Attributes:
        keep: how many of the newest runs of each experiment stay.
        older_than_s: seconds since their end, at least.
        states: of :data:`STATES`.
        with_checkpoints: whether runs with checkpoints go as well.
    """

    keep: int = 0
    older_than_s: float = 0.0
    states: Sequence[str] = STATES
    with_checkpoints: bool = False


@dataclass(frozen=True)
class Verdict:
    """What is to become of a run.

    Attributes:
        view: the run.
        stays_because: why it stays; None: it goes.
        bytes: of its directory, on disk.
    """

    view: View
    stays_because: str | None
    bytes: int


def seconds(text: str) -> float:
    """``7d`` as seconds; also ``s``, ``m``, ``h`` and ``w``.

    Raises:
        ConfigError: it is no such time.
    """
    unit = _SECONDS.get(text[-1:])
    if unit is None or not text[:-1].isdecimal() or len(text) > 10:
        raise ConfigError("--older-than", f"{text} is no time", "say for example 7d, 12h or 30m")
    return float(int(text[:-1]) * unit)


def judge(views: Sequence[View], choice: Choice, root: Path, now: float) -> list[Verdict]:
    """What is to become of each run.

    Args:
        views: all runs, newest last.
        choice: which are to go.
        root: the directory of the runs.
        now: seconds since the epoch.
    """
    verdicts: list[Verdict] = []
    used_by = {
        shown.found.name: uses.paths(shown.found.directory, shown.recorded)
        for shown in views
        if shown.recorded is not None and not shown.is_over
    }
    newer: dict[str, int] = {}
    for shown in reversed(views):
        experiment = shown.found.directory.parent.name
        newer[experiment] = newer.get(experiment, 0) + 1
        reason = (
            f"one of the newest {choice.keep}" if newer[experiment] <= choice.keep else None
        ) or _stays(shown, choice, root, now)
        if reason is None and (user := _user(shown, used_by)):
            reason = one_line(f"{_IS_USED} {user}, which goes on")
        used, has_checkpoints = (0, False) if reason else _weigh(shown.found.directory)
        if has_checkpoints and not choice.with_checkpoints:
            reason = "has checkpoints"
        verdicts.append(Verdict(shown, reason, used))
    return verdicts[::-1]


def run(context: Context, choice: Choice, *, dry: bool, yes: bool, as_json: bool) -> int:
    """Say what would be removed, ask, and remove it.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: there is nobody to ask.
        PreflightError: a directory cannot be removed.
    """
    machine = living.look()
    views = [view(found, machine, with_step=False) for found in find.runs(context.root)]
    verdicts = judge(views, choice, context.root, context.now())
    going = [verdict for verdict in verdicts if verdict.stays_because is None]
    if not as_json:
        _tell(context, verdicts, going)
    if going and not dry and not yes and not _agrees(context, len(going)):
        context.say("nothing was removed")
        going = []
    elif not dry:
        for verdict in going:
            _remove(verdict.view.found)
        _finish_removals(context.root)
        _repair_latest(context.root)
        if going and not as_json:
            context.say(f"removed {_runs(len(going))}")
    if as_json:
        context.json(
            {
                "format": FORMAT,
                "dry_run": dry,
                "removed": [{"run": v.view.found.name, "bytes": v.bytes} for v in going],
                "kept": [
                    {"run": v.view.found.name, "reason": v.stays_because}
                    for v in verdicts
                    if v.stays_because is not None
                ],
                "bytes": sum(v.bytes for v in going),
            }
        )
    return 0


def _stays(shown: View, choice: Choice, root: Path, now: float) -> str | None:
    recorded, directory = shown.recorded, shown.found.directory
    if recorded is None or shown.state == UNREADABLE:
        return "its record cannot be read"
    if not shown.is_over:
        where = "" if shown.is_here else f" on host {recorded.supervisor.host}"
        return one_line(f"is {shown.state}{where}")
    if shown.state not in STATES:
        return one_line(f"is {shown.state}")
    if shown.state not in choice.states:
        return f"is {shown.state}"
    if os.path.realpath(directory) != f"{os.path.realpath(root)}{os.sep}{shown.found.name}":
        return "is a link"
    ended = recorded.ended
    if ended is None:
        ended = (directory / record.NAME).stat().st_mtime
    if now - ended < choice.older_than_s:
        return f"ended {age(max(0.0, now - ended))} ago"
    return None


def _user(shown: View, used_by: Mapping[str, Collection[str]]) -> str | None:
    """A run that goes on and needs a file of this one, or None."""
    directory = os.path.realpath(shown.found.directory)
    users = (
        name for name, paths in used_by.items() if any(uses.is_below(p, directory) for p in paths)
    )
    return next(users, None)


def _weigh(directory: Path) -> tuple[int, bool]:
    """The bytes of a directory on disk, and whether there is a checkpoint in it."""
    used, has_checkpoints = 0, False
    layout = planned.read(directory).plan.checkpoints
    for path, directories, files in os.walk(directory):  # follows no links
        if layout is not None:
            named = directories if layout.state else (*directories, *files)
            paths = (PurePath(path, name) for name in named)
            has_checkpoints |= any(checkpoints.is_named(found, layout) for found in paths)
        for name in (".", *files):
            with contextlib.suppress(OSError):
                used += os.lstat(f"{path}{os.sep}{name}").st_blocks * 512
    return used, has_checkpoints


def _tell(context: Context, verdicts: Sequence[Verdict], going: Sequence[Verdict]) -> None:
    if going:
        head = ("RUN", "STATE", "SIZE")
        rows = [(one_line(v.view.found.name), v.view.state, size(v.bytes)) for v in going]
        context.out("\n".join(table(head, rows, "SIZE")))
        context.out(f"{_runs(len(going))}, {size(sum(v.bytes for v in going))}")
    else:
        context.say(f"nothing to remove below {context.root}")
    for verdict in verdicts:
        if verdict.stays_because and verdict.stays_because.startswith(_IS_USED):
            context.say(f"kept: {one_line(verdict.view.found.name)} {verdict.stays_because}")
    held = [v for v in verdicts if v.stays_because == "has checkpoints"]
    if held:
        context.say(
            f"kept for their checkpoints: {_runs(len(held))}; --with-checkpoints removes them"
        )


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _agrees(context: Context, count: int) -> bool:
    """Whether the person at the terminal wants it.

    Raises:
        ConfigError: there is none.
    """
    if not context.stdin.isatty():
        raise ConfigError("grpo-runs prune", "there is no terminal to ask at", "say --yes")
    print(f"remove {_runs(count)}? [y/N] ", end="", file=context.stderr, flush=True)
    return context.stdin.readline().strip().lower() in ("y", "yes")


def _remove(found: find.Found) -> None:
    """Remove a run directory, so that a part of it never looks like a run.

    Raises:
        PreflightError: it cannot be removed.
    """
    going = found.directory.with_name(f"{_REMOVING}{found.directory.name}")
    try:
        found.directory.rename(going)
        shutil.rmtree(going)
        with contextlib.suppress(OSError):  # the last run of its experiment
            found.directory.parent.rmdir()
    except FileNotFoundError:
        return  # somebody else removes it
    except OSError as error:
        what = f"cannot be removed ({error.strerror})"
        raise PreflightError(str(error.filename or going), what, "check who owns it") from None


def _finish_removals(root: Path) -> None:
    """Remove what interrupted removals have left."""
    for path in root.glob(f"*/{_REMOVING}*"):
        if not path.is_symlink() and not path.parent.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _repair_latest(root: Path) -> None:
    """Point ``latest`` at the newest run that is left, or remove it where none is."""
    link = root / find.LATEST
    if not link.is_symlink() or link.exists():
        return
    left = find.runs(root)
    fresh = root / f".{find.LATEST}-{os.getpid()}"
    if left:
        fresh.symlink_to(left[-1].name)
        fresh.replace(link)
    else:
        link.unlink()
