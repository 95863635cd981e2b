"""What the launching roles share: validate, plan, preflight, launch."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, cast

from grpo_launch import plan
from grpo_launch.base import redaction
from grpo_launch.base.host import Host
from grpo_launch.checks import gather, rules
from grpo_launch.checks.examine import Facts, require_valid
from grpo_launch.config import schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError
from grpo_launch.planning import devices, planner, shell
from grpo_launch.settle import env_file
from grpo_launch.tracking import variables

_CLEARLY_SECRET = 16
"""Characters from which on a secret is looked for inside other text, too."""

DRY_RUN_ID = "NEW"
"""Stands for the run's id in a dry run, so that two dry runs are equal."""


def plan_of(
    config: LaunchConfig, host: Host, known: Facts, parts: Sequence[str], run_id: str
) -> plan.LaunchPlan:
    """The plan of a valid configuration.

    Raises:
        PreflightError: the machine has too few devices.
        ConfigError: see ``planner.build``.
    """
    split = known.devices or devices.assign(config, host.visible_devices())
    return planner.build(config, split, parts, run_directory(config, run_id), host.cwd, run_id)


def run_directory(config: LaunchConfig, run_id: str) -> str:
    """Where a run is recorded, absolute or relative to the working directory."""
    return config.run.dir or f"runs/{config.experiment}/{run_id}"


def launch(config: LaunchConfig, host: Host, parts: tuple[str, ...]) -> int:
    """Validate and plan ``parts``; print the plan in a dry run, else start it.

    Warnings go to standard error.

    Raises:
        InvalidConfigError: the configuration has errors.
        LaunchError: see the subclasses in ``errors``.
    """
    run_id = DRY_RUN_ID if config.dry_run else host.run_id()
    refuse_recorded_secrets(config, host)
    if not config.dry_run:
        host = env_file.filled(config, host, say)
        refuse_recorded_secrets(config, host)
    config = variables.with_name_of(config, host.environ)
    with contextlib.ExitStack() as stack:
        known = gather.gather(config, host)
        config, held = with_ports(stack, config, known, parts, run_id)
        for warning in require_valid(config, known):
            say(f"warning: {warning}")
        if config.environment.taken and not config.dry_run:
            names = dict.fromkeys(taken.source for taken in config.environment.taken)
            say(f"environment: {', '.join(names)} (compat=env)")
        config = with_checkpoint(config, host, parts, run_id)
        planned = plan_of(config, host, known, parts, run_id)
        if config.dry_run:
            text = planned.to_json() if config.dry_run == "json" else shell.render(planned)
            sys.stdout.write(text)
            return 0
        return _start(stack, config, host, planned, held)


def refuse_recorded_secrets(config: LaunchConfig, host: Host) -> None:
    """Refuse a configuration that repeats a secret of the environment: it would be recorded.

    A rule refuses names that look secret; this is for values, ``env.set.X=${oc.env:HF_TOKEN}``.

    Raises:
        ConfigError: names the variable, not its value.
    """
    if rules.no_secrets(config):
        return  # validation says so, and where
    said = [item.partition("=")[2] for item in config.overrides]
    texts = {*_texts([config.as_dict(), said])}
    everything = "\0".join(texts)
    for name, value in host.environ.items():
        # A short one may be an ordinary word: it counts where it is the whole value.
        if any(
            secret in (everything if len(secret) >= _CLEARLY_SECRET else texts)
            for secret in redaction.secrets({name: value})
        ):
            what = f"repeats the value of {name}, which would be recorded"
            fix = "leave it to the environment, the processes get it from there"
            raise ConfigError("configuration", what, fix)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _texts([*cast("dict[Any, Any]", value).values()])
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            yield from _texts(item)
    else:
        yield str(value)


def with_ports(
    stack: contextlib.ExitStack,
    config: LaunchConfig,
    known: Facts,
    parts: tuple[str, ...],
    run_id: str,
) -> tuple[LaunchConfig, tuple[int, ...]]:
    """Choose what ``ports=auto`` leaves open.

    Args:
        stack: holds the ports until its end, unless nothing is to be started.
        config: as composed.
        known: about the configuration.
        parts: the processes to start.
        run_id: of the run; that of a dry run where nothing is to be started.

    Returns:
        The configuration with its ports, and descriptors of the locks on them.

    Raises:
        LaunchError: see ``launch.ports``.
    """
    if config.ports is schema.PortPolicy.fixed:
        return config, ()
    from grpo_launch.settle import ports

    processes = len(known.devices.learner) if known.devices else 1
    run_dir, hold = run_directory(config, run_id), run_id != DRY_RUN_ID
    got = stack.enter_context(ports.chosen(config, parts, processes, run_dir, hold=hold))
    if got.held:
        say(f"ports: {got.said()}")
        if parts == (plan.SERVER,):
            say(f"its learner: {ports.for_the_learner(got.config)}")
    return got.config, got.held


def with_checkpoint(
    config: LaunchConfig, host: Host, parts: tuple[str, ...], run_id: str
) -> LaunchConfig:
    """Find what ``resume`` means.

    Raises:
        LaunchError: see ``launch.continuation``.
    """
    if config.resume is None and planner.is_versioned(config):
        return config
    from grpo_launch.settle import continuation

    return continuation.settled(config, host.cwd, host.environ, run_id, parts, say)


def say(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr, flush=True)


def _start(
    stack: contextlib.ExitStack,
    config: LaunchConfig,
    host: Host,
    planned: plan.LaunchPlan,
    held: tuple[int, ...],
) -> int:
    from grpo_launch.backends import start
    from grpo_launch.backends.prepared import Prepared
    from grpo_launch.checks import preflight
    from grpo_launch.runs import create, find, provenance
    from grpo_launch.runs.record import PRIVATE
    from grpo_launch.settle import locks

    os.umask(PRIVATE)
    if config.ports is schema.PortPolicy.fixed:
        ports = preflight.ports(config, planned)
        wanted = [(port, config.where(key), choose) for port, key, choose in ports]
        held = tuple(stack.enter_context(locks.hold(wanted, planned.run_dir)))
    prepared = Prepared(
        plan=planned,
        run=host.cwd / planned.run_dir,
        name=find.name(planned.run_dir),
        environ=host.environ,
        cwd=host.cwd,
        held=held,
        tag=config.experiment if config.launch.tag is None else config.launch.tag,
        now=host.now,
        sweeping=host.sweeping,
    )
    start.check(config.launch.backend, prepared)
    if config.preflight:
        preflight.check(config, planned, host.environ, host.cwd, say)
    create.create(planned, config, provenance.collect(config, host.cwd), host.cwd)
    return start.start(config.launch.backend, prepared)
