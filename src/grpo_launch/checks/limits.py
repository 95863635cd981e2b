"""Deadlines, intervals and budgets of the launcher itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule

_ABOVE_ZERO = ("health.timeout_s", "shutdown.kill_s")
_FROM_ZERO = (
    "shutdown.term_s",
    "restart.backoff_s",
    "restart.max_backoff_s",
    "watchdog.health_s",
    "watchdog.probe_s",
    "watchdog.stall_s",
)


@rule
def time_limits_are_valid(context: Context) -> list[Problem]:
    """Seconds are finite and not negative; what must end somehow is above 0."""
    config = context.config
    problems: list[Problem] = []
    for key in (*_ABOVE_ZERO, *_FROM_ZERO):
        node, _, name = key.partition(".")
        seconds: float = getattr(getattr(config, node), name)
        if math.isfinite(seconds) and (seconds > 0 or (seconds == 0 and key in _FROM_ZERO)):
            continue
        fix = "use 0 or a positive number" if key in _FROM_ZERO else "use a positive number"
        problems.append(Problem(config.where(key), f"{seconds} s is not a time limit", fix))
    return problems


@rule
def restart_budget_is_not_negative(context: Context) -> list[Problem]:
    """``restart.budget`` is a number of restarts."""
    config = context.config
    if config.restart.budget >= 0:
        return []
    what = f"{config.restart.budget} is not a number of restarts"
    return [Problem(config.where("restart.budget"), what, "use 0 or more")]


LIMIT_RULES: Sequence[Rule] = (time_limits_are_valid, restart_budget_is_not_negative)
