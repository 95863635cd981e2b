"""Runs by the names that people give them.

A run is named ``<experiment>/<id>``, by its id alone, or by its directory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grpo_launch.runs import record

ROOT = Path("runs")
"""Where runs are recorded, below the working directory; ``run.dir`` puts one elsewhere."""


def name(run_dir: str) -> str:
    """The name of the run that a plan records in ``run_dir``."""
    path = Path(run_dir)
    usual = len(path.parts) == 3 and path.parts[0] == str(ROOT)
    return "/".join(path.parts[1:]) if usual else run_dir


def of_experiment(cwd: Path, experiment: str) -> list[Path]:
    """The run directories of an experiment in the usual place, newest first.

    Args:
        cwd: the working directory.
        experiment: its name.
    """
    started: list[tuple[float, str, Path]] = []
    for directory in _directories(cwd / ROOT / experiment):
        try:
            began = float(record.read(directory)["started"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        started.append((began, directory.name, directory))
    return [directory for *_, directory in sorted(started, reverse=True)]


def named(cwd: Path, said: str) -> Path | None:
    """The directory of the run that ``said`` names, or None."""
    ids = list((cwd / ROOT).glob(f"*/{said}")) if _is_plain(said) else []
    for directory in (cwd / said, cwd / ROOT / said, *ids):
        if (directory / record.NAME).is_file():
            return directory.resolve()
    return None


def output_dir(run: Path) -> Path:
    """Where the learner of a run writes, absolute.

    Args:
        run: the run directory, absolute; it may have been moved since.
    """
    usual = run / "output"
    try:
        plan: dict[str, Any] = json.loads((run / "plan.json").read_text(encoding="utf-8"))
        said, cwd = Path(plan["output_dir"]), Path(plan["processes"][0]["cwd"])
        inside = Path(plan["run_dir"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return usual
    if said.is_relative_to(inside):
        return run / said.relative_to(inside)
    return cwd / said


def _directories(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from (path for path in root.iterdir() if (path / record.NAME).is_file())


def _is_plain(said: str) -> bool:
    """Whether ``said`` is an id, which has no character that means something in a pattern."""
    return bool(said) and all(c.isalnum() or c in "-_." for c in said) and said not in (".", "..")
