"""``checks.warn``: rules, and checks of this machine, whose errors are warnings."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from grpo_launch.config import kinds
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.machine_checks import MACHINE_CHECKS
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Outcome, Rule, rule
from grpo_launch.errors import ConfigError, LaunchError, one_line

_KEY = "checks.warn"


@dataclass(frozen=True)
class KnownNames:
    """Every rule and every check of this machine, whatever this configuration is about.

    Attributes:
        required: by name, why its errors cannot be warnings; empty: they can.
    """

    required: Mapping[str, str]

    @staticmethod
    def of(rules: Iterable[Rule]) -> KnownNames:
        """The names of these rules and of preflight's checks."""
        return KnownNames({each.name: each.required for each in (*rules, *MACHINE_CHECKS)})


@rule(needs=(KnownNames,), required="it is about checks.warn itself")
def checks_warn_names_rules(context: Context) -> Iterator[Problem]:
    """``checks.warn`` names rules, or checks of preflight, whose errors may be warnings."""
    config = context.config
    where, known = config.where(_KEY), context[KnownNames].required
    choices = [name for name, required in known.items() if not required]
    for name in warned(config):
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, choices, n=3)
            fix = f"take one that an error ends with, [{_KEY}: NAME]"
            fix = f"did you mean {' or '.join(near)}?" if near else fix
            yield Problem(where, f"{kinds.said(name)} is not the name of a rule", fix)
        elif why := known[name]:
            yield Problem(where, f"errors of {name} cannot be warnings: {why}", "remove it")


def warned(config: LaunchConfig) -> list[str]:
    """The names in ``checks.warn``; ``role=check`` prints them with spaces, which are taken too."""
    return [name.strip().replace(" ", "_") for name in config.checks.warn]


def named(outcome: Outcome) -> Outcome:
    """The outcome with its rule's name at its errors."""
    problems = tuple(
        dataclasses.replace(problem, rule=outcome.rule)
        if problem.severity is Severity.ERROR
        else problem
        for problem in outcome.problems
    )
    return dataclasses.replace(outcome, problems=problems)


def of_machine(config: LaunchConfig, problems: Iterable[Problem]) -> list[Problem]:
    """What preflight found, errors of the checks in ``checks.warn`` as warnings."""
    warn = warned(config)
    return [
        dataclasses.replace(problem, severity=Severity.WARNING) if problem.rule in warn else problem
        for problem in problems
    ]


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
