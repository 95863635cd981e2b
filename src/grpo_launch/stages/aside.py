"""Directories that are there as a whole or not at all, wherever their making is killed.

One is made beside its place as ``.<name>.<pid>``, synced, and renamed. What a killed attempt left
is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Generator
from pathlib import Path

_LOCK = ".lock"


@contextlib.contextmanager
def held(directory: Path) -> Generator[None]:
    """Make ``directory``, and keep others out that would put something into it meanwhile.

    Raises:
        OSError: it cannot be made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / _LOCK, "w") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def made(target: Path) -> Generator[Path]:
    """A new directory that becomes ``target``, which is not there yet, once it is filled.

    It is removed where that fails. Its files are synced by whoever writes them.

    Raises:
        OSError: it cannot be made, synced or renamed.
    """
    fresh = _beside(target)
    fresh.mkdir()
    try:
        yield fresh
        sync(fresh)
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    sync(target.parent)


def link(path: Path, to: str) -> None:
    """Let ``path`` be a symbolic link to ``to``; a reader sees the old or the new one.

    Raises:
        OSError: it cannot be made, or a directory is in its place.
    """
    fresh = _beside(path)
    fresh.symlink_to(to)
    try:
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)


def remove(target: Path) -> None:
    """Remove a directory: nobody sees a part of it under its name.

    Raises:
        OSError: it cannot be removed.
    """
    gone = _beside(target)
    target.rename(gone)
    shutil.rmtree(gone)


def clear(directory: Path, *names: str) -> None:
    """Remove what killed attempts left of these names.

    Args:
        directory: that is :func:`held`.
        names: of what was to become; none: of anything.
    """
    for path in [*directory.iterdir()]:
        hidden, dot, pid = path.name.rpartition(".")
        if not (dot and pid.isdecimal() and hidden.startswith(".")):
            continue
        if names and hidden[1:] not in names:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def sync(path: Path) -> None:
    """Wait until a directory would survive a power cut.

    Raises:
        OSError: it cannot be synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}")
