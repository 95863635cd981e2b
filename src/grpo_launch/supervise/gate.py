"""The gate: the learner waits until the rollout server really works.

``/health/`` alone lies: it answers while the engine is dead, and a stranger's
server answers it as well. So the port must be held by the process that was
started, the world size must be right, and on request one token is generated.

It runs as a program of its own beside the supervisor (:func:`main`), which keeps
no HTTP client in memory while the training goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from grpo_launch.errors import NotReadyError
from grpo_launch.plan import LaunchPlan, Probe
from grpo_launch.supervise import proc, sockets
from grpo_launch.supervise.guard import CONTROL
from grpo_launch.supervise.neighbours import Neighbours, ThisMachine

if TYPE_CHECKING:
    import httpx

FIRST_INTERVAL_S = 0.05
LONGEST_INTERVAL_S = 0.25
REQUEST_TIMEOUT_S = 2.0
"""For the cheap requests; a generation may take as long as the gate itself."""

_LONGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read; more is no answer of a rollout server."""

_MOVED_INTERVAL_S = 2.0
"""How often a server that does not answer is looked for on other ports."""

_OK = 200


@dataclass(frozen=True)
class Ready:
    """The server passed every probe.

    Attributes:
        seconds: how long the gate waited.
        run: the run that the server belongs to, where it is not this one and known.
    """

    seconds: float
    run: str | None = None


