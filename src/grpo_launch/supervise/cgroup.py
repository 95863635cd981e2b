"""A control group of our own, where the user was given a subtree (cgroups(7), version 2).

What it adds: ``cgroup.kill`` ends every process in it at once, those that lost all
their parents included, and no fork can escape it. Without it, processes are found
by descent alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Generator

_DELEGATED = ("user.delegate", "trusted.delegate")
"""Extended attributes that systemd sets on a delegated group (systemd.resource-control(5))."""


_DYING_S = 1.0
"""How long a group that does not get empty is waited for."""


def delegated() -> str | None:
    """The directory of this process's group, where new groups may be made below it."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            fields = [line.split() for line in file]
        mount = next(f[4] for f in fields if f[f.index("-") + 1] == "cgroup2")
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            path = next(line[3:].rstrip("\n") for line in file if line.startswith("0::"))
        directory = os.path.join(mount, path.lstrip("/"))
        writable = all(
            os.access(os.path.join(directory, name), os.W_OK) for name in ("", "cgroup.procs")
        )
        # Root may write everywhere, which is no permission: the tree may be systemd's.
        if writable and (os.geteuid() != 0 or path == "/" or _is_marked(directory)):
            return directory
    return None


def _is_marked(directory: str) -> bool:
    for name in _DELEGATED:
        with contextlib.suppress(OSError):
            return os.getxattr(directory, name) == b"1"
    return False


class Group:
    """One control group.

    Args:
        directory: to make; its parent, the group of the run, exists and stays empty.

    Raises:
        OSError: it cannot be made, or the kernel has no ``cgroup.kill`` (Linux 5.14).
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._outside = os.path.dirname(os.path.dirname(directory))
        os.mkdir(directory)
        try:
            os.stat(os.path.join(directory, "cgroup.kill"))
        except OSError:
            os.rmdir(directory)
            raise

    @contextlib.contextmanager
    def inside(self) -> Generator[None]:
        """Be a member meanwhile, so that a process started now is one from its first moment."""
        _write(os.path.join(self.directory, "cgroup.procs"), "0")
        try:
            yield
        finally:
            _write(os.path.join(self._outside, "cgroup.procs"), "0")

    def remove(self) -> None:
        """Remove it once it is empty; one that is not stays."""
        remove(self.directory)


def kill(directory: str) -> None:
    """SIGKILL to every process of a group at once; a group that is gone is no error."""
    with contextlib.suppress(OSError):
        _write(os.path.join(directory, "cgroup.kill"), "1")


def remove(directory: str) -> None:
    """Remove an empty group and the groups in it; what still has processes stays.

    A process that was killed is still a member for a moment.
    """
    until = time.monotonic() + _DYING_S
    with contextlib.suppress(OSError):
        inner = [entry.path for entry in os.scandir(directory) if entry.is_dir()]
        for path in (*inner, directory):
            while not _is_removed(path) and time.monotonic() < until:
                time.sleep(0.01)


def _is_removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
