"""The program that every backend starts in the end, and how a process becomes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from grpo_launch.runs.supervision import SUPERVISOR
from grpo_launch.supervise import events, spawn


def command(
    run: Path,
    exit_file: Path | None = None,
    held: Sequence[int] = (),
    ready: int | None = None,
    *,
    lingers: bool = False,
) -> list[str]:
    """The command that supervises a prepared run.

    Args:
        run: the run directory, absolute.
        exit_file: where the exit status is left, whatever ends the supervisor.
        held: descriptors that it keeps open until its end: port locks.
        ready: a pipe that it writes to, and closes, once it has taken over.
        lingers: whether it waits for Enter after a run that failed, because its terminal
            closes with it.
    """
    words = [str(run), str(exit_file or ""), "" if ready is None else str(ready)]
    return spawn.program(SUPERVISOR, *words, "lingers" if lingers else "", *map(str, held))


def become(
    run: Path,
    environ: Mapping[str, str],
    held: Sequence[int],
    ready: int | None = None,
    *,
    lingers: bool = False,
) -> NoReturn:
    """Let the supervisor take the place of this process; see :func:`command`.

    Raises:
        OSError: the interpreter cannot be started.
    """
    for descriptor in (*held, *(() if ready is None else (ready,))):
        os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal between two programs waits for the handlers of the second.
    events.block()
    words = command(run, held=held, ready=ready, lingers=lingers)
    os.execve(words[0], words, dict(environ))  # noqa: S606 (this very program, no shell)
    raise AssertionError("exec returned")
