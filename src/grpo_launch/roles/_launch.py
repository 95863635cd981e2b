"""What the launching roles share: validate, plan, preflight, launch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from grpo_launch import devices, facts, plan, planner, shell
from grpo_launch.compose.config import LaunchConfig
from grpo_launch.host import Host
from grpo_launch.validate import Facts, require_valid

DRY_RUN_ID = "NEW"
"""Stands for the run's id in a dry run, so that two dry runs are equal."""


def make_plan(
    config: LaunchConfig, host: Host, parts: Sequence[str], run_id: str
) -> plan.LaunchPlan:
    """Validate and plan; warnings go to standard error.

    Raises:
        InvalidConfigError: the configuration has errors.
    """
    known = facts.gather(config, host)
    for warning in require_valid(config, known):
        print(f"warning: {warning}", file=sys.stderr)
    return plan_of(config, host, known, parts, run_id)


def plan_of(
    config: LaunchConfig, host: Host, known: Facts, parts: Sequence[str], run_id: str
) -> plan.LaunchPlan:
    """The plan of a valid configuration.

    Raises:
        PreflightError: the machine has too few devices.
        ConfigError: see ``planner.build``.
    """
    split = known.devices or devices.assign(config, host.visible_devices())
    run_dir = config.run.dir or f"runs/{config.experiment}/{run_id}"
    return planner.build(config, split, parts, run_dir, host.cwd)


def launch(config: LaunchConfig, host: Host, parts: Sequence[str]) -> int:
    """Plan ``parts``; print the plan in a dry run, else execute it.

    Raises:
        LaunchError: see the subclasses in ``errors``.
    """
    planned = make_plan(config, host, parts, DRY_RUN_ID if config.dry_run else host.run_id())
    if config.dry_run:
        text = planned.to_json() if config.dry_run == "json" else shell.render(planned)
        sys.stdout.write(text)
        return 0
    return _execute(config, host, planned)


def _execute(config: LaunchConfig, host: Host, planned: plan.LaunchPlan) -> int:
    import contextlib

    from grpo_launch import preflight
    from grpo_launch.launch import foreground, locks
    from grpo_launch.runs import create, provenance
    from grpo_launch.runs.record import PRIVATE

    os.umask(PRIVATE)
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(locks.hold(preflight.ports(config, planned), planned.run_dir))
        if config.preflight:
            preflight.check(config, planned, host.environ, host.cwd, _say)
        record = create.create(planned, config, provenance.collect(config, host.cwd), host.cwd)
        return foreground.execute(record.directory, host.environ, held, replace=not host.sweeping)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
