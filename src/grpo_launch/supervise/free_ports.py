"""Free ports, found and locked; from the launcher before a run, from its supervisor in between."""

from __future__ import annotations

import os
from collections.abc import Set

from grpo_launch.errors import PreflightError
from grpo_launch.supervise import locks, sockets

TRIES = 500
"""Ports, or blocks of them, that are tried from a start."""


def are_free(port: int, count: int = 1) -> bool:
    """Whether a process of the run could listen on ``count`` ports from ``port`` now."""
    return all(sockets.bind_failure(each) is None for each in range(port, port + count))


def first(
    start: int, count: int, run: str, *, taken: Set[int], hold: bool
) -> tuple[int, int | None]:
    """The first ``count`` ports in a row, from ``start``, that nobody has.

    Rows begin at ``start`` and every ``count`` ports after it, so that whoever looks for as many
    from the same start meets the one lock of a row, that on its first port.

    Args:
        start: where the search begins.
        count: how many are needed.
        run: the run that wants them, for the messages of others.
        taken: ports that are out of the question.
        hold: lock the first; else only look.

    Returns:
        The first port, and the lock's descriptor where it is held.

    Raises:
        PreflightError: none is free.
    """
    end = min(start + TRIES * count, 65536)
    for port in range(start, end - count + 1, count):
        if not taken.isdisjoint(range(port, port + count)):
            continue
        if not hold:
            if are_free(port, count) and locks.holder(port) is None:
                return port, None
            continue
        # First the lock: a port that is free now may belong to another launcher.
        lock = locks.take(port, run)
        if lock is None:
            continue
        if are_free(port, count):
            return port, lock
        os.close(lock)
    raise PreflightError("ports", f"no port from {start} to {end - 1} is free", "end a run")
