"""Execute a run here: the supervisor takes the place of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from grpo_launch.supervise import events, spawn

SUPERVISOR = "grpo_launch.launch.supervisor"


def command(run: Path, exit_file: Path | None = None, locks: Sequence[int] = ()) -> list[str]:
    """The command that supervises a prepared run.

    Args:
        run: the run directory, absolute.
        exit_file: where the exit status is left if the supervisor is killed.
        locks: descriptors of port locks that it inherits.
    """
    return spawn.program(SUPERVISOR, str(run), str(exit_file or ""), *map(str, locks))


def execute(run: Path, environ: Mapping[str, str], locks: Sequence[int], *, replace: bool) -> int:
    """Supervise ``run`` until it has ended.

    Args:
        run: the run directory, absolute.
        environ: the caller's environment.
        locks: descriptors of port locks, held until the end.
        replace: become the supervisor (does not return); else be it for the time
            of the run, as one job of a sweep.

    Returns:
        The exit status.
    """
    if not replace:
        from grpo_launch.launch import supervisor

        return supervisor.supervise(run, None, environ)
    for descriptor in locks:
        os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal between two programs waits for the handlers of the second.
    events.block()
    words = command(run, locks=locks)
    os.execve(words[0], words, dict(environ))  # noqa: S606 (this very program, no shell)
    raise AssertionError("exec returned")
