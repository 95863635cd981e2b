"""Pure checks of a composed configuration: everything wrong with it, all at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from grpo_launch.checks.downgrade import (
    KnownNames,
    checks_warn_names_rules,
    downgrade,
    named,
    warned,
)
from grpo_launch.checks.environment import ENVIRONMENT_RULES
from grpo_launch.checks.ids import ID_RULES
from grpo_launch.checks.jobs import JOB_RULES
from grpo_launch.checks.limits import LIMIT_RULES
from grpo_launch.checks.loops import LOOP_RULES
from grpo_launch.checks.plugins import PAIR_RULES, plugin_rules, shipped_facts
from grpo_launch.checks.ports import PORT_RULES
from grpo_launch.checks.servers import SERVER_RULES
from grpo_launch.checks.services import SERVICE_RULES
from grpo_launch.checks.settings import SETTINGS_RULES
from grpo_launch.checks.structure import STRUCTURE_RULES, unread
from grpo_launch.checks.urls import URL_RULES
from grpo_launch.config.facts import Facts
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Outcome, Rule
from grpo_launch.errors import InvalidConfigError
from grpo_launch.tracking.rules import TRACKING_RULES

__all__ = ["Outcome", "Problem", "Severity", "all_rules", "examine", "require_valid", "validate"]

_FIRST = (*STRUCTURE_RULES, checks_warn_names_rules)
_GENERIC = (
    *URL_RULES,
    *SERVER_RULES,
    *SERVICE_RULES,
    *ID_RULES,
    *SETTINGS_RULES,
    *LIMIT_RULES,
    *PORT_RULES,
    *TRACKING_RULES,
    *ENVIRONMENT_RULES,
    *JOB_RULES,
    *LOOP_RULES,
)
_HIDDEN = "what it finds follows from a problem that is reported already"


def all_rules(config: LaunchConfig) -> tuple[Rule, ...]:
    """Every rule, in the order in which findings are reported."""
    return (*_FIRST, *_GENERIC, *PAIR_RULES, *plugin_rules(config))


def examine(config: LaunchConfig, facts: Facts | None = None) -> list[Outcome]:
    """The outcome of every rule, in order; a problem that two rules find is reported once.

    What follows from a problem of structure (a section that is a list, a key that could
    not be read) is not reported beside it. Errors of rules in ``checks.warn`` are warnings.

    Args:
        config: the configuration.
        facts: what is known besides; flags that are missing are those of the shipped version.
    """
    rules = all_rules(config)
    known = shipped_facts(config).updated(facts or Facts()).updated(Facts.of(KnownNames.of(rules)))
    context = Context.of(config, known)
    made = [(rule, rule.check(context)) for rule in rules if rule.when(config)]
    broken = unread(config, [p for rule, o in made if rule in STRUCTURE_RULES for p in o.problems])
    warn = warned(config)
    foreign = any(() in mistake.unread for mistake in config.mistakes)
    settled = [p for rule, o in made if rule.settles or rule in STRUCTURE_RULES for p in o.problems]
    lost = any(p.meant in config.sections for p in settled)  # what the section says is not known
    seen: set[Problem] = set()
    outcomes: list[Outcome] = []
    for rule, outcome in made:
        if rule.downgradable:
            outcome = named(outcome)
            outcome = downgrade(outcome) if rule.name in warn else outcome
        hidden = () if rule in STRUCTURE_RULES else broken
        fresh = [
            p for p in dict.fromkeys(outcome.problems) if p not in seen and not p.below(hidden)
        ]
        if foreign and rule is not STRUCTURE_RULES[0]:
            fresh = []  # written for another program: nothing else of it means anything
        elif rule.downgradable and not (rule.settles or rule in STRUCTURE_RULES):
            fresh = [p for p in fresh if not lost and not any(map(p.follows_from, settled))]
        seen.update(fresh)
        skipped = outcome.skipped or (_HIDDEN if len(fresh) < len(outcome.problems) else None)
        changes = {"problems": tuple(fresh), "skipped": skipped}
        outcomes.append(dataclasses.replace(outcome, **changes))
    return outcomes


def validate(config: LaunchConfig, facts: Facts | None = None) -> list[Problem]:
    """Every problem of ``config``, in the order of the rules, none twice."""
    return [problem for outcome in examine(config, facts) for problem in outcome.problems]


def require_valid(config: LaunchConfig, facts: Facts | None = None) -> list[Problem]:
    """The warnings of ``config``.

    Raises:
        InvalidConfigError: it has errors; all of them are in the exception.
    """
    return require_no_errors(examine(config, facts))


def require_no_errors(outcomes: Iterable[Outcome]) -> list[Problem]:
    """The warnings among these outcomes.

    Raises:
        InvalidConfigError: there are errors; all of them are in the exception.
    """
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise InvalidConfigError(problem.line for problem in errors)
    return problems
