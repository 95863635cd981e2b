"""A run that is planned and judged: what a backend gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.plan import LaunchPlan


@dataclass(frozen=True)
class Prepared:
    """A run that only has to be started; its directory is made before that.

    Attributes:
        plan: what is to be started.
        run: the run directory, absolute.
        name: what ``grpo-runs`` takes: ``<experiment>/<id>``, or the directory where
            the run is recorded elsewhere.
        environ: the caller's environment, with the variables of ``env.file``.
        cwd: the working directory.
        held: descriptors of port locks and of the run directory, for the supervisor to keep.
        tag: stands in the names of ``launch=nohup``.
        now: seconds since the epoch.
        sweeping: whether this process has more to do after the run (``--multirun``).
        goes_on: whether its directory is that of a loop that goes on.
    """

    plan: LaunchPlan
    run: Path
    name: str
    environ: Mapping[str, str]
    cwd: Path
    held: tuple[int, ...]
    tag: str
    now: float
    sweeping: bool
    goes_on: bool = False
