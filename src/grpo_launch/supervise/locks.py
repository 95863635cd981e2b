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
from pathlib import Path

from grpo_launch.errors import PreflightError

BASE = Path(os.environ.get("GRPO_LAUNCH_LOCKS") or "/tmp")  # noqa: S108 (what is in it is private)
"""Not that of ``TMPDIR``: a login, a cron job and a batch job must find the same locks."""

_LOOKED_AT_S = 0.01
"""Longer than anyone who only looks at a lock holds it."""


def take(port: int, run: str) -> int | None:
    """Lock a port.

    Args:
        port: its number.
        run: the run that wants it, for the messages of others.

    Returns:
        The lock's descriptor, to be closed when the port is not needed any more; None
        where another launcher of this user has it.
    """
    private = directory()
    _remove_unused(private)
    path = private / _name(port)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _is_locked(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            return None
        if _is_at(descriptor, path):
            break
        os.close(descriptor)  # removed by another launcher between the two
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, os.fsencode(os.path.abspath(run)), 0)
    return descriptor


def holder(port: int) -> str | None:
    """The run of another launcher of this user that has ``port``, as messages name it.

    Only looks and leaves nothing behind; None where nobody has the port.
    """
    try:
        descriptor = os.open(_directory() / _name(port), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    from grpo_launch.config.formats import document  # a supervisor takes locks, and names none

    try:
        if _is_locked(descriptor, fcntl.LOCK_SH):
            return None
        owner = os.pread(descriptor, 4096, 0).decode("utf-8", "replace").strip()
        return document.shown(Path(owner)) if owner else "of another launcher"
    finally:
        os.close(descriptor)


def _remove_unused(private: Path) -> None:
    """Remove the locks of runs that have ended: whoever ends one may have been killed."""
    for path in private.glob(_name("*")):
        with contextlib.suppress(FileNotFoundError):  # another launcher was faster
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(descriptor, path):
                    path.unlink()
            except BlockingIOError:
                pass  # of a run that goes on
            finally:
                os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a file that is open is still the one of this name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _is_locked(descriptor: int, kind: int) -> bool:
    """Lock a file, unless another has it for longer than anyone only looks at it."""
    for pause in (_LOOKED_AT_S, _LOOKED_AT_S, 0.0):
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        time.sleep(pause)
    return False


def _name(port: int | str) -> str:
    return f"port-{port}"


def directory() -> Path:
    """A private directory of this user, the same for all launchers on this machine.

    Raises:
        PreflightError: it cannot be made, or somebody else's directory has its name.
    """
    private = _directory()
    try:
        private.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        what = f"cannot be made ({error.strerror})"
        raise PreflightError(str(private), what, "make it writable for you") from None
    return _directory()


def _directory() -> Path:
    """The same, not made.

    Raises:
        PreflightError: somebody else's directory has its name.
    """
    private = BASE / f"grpo_launch-{os.geteuid()}"
    with contextlib.suppress(FileNotFoundError):
        if private.is_symlink() or private.lstat().st_uid != os.geteuid():
            raise PreflightError(str(private), "belongs to somebody else", "have it removed")
    return private
