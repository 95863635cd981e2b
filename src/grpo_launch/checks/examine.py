"""Pure checks of a composed configuration: everything wrong with it, all at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from grpo_launch.checks import environment
from grpo_launch.checks.engine_flags import ENGINE_RULES
from grpo_launch.checks.environment import ENVIRONMENT_RULES
from grpo_launch.checks.facts import Facts
from grpo_launch.checks.limits import LIMIT_RULES
from grpo_launch.checks.ports import PORT_RULES
from grpo_launch.checks.rules import RULES
from grpo_launch.checks.structure import STRUCTURE_RULES, unread, unread_plan, unread_section
from grpo_launch.config import schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.engines.swift import memory
from grpo_launch.engines.swift.memory import MEMORY_RULES
from grpo_launch.errors import InvalidConfigError
from grpo_launch.learners.swift import grpo, gym
from grpo_launch.learners.swift.episodes import Episodes, GymFacts
from grpo_launch.learners.swift.grpo import GRPO_RULES
from grpo_launch.tracking.rules import TRACKING_RULES

__all__ = [
    "Episodes",
    "Facts",
    "GymFacts",
    "Outcome",
    "Problem",
    "Severity",
    "examine",
    "require_valid",
    "validate",
]


_SAID = "what it finds follows from a problem that is reported already"


@dataclass(frozen=True)
class Outcome:
    """What one rule found.

    Attributes:
        rule: the rule's name in words.
        problems: what it found; empty where it passed or was skipped.
        skipped: why it could not judge everything that it is about, or None.
    """

    rule: str
    problems: tuple[Problem, ...]
    skipped: str | None = None


def examine(config: LaunchConfig, facts: Facts | None = None) -> list[Outcome]:
    """The outcome of every rule, in order; a problem that two rules find is said once.

    What follows from a problem of structure (a section that is a list, a key that could
    not be read) is not reported beside it.
    """
    structure = [(rule, rule(config), None) for rule in STRUCTURE_RULES]
    broken = unread(config, [problem for _, found, _ in structure for problem in found])
    others = _judged(config, Facts() if facts is None else facts)
    seen: set[Problem] = set()
    outcomes: list[Outcome] = []
    for rule, found, missing in itertools.chain(structure, others):
        own = rule in STRUCTURE_RULES
        fresh = [p for p in dict.fromkeys(found) if p not in seen and (own or not p.below(broken))]
        seen.update(fresh)
        skipped = missing or (_SAID if len(fresh) < len(found) else None)
        outcomes.append(Outcome(rule.__name__.replace("_", " "), tuple(fresh), skipped))
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


_Judged = tuple[Callable[..., list[Problem]], list[Problem], str | None]
"""A rule, what it found, and what it would have had to know besides."""


def _judged(config: LaunchConfig, facts: Facts) -> Iterator[_Judged]:
    for rule in (*RULES, *LIMIT_RULES, *PORT_RULES, *TRACKING_RULES):
        yield rule, rule(config), None
    if config.compat is schema.Compat.env:
        for rule in ENVIRONMENT_RULES:
            missing = environment.lacks(rule, config, facts.world_size)
            yield rule, rule(config, facts.world_size), missing
    for rule in ENGINE_RULES:
        yield rule, rule(config, facts.flags), None
    no_section, no_plan = unread_section(config), unread_plan(config)
    for rule in GRPO_RULES:
        if unknown := no_section or (no_plan if rule not in grpo.OF_REWARDS else None):
            yield rule, [], unknown
        else:
            yield rule, rule(config, facts.world_size), grpo.lacks(rule, facts.world_size)
    played = None if no_section else Episodes.of(config)
    if played is not None:
        for rule in gym.GYM_RULES:
            yield rule, rule(config, played, facts.gym), gym.lacks(rule, played, facts.gym)
    for rule in MEMORY_RULES:
        if no_section:
            yield rule, [], no_section
        else:
            known = (config, facts.shape, facts.gpu_memory_gib)
            yield rule, rule(*known), memory.lacks(rule, *known)
