"""Pure checks of a composed configuration: everything wrong with it, all at once."""

from __future__ import annotations

from grpo_launch.compose.config import LaunchConfig
from grpo_launch.errors import InvalidConfigError
from grpo_launch.flags import EngineFlags, snapshot
from grpo_launch.validate.engine_flags import engine_problems
from grpo_launch.validate.problem import Problem, Severity
from grpo_launch.validate.rules import RULES

__all__ = ["Problem", "Severity", "require_valid", "validate"]


def validate(config: LaunchConfig, flags: EngineFlags | None = None) -> list[Problem]:
    """Every problem of ``config``, in the order of the rules, none said twice.

    Args:
        config: a composed configuration.
        flags: what the engine's programs take; unset: the pinned version's.
    """
    problems = [problem for rule in RULES for problem in rule(config)]
    problems += engine_problems(config, snapshot() if flags is None else flags)
    return list(dict.fromkeys(problems))


def require_valid(config: LaunchConfig, flags: EngineFlags | None = None) -> list[Problem]:
    """The warnings of ``config``.

    Args:
        config: a composed configuration.
        flags: see :func:`validate`.

    Raises:
        InvalidConfigError: it has errors; all of them are in the exception.
    """
    problems = validate(config, flags)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise InvalidConfigError(str(problem) for problem in errors)
    return problems
