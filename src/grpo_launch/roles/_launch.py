"""What the launching roles share: prepare, then print, or start."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace

from grpo_launch.backends import registry
from grpo_launch.backends.base import Backend
from grpo_launch.base.host import Host
from grpo_launch.config import endpoint, loops
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.errors import PreflightError, as_one
from grpo_launch.plan import LEARNER, SERVER
from grpo_launch.settle.preparation import Aim, Preparation
from grpo_launch.settle.prepare import prepare, say
from grpo_launch.settle.prepared import Prepared

PARTS = {
    "server": (SERVER,),
    "learner": (LEARNER,),
    "both": (SERVER, LEARNER),
    loops.LOOP: (SERVER, LEARNER),
    loops.ROLLOUT: (SERVER,),
    loops.UPDATE: (LEARNER,),
}
"""The roles that start something, and the processes that each starts."""


def launch(config: LaunchConfig, host: Host, parts: tuple[str, ...]) -> int:
    """Prepare a run of ``parts``; print it in a dry run, else start it.

    Warnings go to standard error.

    Raises:
        InvalidConfigError: the configuration has errors.
        LaunchError: see the subclasses in ``errors``.
    """
    backend = registry.of(config)
    aim = Aim.SHOW if config.dry_run else Aim.START
    with contextlib.ExitStack() as stack:
        ready = prepare(stack, config, host, parts, aim, backend.check)
        if ready.is_valid:
            for warning in (*ready.problems, *ready.warnings):
                say(f"warning: {warning.line}")
        if (error := ready.error) is not None:
            raise error
        assert ready.run is not None
        if SERVER in parts and (others := endpoint.elsewhere(ready.config)):
            named = ", ".join(f"{address.name} ({address.url})" for address in others)
            say(f"of other machines, not started here: {named}")
        if config.dry_run:
            plan = ready.run.plan
            shown = plan.to_json() if config.dry_run == "json" else backend.render(ready.run)
            sys.stdout.write(shown)
            return 0
        if taken := config.environment.taken:
            names = dict.fromkeys(variable.source for variable in taken)
            say(f"environment: {', '.join(names)} (compat=env)")
        return _start(ready, ready.run, backend)


def _start(ready: Preparation, run: Prepared, backend: Backend) -> int:
    from grpo_launch.runs import create, provenance, supervision
    from grpo_launch.runs.record import PRIVATE

    os.umask(PRIVATE)
    wait_for_ports(ready)
    facts = provenance.collect(ready.config, run.environ, run.cwd)
    create.create(run.plan, ready.config, facts, run.cwd, goes_on=run.goes_on)
    held = supervision.hold(run.run)
    try:
        status = backend.start(replace(run, held=(*run.held, held)))
    finally:
        os.close(held)
    if backend.CAPABILITIES.detached:
        for line in backend.describe(run):
            say(line)
    return status


def wait_for_ports(ready: Preparation) -> None:
    """Wait for ports in TIME_WAIT.

    Raises:
        PreflightError: one cannot be had all the same.
    """
    from grpo_launch.checks import preflight
    from grpo_launch.supervise import sockets

    problems: list[Problem] = []
    for port in ready.closing:
        say(f"waiting up to {sockets.TIME_WAIT_S:.0f} s for port {port.number}, still in TIME_WAIT")
        problems += preflight.wait_until_closed(port)
    errors = [PreflightError(p.where, p.what, p.fix) for p in problems]
    if errors:
        raise as_one(errors)
