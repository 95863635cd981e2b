"""The files of ``launch=nohup``, in ``logs/`` of the working directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from grpo_launch.settle.prepared import Prepared

DIRECTORY = "logs"
_ENDINGS = ("log", "exit", "pid")
_TIME = "YYYYmmdd_HHMMSS"
"""Stands for the time of the start where nothing is started."""


def base(tag: str, time: str = _TIME) -> str:
    """The name of a start's files, without ending."""
    return f"nohup_{tag}_{time}"


def latest(tag: str) -> str:
    """The name of the links to the newest start's files, without ending."""
    return f"nohup_{tag}_latest"


def paths(directory: Path, name: str) -> dict[str, Path]:
    """The three files of a start, by ending."""
    # Not with_suffix: a tag may hold a dot.
    return {ending: directory / f"{name}.{ending}" for ending in _ENDINGS}


def reserve(prepared: Prepared) -> dict[str, Path]:
    """The three files of a name that nobody else has; the log exists from now on.

    Raises:
        OSError: they cannot be written.
    """
    directory = prepared.cwd / DIRECTORY
    directory.mkdir(exist_ok=True)
    first = base(prepared.tag, time.strftime("%Y%m%d_%H%M%S", time.gmtime(prepared.now)))
    number = 1
    while True:
        found = paths(directory, first if number == 1 else f"{first}_{number}")
        number += 1
        if found["exit"].exists() or found["pid"].exists():
            continue
        with contextlib.suppress(FileExistsError):
            os.close(os.open(found["log"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            return found


def point_latest(prepared: Prepared, names: dict[str, Path]) -> list[Path]:
    """Point the three links at the files of a run that has started; the links.

    Raises:
        OSError: they cannot be written.
    """
    directory = prepared.cwd / DIRECTORY
    links = [*paths(directory, latest(prepared.tag)).values()]
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Of two starts at once, all three links lead to the same.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for link, target in zip(links, names.values(), strict=True):
            fresh = directory / f".{link.name}.{os.getpid()}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(target.name)
            fresh.replace(link)
    finally:
        os.close(descriptor)
    return links
