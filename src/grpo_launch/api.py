"""grpo_launch from Python: what the command line does, as five functions.

>>> from grpo_launch import api
>>> config = api.compose("summary_1024", ["role=server", "gpus.server=[0,1,2,3,4,5]"])
>>> [process.name for process in api.plan(config).processes]
['server']

These names, the contracts of plug-ins (``engines/base.py``, ``learners/base.py``,
``backends/base.py``, ``config/rule.py``, ``plan.py``) and ``grpo_launch.testing`` are what a
program may build on; everything else may change with any release.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grpo_launch.config.launch_config import LaunchConfig
    from grpo_launch.config.problem import Problem
    from grpo_launch.plan import LaunchPlan
    from grpo_launch.runs.find import Found

__all__ = ["check", "compose", "launch", "plan", "runs"]


def compose(
    experiment: str, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> LaunchConfig:
    """The configuration of a command line.

    Args:
        experiment: what ``config=`` takes: a name, or the path of a file.
        overrides: the other arguments, ``KEY=VALUE`` each; without ``role=`` it is ``both``.
        environ: what ``compat=env`` reads; by default this process's environment.

    Raises:
        ConfigError: an unknown experiment or key, a wrong type, a malformed file.
    """
    from grpo_launch.config import compose as composing

    named = any(item.startswith("role=") for item in overrides)
    arguments = [*overrides] if named else ["role=both", *overrides]
    return composing.compose(
        experiment, arguments, dict(os.environ) if environ is None else environ
    )


def check(config: LaunchConfig) -> list[Problem]:
    """What is wrong with a configuration on this machine, as ``role=check`` says it.

    Starts nothing, keeps nothing. An empty list, or one of warnings alone, means that a launch
    could start now.
    """
    from grpo_launch.backends import registry
    from grpo_launch.base.host import Host
    from grpo_launch.config.problem import Problem
    from grpo_launch.roles.check import of_part
    from grpo_launch.settle.preparation import Aim
    from grpo_launch.settle.prepare import prepare

    backend, config = registry.of(config), of_part(config)
    with contextlib.ExitStack() as stack:
        ready = prepare(stack, config, Host.current(), _parts(config), Aim.CHECK, backend.check)
    return [*ready.problems, *map(Problem.of, ready.failures), *ready.warnings]


def plan(config: LaunchConfig) -> LaunchPlan:
    """What a launch would start, as ``dry_run=json`` prints it; nothing is started.

    Raises:
        InvalidConfigError: the configuration has errors.
        LaunchError: it cannot be planned on this machine.
    """
    from grpo_launch.backends import registry
    from grpo_launch.base.host import Host
    from grpo_launch.settle.preparation import Aim
    from grpo_launch.settle.prepare import prepare

    backend = registry.of(config)
    with contextlib.ExitStack() as stack:
        ready = prepare(stack, config, Host.current(), _parts(config), Aim.SHOW, backend.check)
    if ready.error is not None:
        raise ready.error
    assert ready.run is not None
    return ready.run.plan


def launch(config: LaunchConfig) -> int:
    """Start a run; with ``launch=foreground`` (the default) supervise it until it has ended.

    Returns:
        The status of the run; with a backend in the background 0, once it has taken over.

    Raises:
        InvalidConfigError: the configuration has errors.
        LaunchError: the run cannot be started, or failed; see ``errors.py``.
    """
    from grpo_launch.base.host import Host
    from grpo_launch.roles._launch import launch as start

    # Otherwise the supervisor would take the place of the calling program.
    return start(config, Host.current(sweeping=True), _parts(config))


def runs(directory: str | Path = "runs") -> list[Found]:
    """The runs that are recorded below a directory, oldest first, as ``grpo-runs list`` shows."""
    from grpo_launch.runs import find

    return find.runs(Path(directory))


def _parts(config: LaunchConfig) -> tuple[str, ...]:
    """The processes that the role of a configuration starts.

    Raises:
        ConfigError: the role starts nothing.
    """
    from grpo_launch.errors import ConfigError
    from grpo_launch.roles import check as checking
    from grpo_launch.roles._launch import PARTS

    if config.role == "check":
        return checking.parts(config)
    if config.role not in PARTS:
        what = f"{config.role} starts nothing"
        raise ConfigError(config.where("role"), what, f"say role={', '.join([*PARTS, 'check'])}")
    return PARTS[config.role]
