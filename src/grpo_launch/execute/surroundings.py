"""What the attempts of a run share."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.errors import one_line
from grpo_launch.execute.console import Console
from grpo_launch.plan import LaunchPlan
from grpo_launch.runs.record import RunRecord
from grpo_launch.supervise import events
from grpo_launch.supervise.process import RunPaths


@dataclass(frozen=True)
class Surroundings:
    """What the attempts of a run share.

    Attributes:
        plan: what to start.
        record: of the run.
        console: what the person sees.
        environ: the caller's environment, for the processes.
        cwd: what relative paths of the plan are relative to.
        signals: that ask for an end.
        paths: of the run, for its guards.
    """

    plan: LaunchPlan
    record: RunRecord
    console: Console
    environ: Mapping[str, str]
    cwd: Path
    signals: events.Signals
    paths: RunPaths

    @contextlib.contextmanager
    def noting(self) -> Generator[None]:
        """A record that cannot be written (full disk, deleted directory) must not stop a run."""
        try:
            yield
        except (OSError, ValueError) as error:  # the latter: a word that is no UTF-8
            why = error.strerror if isinstance(error, OSError) else one_line(str(error))
            self.console.say(f"warning: {self.record.directory}: cannot be written ({why})")
