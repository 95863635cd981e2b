"""The gate: a job waits until a server really works.

A server's health alone lies: some answer 200 while their engine is dead, and a stranger's
server answers as well. So the plan lists what is asked (``HttpCheck``), and the port must
be held by the process that was started.

It runs as a program of its own beside the supervisor (:func:`main`), which keeps
no HTTP client in memory while the training goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from grpo_launch.base import codec
from grpo_launch.errors import NotReadyError
from grpo_launch.plan import SERVER, Gate
from grpo_launch.supervise import owner, proc
from grpo_launch.supervise.guard import CONTROL
from grpo_launch.supervise.neighbours import Neighbours, ThisMachine
from grpo_launch.supervise.questions import REQUEST_TIMEOUT_S, ask, generate

if TYPE_CHECKING:
    import httpx

FIRST_INTERVAL_S = 0.05
LONGEST_INTERVAL_S = 0.25
_MOVED_INTERVAL_S = 2.0
"""How often a server that does not answer is looked for on other ports."""


@dataclass(frozen=True)
class Ready:
    """The server passed every check.

    Attributes:
        seconds: how long the gate waited.
        run: the run that the server belongs to, where it is not this one and known.
    """

    seconds: float
    run: str | None = None


def wait_until_ready(
    gate: Gate,
    client: httpx.Client,
    neighbours: Neighbours,
    pause: Callable[[float], bool],
    clock: Callable[[], float] = time.monotonic,
    *,
    moves: bool = False,
) -> Ready | None:
    """Poll a server until it is ready.

    Args:
        gate: what to ask.
        client: an HTTP client that does not follow redirects or use proxies.
        neighbours: who listens where; asked only for a server of this machine.
        pause: waits that many seconds; true means "give up quietly".
        clock: monotonic seconds.
        moves: whether the server may be on another port.

    Returns:
        How long it took, or None when ``pause`` said to give up.

    Raises:
        NotReadyError: time is over, or it is healthy but not the planned server.
    """
    started = clock()
    deadline = started + gate.timeout_s
    interval = FIRST_INTERVAL_S
    looked = started
    while True:
        run, seen = None, None
        for check in gate.checks:
            if check.generates:
                generate(gate, check, client, max(REQUEST_TIMEOUT_S, deadline - clock()))
            elif seen := ask(gate, check, client):
                break
            if check is gate.checks[0]:
                run = owner.check(gate, neighbours)
        if seen is None:
            return Ready(clock() - started, run)
        last = clock() >= deadline
        if moves and (last or clock() - looked >= _MOVED_INTERVAL_S):
            looked = clock()
            _check_moved(gate, client, neighbours)
        if last:
            raise NotReadyError(
                f"{gate.url}{gate.checks[0].path}",
                f"{_whose(gate)}not healthy after {gate.timeout_s:g} s ({seen})",
                gate.advice,
            )
        if pause(min(interval, max(0.0, deadline - clock()))):
            return None
        interval = min(interval * 1.5, LONGEST_INTERVAL_S)


def main() -> None:
    """Answer one question of the supervisor on its socket, as a line of JSON.

    ``sys.argv[1]``: ``{"gate": ..., "guard": pid or 0, "moves": bool, "only_generate_s":
    null or seconds}``. The answer: ``{"ready": seconds, "run": name or null}``, or
    ``{"failed": [where, what, fix], "timed_out": bool}``.
    """
    import httpx

    question = json.loads(sys.argv[1])
    gate = codec.decode(Gate, question["gate"], [])
    answer: dict[str, Any] | None = None
    # Proxies of the environment must not stand between two processes of one machine.
    with httpx.Client(trust_env=False, timeout=REQUEST_TIMEOUT_S) as client:
        try:
            if question["only_generate_s"]:
                if gate.generation is not None:
                    generate(gate, gate.generation, client, question["only_generate_s"])
                answer = {"ready": 0.0, "run": None}
            elif ready := wait_until_ready(
                gate,
                client,
                ThisMachine(gate.url, question["guard"]),
                _pause,
                moves=question["moves"],
            ):
                answer = {"ready": ready.seconds, "run": ready.run}
        except NotReadyError as error:
            timed_out = isinstance(error.__cause__, TimeoutError)
            answer = {"failed": [error.where, error.what, error.fix], "timed_out": timed_out}
    if answer is not None:
        with contextlib.suppress(OSError):  # nobody wants to know any more
            os.write(CONTROL, json.dumps(answer).encode() + b"\n")


def _whose(gate: Gate) -> str:
    """The server's name in a message, where there are others."""
    return "" if gate.server == SERVER else f"{gate.server} is "


def _pause(seconds: float) -> bool:
    """Wait; true as soon as the supervisor is gone or has lost interest."""
    return bool(select.select([CONTROL], [], [], seconds)[0])


def _check_moved(gate: Gate, client: httpx.Client, neighbours: Neighbours) -> None:
    """A busy port is no error to some servers: they serve on the next free one."""
    address = urlsplit(gate.url)
    wanted = address.port or 80
    first = dataclasses.replace(gate.checks[0], otherwise="")
    for port in neighbours.our_ports():
        url = f"{address.scheme}://{address.hostname}:{port}"
        if port == wanted or ask(gate, first, client, url) is not None:
            continue
        pid = neighbours.listener(wanted)
        holder = f": pid {pid} ({proc.command(pid)[:120]}) holds {wanted}" if pid else ""
        raise NotReadyError(
            gate.url,
            f"the server moved to port {port}, the learner would never find it{holder}",
            f"free the port or {gate.elsewhere}",
        )
