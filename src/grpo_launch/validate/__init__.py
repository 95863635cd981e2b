"""Pure checks of a composed configuration: everything wrong with it, all at once."""

from __future__ import annotations

from grpo_launch.compose.config import LaunchConfig
from grpo_launch.errors import InvalidConfigError
from grpo_launch.validate.problem import Problem, Severity
from grpo_launch.validate.rules import RULES

__all__ = ["Problem", "Severity", "require_valid", "validate"]


def validate(config: LaunchConfig) -> list[Problem]:
    """Every problem of ``config``, in the order of the rules."""
    return [problem for rule in RULES for problem in rule(config)]


def require_valid(config: LaunchConfig) -> list[Problem]:
    """The warnings of ``config``.

    Raises:
        InvalidConfigError: it has errors; all of them are in the exception.
    """
    problems = validate(config)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise InvalidConfigError(str(problem) for problem in errors)
    return problems
