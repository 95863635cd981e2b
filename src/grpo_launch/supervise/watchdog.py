"""Whether a training goes on: when to ask the server, and when a run has stalled."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from enum import Enum
from urllib.parse import urlsplit

from grpo_launch.plan import Gate, Watchdog

HEALTH_TIMEOUT_S = 10.0
"""A server under load answers late; one that takes longer counts as silent."""


IN_A_ROW = 3
"""Failed health checks until one warns of them; a busy server may miss one."""


class Duty(Enum):
    """What a watchdog asks for."""

    HEALTH = "health"
    PROBE = "probe"
    STALL = "stall"


class Watch:
    """Says what is due, from the times at which progress was seen.

    Args:
        settings: the intervals, in seconds; 0 turns a duty off.
        clock: monotonic seconds, which do not jump when the wall clock is set.
    """

    def __init__(self, settings: Watchdog, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._progress = self._asked = self._probed = clock()
        self._has_stalled = self._has_begun = False

    def progress(self) -> None:
        """Note that the training goes on."""
        self._progress = self._probed = self._clock()
        self._has_stalled = False

    def begun(self) -> None:
        """Note that the first step is done: from now on it may not be silent for as long."""
        self._has_begun = True

    @property
    def idle_s(self) -> float:
        """Seconds since the last progress."""
        return self._clock() - self._progress

    def due(self) -> list[Duty]:
        """What is to be done now; a stall is told once."""
        now = self._clock()
        duties: list[Duty] = []
        if 0 < self._settings.health_s <= now - self._asked:
            self._asked = now
            duties.append(Duty.HEALTH)
        if 0 < self._settings.probe_s <= now - self._probed:
            self._probed = now
            duties.append(Duty.PROBE)
        stall_s, silence_s = self._settings.stall_s, self._settings.silence_s
        limit = stall_s if self._has_begun else max(stall_s, silence_s)
        if stall_s and limit <= now - self._progress and not self._has_stalled:
            self._has_stalled = True
            duties.append(Duty.STALL)
        return duties


class ServerHealth:
    """The cheap health checks of one server.

    Args:
        gate: of the server; its first check is the one that is asked.

    Attributes:
        problem: why it seems silent, in words.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._check: HealthCheck | None = None
        self._refusals = self._silences = 0
        self.problem = ""

    def ask(self) -> None:
        """Begin a check, unless one is under way or there is none."""
        if self._check is None and self._gate.checks:
            with contextlib.suppress(RuntimeError):  # the system gives no thread now
                self._check = HealthCheck(self._gate.url, self._gate.checks[0].path)

    def take(self) -> bool:
        """Take in the result of a check, once; whether there was one."""
        if self._check is None or not self._check.is_done():
            return False
        check, self._check = self._check, None
        self._refusals = self._refusals + 1 if check.refused else 0
        self._silences = self._silences + 1 if check.failure else 0
        self.problem = f"no healthy answer {IN_A_ROW} times in a row ({check.failure})"
        return True

    @property
    def is_gone(self) -> bool:
        """Whether nobody has listened on its port for a while."""
        return self._refusals >= IN_A_ROW

    @property
    def has_fallen_silent(self) -> bool:
        """Whether the last check was the one that makes it worth a warning."""
        return self._silences == IN_A_ROW


class HealthCheck:
    """One cheap health check, in a thread beside the event loop.

    A plain socket: an HTTP client would be the largest thing in the memory of a
    process that is there as long as the training is.

    Args:
        url: of the server.
        path: of the URL to get.

    Attributes:
        failure: after :meth:`is_done`: None when the server answered 200, else what
            was seen.
        refused: whether nobody listens on the port at all.
    """

    def __init__(self, url: str, path: str) -> None:
        self.failure: str | None = None
        self.refused = False
        self._thread = threading.Thread(target=self._ask, args=(url, path), daemon=True)
        self._thread.start()

    def is_done(self) -> bool:
        """Whether there is a result."""
        return not self._thread.is_alive()

    def _ask(self, url: str, path: str) -> None:
        try:
            status = _status(url, path)
            self.failure = None if status == 200 else f"status {status}"
        except ConnectionRefusedError:
            self.failure, self.refused = "nobody listens there", True
        except (OSError, ValueError) as error:
            self.failure = str(error) or type(error).__name__


def _status(url: str, path: str) -> int:
    """The status of ``GET path`` (RFC 9112, section 4).

    Raises:
        OSError: no answer.
        ValueError: no HTTP.
    """
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or 80
    deadline = time.monotonic() + HEALTH_TIMEOUT_S
    with socket.create_connection((host, port), HEALTH_TIMEOUT_S) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        line = b""
        while b"\n" not in line and len(line) < 1024:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            chunk = connection.recv(1024)
            if not chunk:
                break
            line += chunk
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/") or not rest[:3].isdigit():
        raise ValueError("the answer is no HTTP")
    return int(rest[:3])
