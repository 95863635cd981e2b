"""``checks.warn``: rules whose errors are warnings."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from grpo_launch.config import kinds
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Outcome, Rule, rule
from grpo_launch.errors import ConfigError, LaunchError, one_line

_KEY = "checks.warn"


@dataclass(frozen=True)
class KnownRules:
    """Every rule, those that are not about this configuration included."""

    rules: tuple[Rule, ...]


@rule(needs=(KnownRules,), downgradable=False)
def checks_warn_names_rules(context: Context) -> Iterator[Problem]:
    """``checks.warn`` names rules whose errors may be warnings."""
    config = context.config
    where = config.where(_KEY)
    rules = {rule.name: rule for rule in context[KnownRules].rules}
    choices = [name for name, rule in rules.items() if rule.downgradable]
    for name in warned(config):
        if name not in rules:
            import difflib

            near = difflib.get_close_matches(name, choices, n=3)
            fix = f"did you mean {' or '.join(near)}?" if near else "take one that role=check lists"
            yield Problem(where, f"{kinds.said(name)} is not the name of a rule", fix)
        elif not rules[name].downgradable:
            yield Problem(where, f"errors of {name} cannot be warnings", "remove it")


def warned(config: LaunchConfig) -> list[str]:
    """The names in ``checks.warn``; ``role=check`` prints them with spaces, which are taken too."""
    return [name.strip().replace(" ", "_") for name in config.checks.warn]


def downgrade(outcome: Outcome) -> Outcome:
    """The outcome with its errors as warnings."""
    problems = tuple(
        dataclasses.replace(problem, severity=Severity.WARNING) for problem in outcome.problems
    )
    changed = problems != outcome.problems
    return dataclasses.replace(outcome, problems=problems, downgraded=changed)


def downgraded(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """The names of the rules whose errors became warnings, for ``LaunchPlan.downgraded``."""
    return tuple(outcome.rule for outcome in outcomes if outcome.downgraded)


@contextlib.contextmanager
def blamed_on(names: Sequence[str]) -> Generator[None]:
    """Turn what planning raises into one line, where errors were taken as warnings.

    Planning relies on what the rules guarantee; without them it may fail anywhere.

    Args:
        names: of the rules that were downgraded; without any, nothing is caught.

    Raises:
        ConfigError: names them, in place of what was raised inside.
    """
    try:
        yield
    except LaunchError:
        raise
    except Exception as error:
        if not names:
            raise
        what = f"cannot plan this configuration with errors of {', '.join(names)} as warnings "
        what += one_line(f"({type(error).__name__}: {error})")
        raise ConfigError(_KEY, what, "fix these errors") from error
