"""The gate: the learner waits until the rollout server really works.

``/health/`` alone lies (it answers while the engine is dead, and a stranger's
server answers it as well), so the world size is compared, and on request one
token is generated.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpo_launch.errors import NotReadyError
from grpo_launch.plan import Probe

if TYPE_CHECKING:
    import httpx

FIRST_INTERVAL_S = 0.05
LONGEST_INTERVAL_S = 0.25
REQUEST_TIMEOUT_S = 2.0
"""For the cheap requests; a generation may take as long as the gate itself."""

_READY = 200


@dataclass(frozen=True)
class Ready:
    """The server passed every probe.

    Attributes:
        seconds: how long the gate waited.
    """

    seconds: float


def wait_until_ready(
    probe: Probe,
    client: httpx.Client,
    pause: Callable[[float], bool],
    clock: Callable[[], float] = time.monotonic,
) -> Ready | None:
    """Poll a rollout server until it is ready.

    Args:
        probe: what to ask.
        client: an HTTP client that does not follow redirects or use proxies.
        pause: waits that many seconds; true means "give up quietly".
        clock: monotonic seconds.

    Returns:
        How long it took, or None when ``pause`` said to give up.

    Raises:
        NotReadyError: time is over, or it is healthy but not the planned server.
    """
    started = clock()
    deadline = started + probe.timeout_s
    interval = FIRST_INTERVAL_S
    while True:
        seen = _health(probe, client)
        if seen is None:
            _check_world_size(probe, client)
            if probe.generate:
                _generate(probe, client, max(REQUEST_TIMEOUT_S, deadline - clock()))
            return Ready(clock() - started)
        if clock() >= deadline:
            raise NotReadyError(
                f"{probe.url}{probe.health_path}",
                f"not healthy after {probe.timeout_s:g} s ({seen})",
                f"{probe.advice}, or set a longer health.timeout_s",
            )
        if pause(min(interval, max(0.0, deadline - clock()))):
            return None
        interval = min(interval * 1.5, LONGEST_INTERVAL_S)


class BackgroundGate:
    """Runs :func:`wait_until_ready` beside the event loop.

    Attributes:
        fd: readable when the gate has a result.
    """

    def __init__(self, probe: Probe) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC)
        self._given_up = threading.Event()
        self._outcome: Ready | Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(probe,), daemon=True, name="gate")
        self._thread.start()

    def result(self) -> Ready:
        """The result, once ``fd`` is readable.

        Raises:
            NotReadyError: see :func:`wait_until_ready`.
        """
        if isinstance(self._outcome, Exception):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    def give_up(self) -> None:
        """Stop polling; a request under way ends on its own. Calling it again is harmless."""
        self._given_up.set()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _run(self, probe: Probe) -> None:
        try:
            self._outcome = self._poll(probe)
        except Exception as error:  # handed to the loop, which raises it
            self._outcome = error
        finally:
            os.close(self._write)

    def _poll(self, probe: Probe) -> Ready | None:
        import httpx

        # Proxies of the environment must not stand between two halves of one machine.
        with httpx.Client(trust_env=False, timeout=REQUEST_TIMEOUT_S) as client:
            return wait_until_ready(probe, client, self._given_up.wait)


def _health(probe: Probe, client: httpx.Client) -> str | None:
    """None when healthy, else what was seen."""
    import httpx

    try:
        status = client.get(f"{probe.url}{probe.health_path}").status_code
    except httpx.HTTPError as error:
        return type(error).__name__
    return None if status == _READY else f"status {status}"


def _check_world_size(probe: Probe, client: httpx.Client) -> None:
    import httpx

    url = f"{probe.url}{probe.world_size_path}"
    try:
        answer = client.get(url)
        answer.raise_for_status()
        world_size = answer.json()["world_size"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise NotReadyError(
            url,
            f"no world size ({type(error).__name__}), this is no rollout server of ms-swift",
            "stop what listens there or change rlhf.vllm_server_port",
        ) from None
    if world_size != probe.world_size:
        raise NotReadyError(
            url,
            f"says {world_size}, but TP x DP is {probe.world_size}: this is another server",
            "stop it, or change rlhf.vllm_server_port",
        )


def _generate(probe: Probe, client: httpx.Client, timeout_s: float) -> None:
    import httpx

    url = f"{probe.url}{probe.generate_path}"
    try:
        answer = client.post(url, json=dict(probe.generate_request), timeout=timeout_s)
        failure = None if answer.status_code == _READY else f"status {answer.status_code}"
    except httpx.HTTPError as error:
        failure = type(error).__name__
    if failure:
        raise NotReadyError(
            url,
            f"healthy, but no token comes back ({failure})",
            "look at the server's log: the engine is dead or stuck",
        )
