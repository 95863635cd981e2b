"""From a configuration to a run that only has to be started, or to all that is in its way.

A dry run, ``role=check`` and a launch all come through here, so that what a check judges is
what a launch runs (docs/adr/0020).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath

from grpo_launch.base import occupied
from grpo_launch.base.host import Host
from grpo_launch.checks import gather
from grpo_launch.checks.downgrade import blamed_on, downgraded, of_machine
from grpo_launch.checks.examine import examine
from grpo_launch.config import loops, schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.errors import LaunchError, PreflightError
from grpo_launch.learners.base import learner
from grpo_launch.plan import SERVER, LaunchPlan
from grpo_launch.planning import devices, loop, planner
from grpo_launch.planning.listening import Port, ports
from grpo_launch.settle import env_file, secrets
from grpo_launch.settle.ports import Chosen, chosen, for_the_learner, with_movable_ports
from grpo_launch.settle.preparation import Aim, Preparation
from grpo_launch.settle.prepared import Prepared
from grpo_launch.tracking import variables

_ROOT = "runs"
"""Below the working directory; ``runs/find.py`` looks there."""

DRY_RUN_ID = "NEW"
"""Stands for the run's id where nothing is started, so that two dry runs are equal."""


def prepare(
    stack: contextlib.ExitStack,
    config: LaunchConfig,
    host: Host,
    parts: tuple[str, ...],
    aim: Aim,
    check: Callable[[Prepared], Iterable[Problem]],
) -> Preparation:
    """Resolve, validate, plan and judge ``config``.

    Args:
        stack: holds the port locks until its end.
        config: as composed.
        host: the caller's surroundings.
        parts: the processes to start, of ``server`` and ``learner``.
        aim: what for.
        check: of the backend; what keeps it from starting the run.

    Raises:
        ConfigError: the configuration repeats a secret.
    """
    run_id = host.run_id() if aim is Aim.START else DRY_RUN_ID
    secrets.refuse_recorded(config, host)
    unread: tuple[LaunchError, ...] = ()
    earlier, taken = None, tuple[int, ...]()
    if loops.is_loop(config):
        from grpo_launch.settle import going_on

        earlier = going_on.directory(config, host.cwd) if aim is Aim.START else None
        config = going_on.in_directory(config, earlier)
        if earlier is not None:
            taken = (going_on.taken(earlier, config, say),)
            stack.callback(os.close, *taken)
        run_id = earlier.name if earlier else run_id  # one W&B run, however often it goes on
    if aim is not Aim.SHOW:
        try:
            host = env_file.filled(config, host, say)
        except LaunchError as error:
            unread = (error,)
        secrets.refuse_recorded(config, host)
    config = variables.with_name_of(config, host.environ)
    config = gather.placed(config, host)
    facts = gather.gather(config, host, say)
    choice = Chosen(config)
    unresolved: tuple[LaunchError, ...] = ()
    try:
        choice = _with_ports(stack, config, host, parts, run_id, aim)
        config = choice.config
    except LaunchError as error:
        unresolved = (error,)
    made = Preparation(config, facts, tuple(examine(config, facts)), (*unread, *unresolved))
    if unresolved or not made.is_valid:
        return made
    try:
        with blamed_on(names := downgraded(made.outcomes)):
            config = _with_checkpoint(config, host, parts, run_id)
            choice = replace(choice, config=config)
            split = facts.get(devices.Devices) or devices.assign(config, host.visible_devices())
            directory = run_directory(config, run_id)

            def planned(ports: Chosen) -> LaunchPlan:
                if loops.is_loop(ports.config):
                    return loop.build(
                        ports.config, split, directory, host.cwd, run_id, names, ports.own
                    )
                return planner.build(
                    ports.config, split, parts, directory, host.cwd, run_id, names, ports.own
                )

            plan = with_movable_ports(planned, choice)
    except LaunchError as error:
        return replace(made, failures=(*unread, error))
    run = Prepared(
        plan=plan,
        run=host.cwd / plan.run_dir,
        name=run_name(plan.run_dir),
        environ=host.environ,
        cwd=host.cwd,
        held=(*choice.held, *taken),
        tag=config.experiment if config.launch.tag is None else config.launch.tag,
        now=host.now,
        sweeping=host.sweeping,
        goes_on=earlier is not None,
    )
    made = replace(made, config=config, run=run)
    if aim is Aim.SHOW:
        return made
    made = _judged(stack, made, run, aim, check, choice.numbers, is_complete=not unread)
    if choice.held and not made.failures:
        say(f"ports: {choice.said()}")
        if parts == (SERVER,):
            say(f"its learner: {for_the_learner(choice.config)}")
    return made


