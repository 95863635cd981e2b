"""Questions to a server, asked by a program beside the supervisor."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpo_launch.errors import NotReadyError
from grpo_launch.plan import Gate
from grpo_launch.supervise import guard, spawn


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    Attributes:
        seconds: how long the gate waited.
        run: the run of ours that the server belongs to, where it is another one.
        error: why the server is not ready, or None.
        timed_out: whether it only took too long.
    """

    seconds: float
    run: str | None
    error: NotReadyError | None
    timed_out: bool


class Probing:
    """One question under way.

    Attributes:
        fd: readable when there is an answer.
        pid: of the program that asks.
    """

    def __init__(
        self,
        gate: Gate,
        environ: Mapping[str, str],
        guard_pid: int = 0,
        only_generate_s: float | None = None,
        *,
        moves: bool = False,
    ) -> None:
        """Ask.

        Args:
            gate: what to ask.
            environ: the caller's environment.
            guard_pid: pid of the guard of the server that must own the port; 0: it was
                started elsewhere.
            only_generate_s: only ask for one token, for at most that many seconds.
            moves: whether the server may be on another port (see ``Signs``).

        Raises:
            OSError: the program cannot be started.
        """
        question = {
            "gate": dataclasses.asdict(gate),
            "guard": guard_pid,
            "moves": moves,
            "only_generate_s": only_generate_s,
        }
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.pid = spawn.spawn(
                spawn.program("grpo_launch.supervise.gate", json.dumps(question)),
                environ,
                [(os.POSIX_SPAWN_DUP2, theirs.fileno(), guard.CONTROL)],
            )
        self.fd = self._socket.fileno()
        self._is_there = True

    def answer(self) -> Answer:
        """The answer, once ``fd`` is readable."""
        data = b""
        while chunk := self._socket.recv(1 << 16):
            data += chunk
            if data.endswith(b"\n"):
                break
        if not data:
            error = NotReadyError("gate", "ended without an answer", "look above for its error")
            return Answer(0.0, None, error, timed_out=False)
        body: dict[str, Any] = json.loads(data)
        if "ready" in body:
            return Answer(body["ready"], body["run"], None, timed_out=False)
        return Answer(0.0, None, NotReadyError(*body["failed"]), body["timed_out"])

    def give_up(self) -> None:
        """Stop asking; calling it again is harmless."""
        self._socket.close()
        if self._is_there:  # not collected yet, so the pid is still its own
            os.kill(self.pid, signal.SIGKILL)

    def ended(self) -> None:
        """Note that the program was collected."""
        self._is_there = False
