"""One GET over a socket: an HTTP client would be the largest thing in a supervisor's memory."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_HEAD = 64 * 1024
"""Bytes of status line and headers, at most."""


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        status: of HTTP.
        body: as far as it was asked for.
    """

    status: int
    body: bytes = b""


def get(
    url: str,
    path: str,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    at_most: int = 0,
) -> Answer:
    """Get a path of a server (RFC 9112); no proxy, no redirects.

    Args:
        url: of the server; ``https`` with the certificates of this machine.
        path: of the URL, appended to that of ``url``.
        timeout_s: seconds for the whole answer.
        headers: sent as well.
        at_most: bytes of the body to read; 0: the status is enough.

    Raises:
        OSError: no answer in time.
        ValueError: no HTTP, or more than ``at_most``.
    """
    address = urlsplit(url)
    secure = address.scheme == "https"
    host, port = address.hostname or "", address.port or (443 if secure else 80)
    name = f"[{host}]" if ":" in host else host
    host_port = name if address.port is None else f"{name}:{port}"
    said = {"Host": host_port, "Connection": "close", **(headers or {})}
    version = "1.0" if at_most else "1.1"  # in 1.1 a body may come in chunks
    lines = [f"GET {address.path}{path} HTTP/{version}", *(f"{k}: {v}" for k, v in said.items())]
    deadline = time.monotonic() + timeout_s
    with socket.create_connection((host, port), timeout_s) as plain:
        connection = _secured(plain, host) if secure else plain
        with connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            data = _read(connection, deadline, b"\n", 1024)
            protocol, _, rest = data.partition(b" ")
            if not protocol.startswith(b"HTTP/") or not rest[:3].isdigit():
                raise ValueError("the answer is no HTTP")
            if not at_most:
                return Answer(int(rest[:3]))
            data += _read(connection, deadline, None, _HEAD + at_most)
    _, _, body = data.partition(b"\r\n\r\n")
    if len(body) > at_most:
        raise ValueError("the answer does not end")
    return Answer(int(rest[:3]), body)


def _read(connection: socket.socket, deadline: float, until: bytes | None, at_most: int) -> bytes:
    """What comes until ``until``, the end, or ``at_most`` bytes."""
    data = bytearray()
    while len(data) < at_most and (until is None or until not in data):
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        chunk = connection.recv(64 * 1024 if until is None else 1024)
        if not chunk:
            break
        data += chunk
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    return bytes(data)


def _secured(plain: socket.socket, host: str) -> socket.socket:
    import ssl

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
