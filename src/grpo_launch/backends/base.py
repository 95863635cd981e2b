"""What a backend is: a module with five functions and its capabilities (docs/adr/0021).

A backend gets a run that is planned and judged, and has it executed by the supervisor
(``supervisor.py``), here or elsewhere. ``grpo_launch.testing.backends.BackendSuite`` holds
each backend to this contract.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:  # grpo-runs composes nothing
    from grpo_launch.config.problem import Problem
    from grpo_launch.settle.prepared import Prepared


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do, as data.

    Attributes:
        detached: whether ``start`` returns while the run goes on.
        hosts: whether the processes of a run may be on several machines.
        requeue: whether it starts a run again by itself, after its machine was lost.
    """

    detached: bool
    hosts: Literal["one", "many"] = "one"
    requeue: bool = False


class Backend(Protocol):
    """Who executes a run, and where; a module is one."""

    @property
    def CAPABILITIES(self) -> Capabilities:  # noqa: N802 (a constant of a module)
        """What it can do."""
        ...

    def check(self, prepared: Prepared, /) -> Iterable[Problem]:
        """What keeps the backend from starting this run now; nothing of it exists yet.

        Called by ``role=check`` too: it writes nothing and waits for nothing.

        Raises:
            ConfigError: a setting of the backend is wrong.
        """
        ...

    def render(self, prepared: Prepared, /) -> str:
        """What a dry run prints: the plan, and how it would be started; touches nothing."""
        ...

    def start(self, prepared: Prepared, /) -> int:
        """Start a run whose directory is made.

        Standard output is for what a script needs of a run in the background.

        Returns:
            The exit status: of the run where it is executed here, else 0 once its
            supervisor has taken over.

        Raises:
            LaunchError: the run failed, or could not be started.
        """
        ...

    def describe(self, prepared: Prepared, /) -> Iterable[str]:
        """Lines for the user, once it is started: how to follow and how to stop the run."""
        ...

    def cancel(self, run: Path, /) -> bool:
        """Ask for the end of a run, in order; does not wait.

        Args:
            run: the run directory, absolute.

        Returns:
            Whether there was anybody to ask.
        """
        ...
