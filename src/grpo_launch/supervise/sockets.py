"""Who listens on which TCP port, from ``/proc`` (proc(5))."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from grpo_launch.supervise import proc

_LISTEN = "0A"
_TIME_WAIT = "06"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ANY = ("0.0.0.0", "::")  # noqa: S104 (compared with, not bound)

TIME_WAIT_S = 65.0
"""How long to wait for a port in TIME_WAIT: Linux holds it for 60 s."""


class _Listening(NamedTuple):
    """A listening socket: address as text, port, and the id of the user who opened it."""

    address: str
    port: int
    user: int


def bind_failure(port: int) -> int | None:
    """The errno of listening on ``port``, or None where it would work.

    Tried in the strictest way, on all interfaces and without ``SO_REUSEADDR``: where that
    fails, some servers serve on the next port (``Signs.moves``).
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


def closes_in_s(port: int) -> float:
    """Seconds until the last connection in TIME_WAIT leaves ``port``, as the kernel tells.

    :data:`TIME_WAIT_S` where it does not.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    rows = (fields for fields in _rows(_TIME_WAIT) if _port_of(fields) == port)
    return max((int(f[5].partition(":")[2], 16) / ticks for f in rows), default=TIME_WAIT_S)


def listener(port: int, address: str | None = None) -> int | None:
    """The pid of a process that listens on ``port``, where ``/proc`` tells.

    Args:
        port: its number.
        address: of this machine, as text; None: any. Two processes can have the same
            port on two addresses.
    """
    files = _answering(port, address)
    if not files:
        return None
    for entry in proc.everything():
        if not files.keys().isdisjoint(_open_files(entry.pid)):
            return entry.pid
    return None


def user_of(port: int, address: str | None = None) -> int | None:
    """The id of the user who listens on ``port``, also where the process is hidden."""
    return next((found.user for found in _answering(port, address).values()), None)


def is_listened_on(port: int) -> bool:
    """Whether any process listens on ``port``, whoever it belongs to."""
    return bool(_answering(port, None))


def ports_of(pids: Iterable[int]) -> list[int]:
    """The ports that these processes listen on, in ascending order."""
    listening = _listening()
    names = {name for pid in pids for name in _open_files(pid)}
    return sorted({found.port for name, found in listening.items() if name in names})


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


def _answering(port: int, address: str | None) -> dict[str, _Listening]:
    """The listening sockets that a connection to ``port`` at ``address`` may reach."""
    found = {name: entry for name, entry in _listening().items() if entry.port == port}
    if address is None:
        return found
    # A socket of exactly this address goes before one of all addresses.
    same = {address, f"::ffff:{address}"}
    exact = {name: entry for name, entry in found.items() if entry.address in same}
    return exact or {name: entry for name, entry in found.items() if entry.address in _ANY}


def _listening() -> dict[str, _Listening]:
    """Each listening socket, by the name that its open file has: ``socket:[N]``."""
    found: dict[str, _Listening] = {}
    for fields in _rows(_LISTEN):
        address = _address(fields[1].rpartition(":")[0])
        entry = _Listening(address, _port_of(fields), int(fields[7]))
        found[f"socket:[{fields[9]}]"] = entry
    return found


def _rows(state: str) -> Iterator[list[str]]:
    """The fields of each TCP socket in a state."""
    for table in _TABLES:
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        yield from (fields for row in rows if (fields := row.split())[3] == state)


def _port_of(fields: list[str]) -> int:
    return int(fields[1].rpartition(":")[2], 16)


def _address(digits: str) -> str:
    """An address as the kernel prints it: words of 32 bits, each in the host's byte order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _open_files(pid: int) -> Iterator[str]:
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):  # closed meanwhile
            yield os.readlink(f"{directory}/{name}")
