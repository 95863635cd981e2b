"""``role=check``: validate and preflight, summarise the plan; start nothing, leave nothing."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from grpo_launch import plan
from grpo_launch.base.host import Host
from grpo_launch.checks import gather, preflight, report
from grpo_launch.checks.examine import Facts, Severity, examine
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.schema import OutputFormat
from grpo_launch.errors import InvalidConfigError, LaunchError
from grpo_launch.roles._launch import (
    DRY_RUN_ID,
    plan_of,
    refuse_recorded_secrets,
    say,
    with_checkpoint,
    with_ports,
)
from grpo_launch.settle import env_file

_BOTH = (plan.SERVER, plan.LEARNER)


def run(config: LaunchConfig, host: Host) -> int:
    """Check; returns 0 when a launch could start now.

    With ``output=json`` everything is on standard output, and the status is that of
    the failure.

    Raises:
        InvalidConfigError: the configuration has errors.
        PreflightError: this machine cannot run it now, or has no free port.
    """
    refuse_recorded_secrets(config, host)
    known = gather.gather(config, host)
    with contextlib.ExitStack() as stack:
        return _run(with_ports(stack, config, known, _BOTH, DRY_RUN_ID)[0], host, known)


def _run(config: LaunchConfig, host: Host, known: Facts) -> int:
    outcomes = examine(config, known)
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    wrong = any(problem.severity is Severity.ERROR for problem in problems)
    failure: LaunchError | None
    if wrong:
        failure = InvalidConfigError(str(p) for p in problems if p.severity is Severity.ERROR)
    else:
        config, failure = _preflight(config, host, known)
    checked = config.preflight and not wrong
    unchecked = gather.unchecked(config) if checked else []
    body: dict[str, Any] = {
        "experiment": config.experiment,
        "status": failure.status if failure else 0,
        "passed": [o.rule for o in outcomes if not o.problems and o.skipped is None],
        "skipped": [{"rule": o.rule, "missing": o.skipped} for o in outcomes if o.skipped],
        "problems": [report.of_problem(problem) for problem in problems],
        "shadowed": report.shadowed(config),
        "preflight": None if wrong or failure is None else str(failure),
        "unchecked": [report.of_problem(problem) for problem in unchecked],
        "environment": report.environment(config),
        "summary": report.summary(config, known) if not wrong else None,
    }
    if config.output is OutputFormat.json:
        sys.stdout.write(json.dumps(body, indent=2, ensure_ascii=False, default=str) + "\n")
        return body["status"]
    warnings = [problem for problem in problems if problem.severity is Severity.WARNING]
    for problem in (*warnings, *unchecked):
        print(f"warning: {problem}", file=sys.stderr)
    sys.stdout.write(report.text(body, checked=checked))
    if failure:
        raise failure
    return 0


def _preflight(
    config: LaunchConfig, host: Host, known: Facts
) -> tuple[LaunchConfig, LaunchError | None]:
    """What would keep a launch of both halves from starting now, and from which checkpoint."""
    try:
        config = with_checkpoint(config, host, _BOTH, DRY_RUN_ID)
        planned = plan_of(config, host, known, _BOTH, DRY_RUN_ID)
        if config.preflight:
            host = env_file.filled(config, host, say)
            refuse_recorded_secrets(config, host)
            preflight.check(config, planned, host.environ, host.cwd)
    except LaunchError as error:
        return config, error
    return config, None
