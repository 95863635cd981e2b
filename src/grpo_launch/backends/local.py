"""What the backends of this machine share: what is shown of a run, and how it is ended."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from pathlib import Path

from grpo_launch.planning import shell
from grpo_launch.settle.prepared import Prepared


def rendered(prepared: Prepared, title: str, facts: Iterable[tuple[str, str]]) -> str:
    """The plan as shell commands, and how the backend would have it executed, as comments.

    Args:
        prepared: the run.
        title: what the backend would do.
        facts: titles and values, one line each.
    """
    lines = [f"# {title}", *(f"#   {name:8} {value}" for name, value in facts)]
    return f"{shell.render(prepared.plan)}\n" + "\n".join(lines) + "\n"


def follow(prepared: Prepared) -> str:
    """The command that shows the supervisor's output."""
    return f"grpo-runs logs -f {prepared.name}"


def stop(prepared: Prepared) -> str:
    """The command that ends the run."""
    return f"grpo-runs stop {prepared.name}"


def cancel(run: Path) -> bool:
    """Ask the supervisor of a run on this machine for the end; does not wait.

    Args:
        run: the run directory, absolute.

    Returns:
        Whether there was a supervisor.
    """
    from grpo_launch.runs import reading, supervision
    from grpo_launch.supervise import tree

    try:
        known, _ = reading.read(run)
    except (OSError, ValueError):
        return False
    if not known.is_supervised or not supervision.is_proven(run, known.supervisor.pid):
        return False
    # A stopped one takes its SIGTERM only when it goes on.
    for signum in (signal.SIGTERM, signal.SIGCONT):
        tree.send_to(known.supervisor.pid, known.supervisor.start_time, signum)
    return True
