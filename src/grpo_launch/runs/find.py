"""The runs that there are, and which of them a word means.

A run is named ``<experiment>/<id>``, by its id alone or its beginning, or by its directory.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.errors import ConfigError
from grpo_launch.runs import reading, record

ROOT = Path("runs")
"""Where runs are recorded, below the working directory; ``run.dir`` puts one elsewhere."""

LATEST = "latest"
"""The word for the newest run, and the name of the link to it."""

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]+")
_CANDIDATES = 5


@dataclass(frozen=True)
class Found:
    """A run directory.

    Attributes:
        name: ``<experiment>/<id>``; of a run elsewhere its path.
        directory: absolute.
        order: puts runs in the order of their start.
    """

    name: str
    directory: Path
    order: tuple[str, float] = ("", 0.0)

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.directory.name


def runs(root: Path) -> list[Found]:
    """The runs below ``root``, ``<root>/<experiment>/<id>``, newest last.

    A directory is a run when it holds a record, or is named like a run.
    """
    top = Path(os.path.abspath(root))
    found = [
        Found(f"{experiment.name}/{run.name}", run, _order(run))
        for experiment in _directories(top)
        for run in _directories(experiment)
        if _ID.fullmatch(run.name) or (run / record.NAME).is_file()
    ]
    return sorted(found, key=lambda run: (run.order, run.name))


def of_experiment(experiment: str, root: Path) -> list[Path]:
    """The directories of an experiment's runs whose record can be read, newest first.

    Args:
        experiment: its name.
        root: the directory of the runs.
    """
    found = [r.directory for r in runs(root) if r.name.rpartition("/")[0] == experiment]
    return [directory for directory in reversed(found) if _is_recorded(directory)]


def latest(root: Path) -> str | None:
    """The name of the run that ``<root>/latest`` points at, or None."""
    link = root / LATEST
    try:
        target = Path(os.path.abspath(root / os.readlink(link)))
    except OSError:
        return None
    return f"{target.parent.name}/{target.name}" if target.is_dir() else None


def one(word: str, root: Path, cwd: Path) -> Found:
    """The run that a user's word means.

    Args:
        word: see :func:`meaning`, or the path of a run directory.
        root: the directory of the runs.
        cwd: what a path is relative to.

    Raises:
        ConfigError: it means none, or several.
    """
    known = runs(root)
    by_name = {run.name: run for run in known}
    path = Path(os.path.abspath(cwd / word))
    try:
        return by_name[meaning(word, list(by_name), lambda: latest(root), str(root))]
    except ConfigError:
        for run in known:
            if run.directory.resolve() == path.resolve():
                return run
        if (path / record.NAME).is_file():
            return Found(word, path, _order(path))
        raise


def meaning(
    word: str, names: Sequence[str], latest_name: Callable[[], str | None], where: str
) -> str:
    """The name that ``word`` stands for.

    Args:
        word: ``latest``, an id, the beginning of one, an experiment (its newest run),
            ``<experiment>/<id>``, or ``<experiment>/`` and the beginning of an id.
        names: of all runs, ``<experiment>/<id>``, newest last.
        latest_name: asked for what ``latest`` is.
        where: where the runs were looked for, for the message.

    Raises:
        ConfigError: it means no run, or several.
    """
    if not names:
        raise ConfigError(where, "holds no runs", "start one, or say --runs DIR")
    if word == LATEST:
        name = latest_name()
        return names[-1] if name is None or name not in names else name
    experiment, slash, beginning = word.rpartition("/")
    of_experiment = [name for name in names if name.partition("/")[0] == word]
    if of_experiment:
        return of_experiment[-1]
    same = [n for n in names if word == n or (not slash and word == n.partition("/")[2])]
    matches = same or [
        name
        for name in names
        if name.partition("/")[2].startswith(beginning)
        and beginning
        and (not slash or name.partition("/")[0] == experiment)
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(word, f"means {len(matches)} runs", f"say {_choices(matches)}")
    fix = f"choose {_choices(names)}"
    raise ConfigError(word, f"is no run below {where}", fix)


def _is_recorded(run: Path) -> bool:
    try:
        reading.read(run)
    except (OSError, ValueError):
        return False
    return True


def _choices(names: Sequence[str]) -> str:
    """The newest of ``names``, as words."""
    shown = list(reversed(names))[:_CANDIDATES]
    more = len(names) - len(shown)
    return " or ".join(shown) + (f" (and {more} older)" if more else "")


def _directories(path: Path) -> list[Path]:
    try:
        return [path / e.name for e in os.scandir(path) if e.name != LATEST and _is_visible(e)]
    except OSError:
        return []


def _is_visible(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir() and not entry.name.startswith(".")
    except OSError:
        return False


def _order(run: Path) -> tuple[str, float]:
    """When a run began: what its id says to the second, then when its plan was written."""
    written = 0.0
    for path in (run / "plan.json", run):
        try:
            written = path.stat().st_mtime
            break
        except OSError:
            continue
    if _ID.fullmatch(run.name):
        return run.name[:15], written
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(written)), written
