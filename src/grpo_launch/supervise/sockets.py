"""Who listens on which TCP port, from ``/proc`` (proc(5))."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from grpo_launch.supervise import proc

_LISTEN = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


TIME_WAIT_S = 65.0
"""How long to wait for a port in TIME_WAIT: Linux holds it for 60 s."""


def bind_failure(port: int) -> int | None:
    """The errno of listening on ``port``, or None where it would work.

    Tried as ms-swift 4.6 tries it (``find_free_port``: all interfaces, no
    ``SO_REUSEADDR``): where that fails, ``swift rollout`` serves on the next port.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("", port))
        except OSError as error:
            return error.errno
    return None


def is_closing(port: int) -> bool:
    """Whether only connections of a server that is gone hold the port (TIME_WAIT)."""
    return bind_failure(port) == errno.EADDRINUSE and not is_listened_on(port)


def listener(port: int) -> int | None:
    """The pid of a process that listens on ``port``, where ``/proc`` tells."""
    inodes = {inode for inode, listened in _listening().items() if listened == port}
    if not inodes:
        return None
    for entry in proc.everything():
        if not inodes.isdisjoint(_open_files(entry.pid)):
            return entry.pid
    return None


def is_listened_on(port: int) -> bool:
    """Whether any process listens on ``port``, whoever it belongs to."""
    return port in _listening().values()


def ports_of(pids: Iterable[int]) -> list[int]:
    """The ports that these processes listen on, in ascending order."""
    listening = _listening()
    ports = {listening.get(name) for pid in pids for name in _open_files(pid)}
    return sorted(port for port in ports if port is not None)


def run_of(pid: int) -> Path | None:
    """The run directory whose log a process writes to, or None.

    A run's processes write to ``<run>/logs/attempt_<N>/<name>.log``.
    """
    with contextlib.suppress(OSError):
        log = Path(os.readlink(f"/proc/{pid}/fd/1"))
        for directory in log.parents:
            if directory.name == "logs" and (directory.parent / "run.json").is_file():
                return directory.parent
    return None


def _listening() -> dict[str, int]:
    """``socket:[N]`` of each listening socket, and its port."""
    found: dict[str, int] = {}
    for table in _TABLES:
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN:
                found[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    return found


def _open_files(pid: int) -> Iterator[str]:
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):  # closed meanwhile
            yield os.readlink(f"{directory}/{name}")
