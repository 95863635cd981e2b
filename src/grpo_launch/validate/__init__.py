"""Pure checks of a composed configuration: everything wrong with it, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from grpo_launch.compose.config import LaunchConfig
from grpo_launch.errors import InvalidConfigError
from grpo_launch.validate.engine_flags import ENGINE_RULES
from grpo_launch.validate.facts import Facts
from grpo_launch.validate.grpo import GRPO_RULES
from grpo_launch.validate.memory import MEMORY_RULES
from grpo_launch.validate.ports import PORT_RULES
from grpo_launch.validate.problem import Problem, Severity
from grpo_launch.validate.rules import RULES

__all__ = ["Facts", "Outcome", "Problem", "Severity", "examine", "require_valid", "validate"]


@dataclass(frozen=True)
class Outcome:
    """What one rule found.

    Attributes:
        rule: the rule's name in words.
        problems: what it found; empty where it passed.
    """

    rule: str
    problems: tuple[Problem, ...]


def examine(config: LaunchConfig, facts: Facts | None = None) -> list[Outcome]:
    """The outcome of every rule, in order; a problem that two rules find is said once."""
    seen: set[Problem] = set()
    outcomes: list[Outcome] = []
    for rule, found in _run(config, Facts() if facts is None else facts):
        fresh = tuple(problem for problem in dict.fromkeys(found) if problem not in seen)
        seen.update(fresh)
        outcomes.append(Outcome(rule.__name__.replace("_", " "), fresh))
    return outcomes


def validate(config: LaunchConfig, facts: Facts | None = None) -> list[Problem]:
    """Every problem of ``config``, in the order of the rules, none said twice."""
    return [problem for outcome in examine(config, facts) for problem in outcome.problems]


def require_valid(config: LaunchConfig, facts: Facts | None = None) -> list[Problem]:
    """The warnings of ``config``.

    Raises:
        InvalidConfigError: it has errors; all of them are in the exception.
    """
    problems = validate(config, facts)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise InvalidConfigError(str(problem) for problem in errors)
    return problems


def _run(
    config: LaunchConfig, facts: Facts
) -> Iterator[tuple[Callable[..., list[Problem]], list[Problem]]]:
    for rule in (*RULES, *PORT_RULES):
        yield rule, rule(config)
    for rule in ENGINE_RULES:
        yield rule, rule(config, facts.flags)
    for rule in GRPO_RULES:
        yield rule, rule(config, facts.world_size)
    for rule in MEMORY_RULES:
        yield rule, rule(config, facts.shape, facts.gpu_memory_gib)
