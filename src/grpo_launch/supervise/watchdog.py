"""Whether a training goes on: when to ask the server, and when a run has stalled."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum

from grpo_launch.plan import Gate, HttpCheck, Watchdog
from grpo_launch.supervise.counters import read
from grpo_launch.supervise.plain_http import get

HEALTH_TIMEOUT_S = 10.0
"""A server under load answers late; one that takes longer counts as silent."""


_OK = 200

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
    """The cheap health checks of one server, and what its counters tell.

    Args:
        gate: of the server; its first check is the one that is asked.
        environ: has the key that is sent to the server, where it takes one.

    Attributes:
        problem: why it seems silent, in words.
    """

    def __init__(self, gate: Gate, environ: Mapping[str, str]) -> None:
        self._gate = gate
        self._environ = environ
        self._check: HealthCheck | None = None
        self._refusals = self._silences = 0
        self._generated: float | None = None
        self._own = 0
        self._progressed = False
        self.problem = ""

    def ask(self) -> None:
        """Begin a check, unless one is under way or there is none."""
        if self._check is None and self._gate.checks:
            with contextlib.suppress(RuntimeError):  # the system gives no thread now
                self._check = HealthCheck(self._gate, self._environ)

    def take(self) -> bool:
        """Take in the result of a check, once; whether there was one."""
        if self._check is None or not self._check.is_done():
            return False
        check, self._check = self._check, None
        self._refusals = self._refusals + 1 if check.refused else 0
        self._silences = self._silences + 1 if check.failure else 0
        self.problem = f"no healthy answer {IN_A_ROW} times in a row ({check.failure})"
        if check.generated is not None:
            self._count(check.generated)
        return True

    def asked(self) -> None:
        """Note that the watchdog asks for a token itself: that one is no progress."""
        self._own += 1

    def has_progressed(self) -> bool:
        """Whether the server has generated for others since the last call."""
        progressed, self._progressed = self._progressed, False
        return progressed

    @property
    def is_gone(self) -> bool:
        """Whether nobody has listened on its port for a while."""
        return self._refusals >= IN_A_ROW

    @property
    def has_fallen_silent(self) -> bool:
        """Whether the last check was the one that makes it worth a warning."""
        return self._silences == IN_A_ROW

    def _count(self, generated: float) -> None:
        before, self._generated = self._generated, generated
        if before is None or generated <= before:  # a new server counts from 0
            return
        own = min(self._own, int(generated - before))
        self._own -= own
        self._progressed |= generated - before > own


class HealthCheck:
    """One cheap health check, in a thread beside the event loop.

    Args:
        gate: of the server; its first check is the one that is asked.
        environ: has the key that is sent to the server, where it takes one.

    Attributes:
        failure: after :meth:`is_done`: None when the server answered as it should, else what
            was seen.
        refused: whether nobody listens on the port at all.
        generated: what it has generated, by its own count; None: nobody knows.
    """

    def __init__(self, gate: Gate, environ: Mapping[str, str]) -> None:
        self.failure: str | None = None
        self.refused = False
        self.generated: float | None = None
        self._gate = gate
        self._environ = environ
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def is_done(self) -> bool:
        """Whether there is a result."""
        return not self._thread.is_alive()

    def _ask(self) -> None:
        check = self._gate.checks[0] if self._gate.checks else HttpCheck("health", "/")
        key = self._environ.get(check.bearer, "").strip() if check.bearer else ""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            status = get(self._gate.url, check.path, HEALTH_TIMEOUT_S, headers).status
            passes = status == _OK or status in check.absent
            self.failure = None if passes else f"status {status}"
        except ConnectionRefusedError:
            self.failure, self.refused = "nobody listens there", True
        except (OSError, ValueError) as error:
            self.failure = str(error) or type(error).__name__
        counters = self._gate.counters
        if self.failure is None and counters is not None and counters.progress:
            with contextlib.suppress(OSError, ValueError):  # its health is what counts
                counts = read(self._gate.url, counters, HEALTH_TIMEOUT_S)
                self.generated = counts.get(counters.progress)
