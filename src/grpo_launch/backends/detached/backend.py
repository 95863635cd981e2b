"""Execute a run in the background; the caller gets its terminal back at once."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from grpo_launch.backends import background, local
from grpo_launch.backends.base import Capabilities
from grpo_launch.backends.local import cancel as cancel
from grpo_launch.backends.supervisor import command
from grpo_launch.config.problem import Problem
from grpo_launch.settle.prepared import Prepared

CAPABILITIES = Capabilities(detached=True)


def check(prepared: Prepared) -> Iterator[Problem]:
    """Nothing is in its way."""
    del prepared
    yield from ()


def render(prepared: Prepared) -> str:
    """The plan, and the command that would supervise it."""
    words = shlex.join(command(prepared.run))
    title = "launch=detached: a supervisor in the background executes this"
    facts = {
        "command": f"setsid {words} >> {_log(prepared)} 2>&1 < /dev/null &",
        "log": _log(prepared),
        "follow": local.follow(prepared),
        "stop": local.stop(prepared),
    }
    return local.rendered(prepared, title, facts.items())


def start(prepared: Prepared) -> int:
    """Start the supervisor in a session of its own; prints the run's name.

    Returns:
        0, once the supervisor has taken over.

    Raises:
        PreflightError: it did not.
    """
    background.supervise(prepared, prepared.run / background.LOG)
    print(prepared.name, flush=True)
    return 0


def describe(prepared: Prepared) -> list[str]:
    """How to follow and to stop it."""
    return [
        f"follow it: {local.follow(prepared)}, or {_log(prepared)}",
        f"stop it:   {local.stop(prepared)}",
    ]


def _log(prepared: Prepared) -> str:
    return f"{prepared.plan.run_dir}/{background.LOG}"
