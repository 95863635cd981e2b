"""Locks on port numbers, so that two launchers never plan with the same one.

A rollout server binds its ports seconds after the launcher found them free, so a
free port proves nothing to a second launcher. A lock is a file of this user,
locked with flock(2) until the run has ended, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator, Iterable
from pathlib import Path

from grpo_launch.config.formats import document
from grpo_launch.errors import PreflightError

BASE = Path("/tmp")  # noqa: S108 (the directory in it is private)
"""Not the environment's: a login, a cron job and a batch job must find the same locks."""

_LOOKED_AT_S = 0.01
"""Longer than anyone who only looks at a lock holds it."""


@contextlib.contextmanager
def hold(ports: Iterable[tuple[int, str, str]], run: str) -> Generator[list[int]]:
    """Lock ports until the end of the block, and beyond it in a program that it becomes.

    Args:
        ports: number, the place that said it, and how to choose another.
        run: the run that wants them, for the messages of others.

    Yields:
        The locks' file descriptors.

    Raises:
        PreflightError: another launcher of this user has one of them.
    """
    with contextlib.ExitStack() as stack:
        held: list[int] = []
        for port, where, choose in ports:
            descriptor = _open(port)
            stack.callback(os.close, descriptor)
            owner = _lock(descriptor, run)
            if owner is not None:
                what = f"port {port} belongs to the run {owner}"
                fix = f"stop it or choose another port with {choose}"
                raise PreflightError(where, what, fix)
            held.append(descriptor)
        yield held


def take(port: int, run: str) -> int | None:
    """Lock a port.

    Args:
        port: its number.
        run: the run that wants it, for the messages of others.

    Returns:
        The lock's descriptor, to be closed when the port is not needed any more; None
        where another launcher of this user has it.
    """
    descriptor = _open(port)
    if _lock(descriptor, run) is None:
        return descriptor
    os.close(descriptor)
    return None


def is_held(port: int) -> bool:
    """Whether another launcher of this user has ``port``; leaves nothing behind."""
    try:
        descriptor = os.open(directory() / _name(port), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_locked(descriptor: int) -> bool:
    """Lock a file, unless another has it for longer than :func:`is_held` looks at it."""
    for pause in (_LOOKED_AT_S, _LOOKED_AT_S, 0.0):
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(pause)
    return False


def _lock(descriptor: int, run: str) -> str | None:
    """Lock a file; the run that has it already, or None when it is ours now."""
    if not _is_locked(descriptor):
        owner = os.pread(descriptor, 4096, 0).decode("utf-8", "replace").strip()
        return document.shown(Path(owner)) if owner else "of another launcher"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, os.path.abspath(run).encode(), 0)
    return None


def _open(port: int) -> int:
    return os.open(directory() / _name(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _name(port: int) -> str:
    return f"port-{port}"


def directory() -> Path:
    """A private directory of this user, the same for all launchers on this machine.

    Raises:
        PreflightError: it cannot be made, or somebody else's directory has its name.
    """
    private = BASE / f"grpo_launch-{os.geteuid()}"
    try:
        private.mkdir(mode=0o700, exist_ok=True)
        owner = private.lstat().st_uid
    except OSError as error:
        what = f"cannot be made ({error.strerror})"
        raise PreflightError(str(private), what, "make it writable for you") from None
    if private.is_symlink() or owner != os.geteuid():
        raise PreflightError(str(private), "belongs to somebody else", "have it removed")
    return private
