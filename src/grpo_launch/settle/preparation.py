"""What becomes of a configuration on its way to a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from grpo_launch.config.facts import Facts
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Outcome
from grpo_launch.errors import InvalidConfigError, LaunchError, as_one
from grpo_launch.settle.prepared import Prepared

if TYPE_CHECKING:  # what judges this machine is not loaded for a dry run
    from grpo_launch.checks.preflight import Port


class Aim(Enum):
    """What a preparation is for.

    SHOW is a dry run: this machine is not judged, ``env.file`` not read. CHECK judges
    everything, keeps nothing and waits for nothing. START locks the ports as well.
    """

    SHOW = "show"
    CHECK = "check"
    START = "start"


@dataclass(frozen=True)
class Preparation:
    """What became of a configuration.

    Attributes:
        config: with the ports, the checkpoint and the W&B name of the run.
        facts: that validation knew.
        outcomes: of the rules.
        failures: why the run cannot be started although the configuration is valid.
        warnings: of preflight and the backend.
        closing: ports in TIME_WAIT, which a launch waits for.
        run: what a backend gets; None where it could not be planned.
    """

    config: LaunchConfig
    facts: Facts
    outcomes: tuple[Outcome, ...]
    failures: tuple[LaunchError, ...] = ()
    warnings: tuple[Problem, ...] = ()
    closing: tuple[Port, ...] = ()
    run: Prepared | None = None

    @property
    def problems(self) -> list[Problem]:
        """What the rules reported."""
        return [problem for outcome in self.outcomes for problem in outcome.problems]

    @property
    def is_valid(self) -> bool:
        """Whether the rules reported no error."""
        return not any(problem.severity is Severity.ERROR for problem in self.problems)

    @property
    def error(self) -> LaunchError | None:
        """Everything that keeps the run from starting, as one error."""
        if not self.is_valid:
            errors = (p for p in self.problems if p.severity is Severity.ERROR)
            return InvalidConfigError(problem.line for problem in errors)
        return as_one(self.failures) if self.failures else None
