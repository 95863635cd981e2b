"""Which run a process belongs to, by the log that it writes."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

_LOG = re.compile(
    r"(?P<run>.+?)(?:/iterations/\d+)?/logs/attempt_\d+/(?P<name>[^/]+)\.log(?: \(deleted\))?",
    re.DOTALL,
)


class Log(NamedTuple):
    """A log of an attempt: the run directory as the kernel names it, and the process.

    A person may keep notes beside the logs: only a name that the run's plan has counts.
    """

    run: str
    name: str


def written_by(pid: int) -> Iterator[Log]:
    """The runs' logs that are the standard output or error of a process."""
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            if found := _LOG.fullmatch(os.readlink(f"/proc/{pid}/fd/{stream}")):
                yield Log(found["run"], found["name"])


def directories(run: str, attempt: str = "*") -> list[str]:
    """The directories of a run's logs.

    Args:
        run: the run directory.
        attempt: the name of one attempt's, ``attempt_2``; a pattern.
    """
    above = glob.escape(run)
    where = (f"{above}/logs/{attempt}", f"{above}/iterations/*/logs/{attempt}")
    return [found for pattern in where for found in glob.glob(pattern)]
