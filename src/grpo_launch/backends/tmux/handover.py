"""The program that a session of tmux starts: it gets its orders, then becomes the supervisor."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from grpo_launch.backends.supervisor import become
from grpo_launch.runs.record import PRIVATE

_OF_THE_TERMINAL = ("TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TMUX", "TMUX_PANE")
_OF_ANOTHER = ("COLUMNS", "LINES")
_DESCRIPTORS = 64


@dataclass(frozen=True)
class Orders:
    """What the program is told; secrets travel here, over a socket.

    Attributes:
        run: the run directory, absolute.
        cwd: the working directory.
        environ: the caller's environment.
    """

    run: str
    cwd: str
    environ: dict[str, str]


def send(connection: socket.socket, orders: Orders, descriptors: Sequence[int]) -> None:
    """Give the program at the other end its orders.

    Args:
        connection: to the program.
        orders: what it is told.
        descriptors: the pipe of ``supervisor.command``, then the port locks.

    Raises:
        OSError: it has gone.
    """
    socket.send_fds(connection, [b"\n"], descriptors)
    connection.sendall(json.dumps(asdict(orders)).encode())
    connection.shutdown(socket.SHUT_WR)


def main() -> None:
    """Get orders from the socket ``sys.argv[1]``, and become the supervisor.

    Raises:
        OSError: nobody listens there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(sys.argv[1])
        _, (ready, *held), _, _ = socket.recv_fds(connection, 1, _DESCRIPTORS)
        with connection.makefile("rb") as text:
            orders = Orders(**json.load(text))
    os.umask(PRIVATE)
    os.chdir(orders.cwd)
    terminal = {key: os.environ[key] for key in _OF_THE_TERMINAL if key in os.environ}
    environ = {k: v for k, v in orders.environ.items() if k not in _OF_ANOTHER} | terminal
    # The session closes with its program, and with it the last lines of a run that failed.
    become(Path(orders.run), environ, held, ready, lingers=True)
