"""Execute a run in a terminal of its own: the session ``train_<run>`` of tmux.

The tmux server is no child of this process and has an environment of its own, for
everybody to read. So the session starts a small program (``handover.py``) that gets
the caller's environment and the port locks over a socket, and becomes the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import socket
from collections.abc import Generator, Iterator

from grpo_launch.backends import background, local
from grpo_launch.backends.base import Capabilities
from grpo_launch.backends.local import cancel as cancel
from grpo_launch.backends.tmux import handover, session
from grpo_launch.backends.tmux.session import Session
from grpo_launch.config.problem import Problem
from grpo_launch.errors import PreflightError
from grpo_launch.settle.prepared import Prepared
from grpo_launch.supervise import locks, spawn

CAPABILITIES = Capabilities(detached=True)

_PATIENCE_S = 60.0
"""How long the started program may take to come for its orders; a busy machine needs seconds."""


def check(prepared: Prepared) -> Iterator[Problem]:
    """There is a tmux, and no session of that name."""
    try:
        tmux = Session.of(prepared)
    except PreflightError as error:
        yield Problem.of(error)
        return
    if tmux.is_there():
        yield Problem.of(tmux.exists())


def render(prepared: Prepared) -> str:
    """The plan, and the session that would execute it."""
    name = session.name_of(prepared)
    words = session.new(name, _program("SOCKET"))
    facts = {
        "session": name,
        "command": shlex.join(["tmux", *words]),
        "attach": _attach(name),
        "stop": local.stop(prepared),
    }
    title = "launch=tmux: a supervisor in a session of tmux executes this"
    return local.rendered(prepared, title, facts.items())


def start(prepared: Prepared) -> int:
    """Start the supervisor in a session; prints how to attach to it.

    Returns:
        0, once the supervisor has taken over.

    Raises:
        PreflightError: it did not.
    """
    tmux = Session.of(prepared)
    try:
        with _listening() as (listener, path):
            pane = tmux.begin(_program(path))
            with tmux.ended_on_failure():
                connection = _accept(listener, pane, tmux)
                _hand_over(connection, prepared, tmux)
                tmux.let_go()
    except PreflightError as error:
        background.note_failure(prepared, str(error))
        raise
    print(_attach(tmux.session), flush=True)
    return 0


def describe(prepared: Prepared) -> list[str]:
    """How to stop it."""
    return [
        f"started {prepared.plan.run_dir} in a session of tmux",
        f"stop it: {local.stop(prepared)}",
    ]


def _program(path: str) -> list[str]:
    """The command of the session: it gets its orders from the socket ``path``."""
    return spawn.program("grpo_launch.backends.tmux.handover", path)


def _attach(name: str) -> str:
    return f"tmux attach -t {name}"


@contextlib.contextmanager
def _listening() -> Generator[tuple[socket.socket, str]]:
    """A socket that only this user can connect to, and its path."""
    path = locks.directory() / f"tmux-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        path.unlink(missing_ok=True)
        try:
            listener.bind(str(path))
        except OSError as error:  # 107 bytes are the most (unix(7))
            what = f"no socket can be made there ({error})"
            raise PreflightError(str(path), what, "use launch=detached") from None
        stack.callback(path.unlink, missing_ok=True)
        listener.listen()
        yield listener, str(path)


def _accept(listener: socket.socket, pane: int, tmux: Session) -> socket.socket:
    """Wait for the program in the pane."""
    with contextlib.ExitStack() as stack:
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        with contextlib.suppress(ProcessLookupError):
            process = os.pidfd_open(pane)
            stack.callback(os.close, process)
            poller.register(process, select.POLLIN)
            ready = {fd for fd, _ in poller.poll(_PATIENCE_S * 1000)}
            if listener.fileno() in ready:
                return listener.accept()[0]
    raise tmux.did_not_start()


def _hand_over(connection: socket.socket, prepared: Prepared, tmux: Session) -> None:
    """Give the program its orders and wait until it has become the supervisor."""
    orders = handover.Orders(str(prepared.run), str(prepared.cwd), dict(prepared.environ))
    reading, ready = os.pipe()
    try:
        with connection:
            try:
                handover.send(connection, orders, (ready, *prepared.held))
            except OSError:
                raise tmux.did_not_start() from None
            finally:
                os.close(ready)
        if not os.read(reading, 1):
            raise tmux.did_not_start()
    finally:
        os.close(reading)