def wait_until_ready(
    probe: Probe,
    client: httpx.Client,
    neighbours: Neighbours,
    pause: Callable[[float], bool],
    clock: Callable[[], float] = time.monotonic,
) -> Ready | None:
    """Poll a rollout server until it is ready.

    Args:
        probe: what to ask.
        client: an HTTP client that does not follow redirects or use proxies.
        neighbours: who listens where; asked only for a server of this machine.
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
    looked = started
    while True:
        seen = _health(probe, client)
        run = _check_owner(probe, neighbours) if seen is None else None
        seen = seen or _check_world_size(probe, client)
        if seen is None:
            if probe.generate:
                generate(probe, client, max(REQUEST_TIMEOUT_S, deadline - clock()))
            return Ready(clock() - started, run)
        last = clock() >= deadline
        if last or clock() - looked >= _MOVED_INTERVAL_S:
            looked = clock()
            _check_moved(probe, client, neighbours)
        if last:
            raise NotReadyError(
                f"{probe.url}{probe.health_path}",
                f"not healthy after {probe.timeout_s:g} s ({seen})",
                f"{probe.advice}, or set a longer health.timeout_s",
            )
        if pause(min(interval, max(0.0, deadline - clock()))):
            return None
        interval = min(interval * 1.5, LONGEST_INTERVAL_S)


def generate(probe: Probe, client: httpx.Client, timeout_s: float) -> None:
    """Ask for one token.

    Raises:
        NotReadyError: none came back; ``TimeoutError`` is its cause where the server
            only took longer than ``timeout_s`` seconds.
    """
    import httpx

    url = f"{probe.url}{probe.generate_path}"
    cause: Exception | None = None
    try:
        status, _ = _ask(client, "POST", url, probe.generate_request, timeout_s)
        failure = None if status == _OK else f"status {status}"
    except httpx.HTTPError as error:
        failure = type(error).__name__
        cause = TimeoutError() if isinstance(error, httpx.TimeoutException) else None
    if failure:
        raise NotReadyError(
            url,
            f"healthy, but no token comes back ({failure})",
            "look at the server's log: the engine is dead or stuck",
        ) from cause


def main() -> None:
    """Answer one question of the supervisor on its socket, as a line of JSON.

    ``sys.argv[1]``: ``{"probe": ..., "guard": pid or 0, "only_generate_s": null or
    seconds}``. The answer: ``{"ready": seconds, "run": name or null}``, or
    ``{"failed": [where, what, fix], "timed_out": bool}``.
    """
    import httpx

    question = json.loads(sys.argv[1])
    probe = Probe(**question["probe"])
    answer: dict[str, Any] | None = None
    # Proxies of the environment must not stand between two halves of one machine.
    with httpx.Client(trust_env=False, timeout=REQUEST_TIMEOUT_S) as client:
        try:
            if question["only_generate_s"]:
                generate(probe, client, question["only_generate_s"])
                answer = {"ready": 0.0, "run": None}
            elif ready := wait_until_ready(
                probe, client, ThisMachine(probe, question["guard"]), _pause
            ):
                answer = {"ready": ready.seconds, "run": ready.run}
        except NotReadyError as error:
            timed_out = isinstance(error.__cause__, TimeoutError)
            answer = {"failed": [error.where, error.what, error.fix], "timed_out": timed_out}
    if answer is not None:
        with contextlib.suppress(OSError):  # nobody wants to know any more
            os.write(CONTROL, json.dumps(answer).encode() + b"\n")


def _pause(seconds: float) -> bool:
    """Wait; true as soon as the supervisor is gone or has lost interest."""
    return bool(select.select([CONTROL], [], [], seconds)[0])


def _ask(
    client: httpx.Client, method: str, url: str, body: Any = None, timeout_s: float | None = None
) -> tuple[int, bytes]:
    """Status and body of an answer that is no longer than it may be, in time and bytes."""
    import httpx

    seconds = REQUEST_TIMEOUT_S if timeout_s is None else timeout_s
    deadline = time.monotonic() + seconds
    content = b""
    with client.stream(method, url, json=body, timeout=seconds) as answer:
        for chunk in answer.iter_raw():  # with a size it would collect drops up to it
            content += chunk
            # An endless answer that comes drop by drop never runs into a timeout of its own.
            if len(content) > _LONGEST_ANSWER or time.monotonic() > deadline:
                raise httpx.ReadTimeout("the answer does not end", request=answer.request)
        return answer.status_code, content


def _health(probe: Probe, client: httpx.Client) -> str | None:
    """None when healthy, else what was seen."""
    import httpx

    try:
        status, _ = _ask(client, "GET", f"{probe.url}{probe.health_path}")
    except httpx.HTTPError as error:
        return type(error).__name__
    return None if status == _OK else f"status {status}"


def _check_owner(probe: Probe, neighbours: Neighbours) -> str | None:
    """The run that the listening process belongs to, where it is another one of ours."""
    port = urlsplit(probe.url).port or 80
    pid = neighbours.listener(port)
    if pid is None:
        user = neighbours.user(port)
        if neighbours.is_ours(0) is False and user not in (None, os.geteuid()):
            raise NotReadyError(
                probe.url,
                f"is answered by a process of the user with id {user}, not by the started server",
                "change rlhf.vllm_server_port",
            )
        # A process of this user that /proc hides: another container with this network.
        hidden = user is not None and neighbours.is_ours(0) is False
        if hidden and not neighbours.ours_hide():
            raise NotReadyError(
                probe.url,
                "is answered by a process that cannot be seen from here, not by the started server",
                "look into other containers on this network, or change rlhf.vllm_server_port",
            )
        return None
    run = sockets.run_of(pid)
    ours = neighbours.is_ours(pid)
    if ours:
        return None
    if ours is False:
        of = f" of the run {run}" if run else ""
        raise NotReadyError(
            probe.url,
            f"is answered by pid {pid} ({proc.command(pid)[:120]}){of}, not by the started server",
            "stop that process or change rlhf.vllm_server_port",
        )
    if run is None:
        return None
    model = _model_of(run)
    if model is not None and model != probe.model:
        raise NotReadyError(
            probe.url,
            f"serves {model} (run {run}), but the learner trains {probe.model}",
            "stop that run or change rlhf.vllm_server_port",
        )
    return str(run)


def _model_of(run: Path) -> str | None:
    """The model that the server of a run was started with."""
    try:
        plan = LaunchPlan.from_json((run / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return next((gate.model for gate in plan.gates), None) if plan.servers else None


def _check_moved(probe: Probe, client: httpx.Client, neighbours: Neighbours) -> None:
    """A busy port is no error to ``swift rollout``: it serves on the next free one."""
    import dataclasses

    address = urlsplit(probe.url)
    wanted = address.port or 80
    for port in neighbours.our_ports():
        url = f"{address.scheme}://{address.hostname}:{port}"
        if port == wanted or _health(dataclasses.replace(probe, url=url), client) is not None:
            continue
        pid = neighbours.listener(wanted)
        holder = f": pid {pid} ({proc.command(pid)[:120]}) holds {wanted}" if pid else ""
        raise NotReadyError(
            probe.url,
            f"the server moved to port {port}, the learner would never find it{holder}",
            "free the port or change rlhf.vllm_server_port",
        )


def _check_world_size(probe: Probe, client: httpx.Client) -> str | None:
    """None when it is right, else why no answer came; a busy server may answer late."""
    import httpx

    url = f"{probe.url}{probe.world_size_path}"
    try:
        status, body = _ask(client, "GET", url)
        if status != _OK:
            raise ValueError(f"status {status}")
        world_size = json.loads(body)["world_size"]
    except httpx.TransportError as error:
        return type(error).__name__
    except (ValueError, KeyError, TypeError) as error:
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
    return None