def run_directory(config: LaunchConfig, run_id: str) -> str:
    """Where a run is recorded, absolute or relative to the working directory."""
    return config.run.dir or f"{_ROOT}/{config.experiment}/{run_id}"


def run_name(run_dir: str) -> str:
    """What ``grpo-runs`` calls the run in a directory: ``<experiment>/<id>``, or its path."""
    parts = PurePath(run_dir).parts
    return "/".join(parts[1:]) if len(parts) == 3 and parts[0] == _ROOT else run_dir


def say(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr, flush=True)


def _judged(
    stack: contextlib.ExitStack,
    made: Preparation,
    run: Prepared,
    aim: Aim,
    check: Callable[[Prepared], Iterable[Problem]],
    chosen: Collection[int],
    *,
    is_complete: bool,
) -> Preparation:
    """``made`` with what keeps this machine from running it now; ``chosen`` ports are locked."""
    config, failures = made.config, [*made.failures]
    problems: list[Problem] = []
    closing: list[Port] = []
    locked: dict[int, Problem] = {}
    whole = loop.together(run.plan)
    try:
        wanted = [port for port in ports(config, whole) if port.number not in chosen]
        held, locked = _locked(stack, wanted, run.plan.run_dir, aim)
        run = replace(run, held=(*run.held, *held))
        problems += locked.values()
        problems += check(run)
    except LaunchError as error:
        failures.append(error)
    if not run.goes_on and (what := occupied.by(run.run)) is not None:
        problems.append(Problem(str(run.run), what, occupied.FIX))
    if config.preflight:
        from grpo_launch.checks import preflight  # not for preflight=false, nor for a dry run

        judged = preflight.problems(
            config,
            whole,
            run.environ,
            run.cwd,
            without=locked,
            is_complete=is_complete,
            facts=made.facts,
        )
        problems += of_machine(config, judged)
        waits = preflight.closing(config, whole)
        closing = [port for port in waits if port.number not in locked]
    errors = (problem for problem in problems if problem.severity is Severity.ERROR)
    failures += (PreflightError(p.where, p.what, p.fix, p.rule) for p in errors)
    warnings = [problem for problem in problems if problem.severity is Severity.WARNING]
    names = dict.fromkeys(problem.rule for problem in warnings if problem.rule)
    plan = replace(run.plan, downgraded=(*run.plan.downgraded, *names))
    return replace(
        made,
        failures=tuple(failures),
        warnings=tuple(warnings),
        closing=tuple(closing),
        run=replace(run, plan=plan),
    )


def _locked(
    stack: contextlib.ExitStack, wanted: Iterable[Port], run_dir: str, aim: Aim
) -> tuple[tuple[int, ...], dict[int, Problem]]:
    """Lock ports, or only look at their locks; the descriptors, and what other launchers have."""
    from grpo_launch.supervise import locks

    held: list[int] = []
    locked: dict[int, Problem] = {}
    for port, where, choose in wanted:
        lock = locks.take(port, run_dir) if aim is Aim.START else None
        if lock is not None:
            stack.callback(os.close, lock)
            held.append(lock)
        elif (owner := locks.holder(port)) is not None or aim is Aim.START:
            what = f"port {port} belongs to the run {owner or 'of another launcher'}"
            fix = f"stop it or choose another port with {choose}"
            locked[port] = Problem(where, what, fix)
    return tuple(held), locked


def _with_ports(
    stack: contextlib.ExitStack,
    config: LaunchConfig,
    host: Host,
    parts: tuple[str, ...],
    run_id: str,
    aim: Aim,
) -> Chosen:
    """Choose the ports that are the launcher's to choose.

    A dry run looks at this machine only where free ports were asked for.

    Raises:
        LaunchError: see ``ports.chosen``.
    """
    look = aim is not Aim.SHOW or config.ports is schema.PortPolicy.auto
    run_dir, hold = run_directory(config, run_id), aim is Aim.START
    found = chosen(config, parts, host.environ, run_dir, hold=hold, look=look)
    return stack.enter_context(found)


def _with_checkpoint(
    config: LaunchConfig, host: Host, parts: Sequence[str], run_id: str
) -> LaunchConfig:
    """Find what ``resume`` means.

    Raises:
        LaunchError: see ``continuation.settled``.
    """
    if loops.is_loop(config) or (
        config.resume is None and learner(config.learner.name).is_versioned(config)
    ):
        return config
    from grpo_launch.settle import continuation

    return continuation.settled(config, host.cwd, host.environ, run_id, parts, say)
