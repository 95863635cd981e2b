"""Execute a run here: the supervisor takes the place of this process."""

from __future__ import annotations

from collections.abc import Iterator

from grpo_launch.backends.base import Capabilities
from grpo_launch.backends.local import cancel as cancel
from grpo_launch.backends.local import stop
from grpo_launch.config.problem import Problem
from grpo_launch.planning import shell
from grpo_launch.settle.prepared import Prepared

CAPABILITIES = Capabilities(detached=False)


def check(prepared: Prepared) -> Iterator[Problem]:
    """Nothing is in its way."""
    del prepared
    yield from ()


def render(prepared: Prepared) -> str:
    """The plan as shell commands."""
    return shell.render(prepared.plan)


def start(prepared: Prepared) -> int:
    """Supervise the run until it has ended.

    This process becomes the supervisor and does not return; one job of a sweep is
    the supervisor for the time of the run.

    Returns:
        The exit status of a run of a sweep.

    Raises:
        LaunchError: why a run of a sweep failed.
    """
    if prepared.sweeping:
        from grpo_launch.execute import supervisor

        return supervisor.supervise(prepared.run, None, prepared.environ, sweeping=True)
    from grpo_launch.backends.supervisor import become

    return become(prepared.run, prepared.environ, prepared.held)


def describe(prepared: Prepared) -> list[str]:
    """How to end it."""
    return [f"stop it: Ctrl-C here, or {stop(prepared)}"]
