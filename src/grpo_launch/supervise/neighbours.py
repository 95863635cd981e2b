"""Who else is on this machine, as far as a gate wants to know."""

from __future__ import annotations

import os
import socket
from typing import Protocol
from urllib.parse import urlsplit

from grpo_launch.supervise import sockets, tree


class Neighbours(Protocol):
    """Who listens where on this machine."""

    def listener(self, port: int) -> int | None:
        """The pid that listens on ``port``, or None where that is unknown."""
        ...

    def user(self, port: int) -> int | None:
        """The id of the user who listens on ``port``, or None where that is unknown."""
        ...

    def is_ours(self, pid: int) -> bool | None:
        """Whether the process is one of the server that was started; None: none was."""
        ...

    def our_ports(self) -> list[int]:
        """The ports that the started server listens on."""
        ...

    def ours_hide(self) -> bool:
        """Whether processes of the started server may listen without being seen."""
        ...


class ThisMachine:
    """:class:`Neighbours` from ``/proc``, for a server whose address is one of this machine.

    Args:
        url: of the server.
        guard: pid of the guard of the server that was started, or 0.
    """

    def __init__(self, url: str, guard: int) -> None:
        self._guard = guard
        self._address = _local(urlsplit(url).hostname or "")

    def listener(self, port: int) -> int | None:
        """See :class:`Neighbours`."""
        return sockets.listener(port, self._address) if self._address else None

    def user(self, port: int) -> int | None:
        """See :class:`Neighbours`."""
        return sockets.user_of(port, self._address) if self._address else None

    def is_ours(self, pid: int) -> bool | None:
        """See :class:`Neighbours`."""
        if not self._guard:
            return None
        return pid in {entry.pid for entry in tree.descendants(self._guard)}

    def our_ports(self) -> list[int]:
        """See :class:`Neighbours`."""
        if not self._guard:
            return []
        return sockets.ports_of(entry.pid for entry in tree.descendants(self._guard))

    def ours_hide(self) -> bool:
        """See :class:`Neighbours`."""
        ours = tree.descendants(self._guard) if self._guard else []
        return not all(os.access(f"/proc/{entry.pid}/fd", os.R_OK) for entry in ours)


def _local(host: str) -> str | None:
    """The address of ``host``, as text, where it is one of this machine: one can listen on it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError:
        return None
    return str(address[0])
