"""Deadlines, intervals and budgets of the launcher itself."""

from __future__ import annotations

import math

from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem

_ABOVE_ZERO = ("health.timeout_s", "shutdown.kill_s")
_FROM_ZERO = (
    "shutdown.term_s",
    "restart.backoff_s",
    "restart.max_backoff_s",
    "watchdog.health_s",
    "watchdog.probe_s",
    "watchdog.stall_s",
)


def deadlines(config: LaunchConfig) -> list[Problem]:
    """Seconds are finite and not negative; what must end somehow is above 0."""
    problems: list[Problem] = []
    for key in (*_ABOVE_ZERO, *_FROM_ZERO):
        node, _, name = key.partition(".")
        seconds: float = getattr(getattr(config, node), name)
        if math.isfinite(seconds) and (seconds > 0 or (seconds == 0 and key in _FROM_ZERO)):
            continue
        fix = "use 0 or a positive number" if key in _FROM_ZERO else "use a positive number"
        problems.append(Problem(config.where(key), f"{seconds} s is no deadline", fix))
    return problems


def restart_budget(config: LaunchConfig) -> list[Problem]:
    """``restart.budget`` is a number of restarts."""
    if config.restart.budget >= 0:
        return []
    what = f"{config.restart.budget} is no number of restarts"
    return [Problem(config.where("restart.budget"), what, "use 0 or more")]


LIMIT_RULES = (deadlines, restart_budget)
