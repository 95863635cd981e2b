"""Execute a run in a terminal of its own: the session ``train_<run>`` of tmux.

The tmux server is no child of this process and has an environment of its own, for
everybody to read. So the session starts a small program (``handover.py``) that gets
the caller's environment and the port locks over a socket, and becomes the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass

from grpo_launch.backends import background, handover
from grpo_launch.backends.prepared import Prepared
from grpo_launch.errors import PreflightError
from grpo_launch.settle import locks
from grpo_launch.supervise import spawn

PREFIX = "train_"

_NEEDS = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMUX", "TMUX_TMPDIR", "USER")
"""What tmux gets of the caller's environment: a new server hands it to all its sessions."""

_PATIENCE_S = 60.0
"""How long the started program may take to come for its orders; a busy machine needs seconds."""


def session(prepared: Prepared) -> str:
    """The session's name; tmux has a meaning of its own for a dot, a colon, a slash."""
    return PREFIX + re.sub(r"[^\w-]", "_", prepared.name, flags=re.ASCII)


def check(prepared: Prepared) -> None:
    """Check that the session can be made.

    Raises:
        PreflightError: there is no tmux, or the session exists.
    """
    tmux = _Tmux.of(prepared)
    if tmux.run("has-session", "-t", f"={tmux.session}").returncode == 0:
        raise tmux.exists()


def start(prepared: Prepared) -> int:
    """Start the supervisor in a session; prints how to attach to it.

    Returns:
        0, once the supervisor has taken over.

    Raises:
        PreflightError: it did not.
    """
    tmux = _Tmux.of(prepared)
    try:
        with _listening() as (listener, path):
            pane = tmux.begin(spawn.program("grpo_launch.backends.handover", path))
            with tmux.ended_on_failure():
                connection = _accept(listener, pane, tmux)
                _hand_over(connection, prepared, tmux)
                tmux.let_go()
    except PreflightError as error:
        background.note_failure(prepared, str(error))
        raise
    print(f"tmux attach -t {tmux.session}", flush=True)
    print(f"started {prepared.plan.run_dir} in a session of tmux", file=sys.stderr)
    print(f"stop it: grpo-runs stop {prepared.name}", file=sys.stderr)
    return 0


@dataclass(frozen=True)
class _Tmux:
    """The caller's tmux and the session's name in it."""

    executable: str
    session: str
    environ: dict[str, str]

    @staticmethod
    def of(prepared: Prepared) -> _Tmux:
        executable = shutil.which("tmux", path=prepared.environ.get("PATH"))
        if executable is None:
            fix = "install it, or use launch=detached"
            raise PreflightError("launch=tmux", "tmux is not on PATH", fix)
        environ = prepared.environ
        kept = {k: v for k, v in environ.items() if k in _NEEDS or k.startswith("LC_")}
        return _Tmux(executable, session(prepared), kept)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.executable, *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def begin(self, command: list[str]) -> int:
        """Start ``command`` in a new session, detached; the pid of its pane."""
        size = shutil.get_terminal_size((120, 40))
        made = self.run(
            *("new-session", "-d", "-P", "-F", "#{pane_pid}", "-s", self.session),
            *("-x", str(size.columns), "-y", str(size.lines), "--", *command),
        )
        if made.returncode != 0 and "duplicate session" in made.stderr:
            raise self.exists()
        if made.returncode != 0:
            what = f"tmux made no session ({made.stderr.strip() or made.returncode})"
            raise PreflightError("launch=tmux", what, "see to it, or use launch=detached")
        # What a program that fails at start says can be read then.
        self._remain("on")
        return int(made.stdout)

    def let_go(self) -> None:
        """Let the session end with its program.

        Not the option's value ``failed``: tmux 3.3 sometimes misses the end of the
        program and then keeps the session for ever.
        """
        self._remain("off")
        dead = self.run("display-message", "-p", "-t", f"={self.session}:", "#{pane_dead}")
        if dead.stdout.strip() == "1":  # between the two
            self.run("kill-session", "-t", f"={self.session}")

    def _remain(self, value: str) -> None:
        self.run("set-option", "-w", "-t", f"={self.session}:", "remain-on-exit", value)

    def exists(self) -> PreflightError:
        what = f"the session {self.session} exists"
        fix = f"look at it with 'tmux attach -t {self.session}', or end it"
        return PreflightError("launch=tmux", what, fix)

    def did_not_start(self) -> PreflightError:
        """The error for a session whose program ended too early."""
        shown = self.run("capture-pane", "-p", "-t", f"={self.session}:").stdout.strip()
        print(shown, file=sys.stderr)
        what = f"the supervisor in the session {self.session} ended before it took over"
        return PreflightError("launch=tmux", what, "its last lines are above")

    @contextlib.contextmanager
    def ended_on_failure(self) -> Generator[None]:
        """End a session that nobody was told of."""
        try:
            yield
        except BaseException:
            self.run("kill-session", "-t", f"={self.session}")
            raise


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


def _accept(listener: socket.socket, pane: int, tmux: _Tmux) -> socket.socket:
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


def _hand_over(connection: socket.socket, prepared: Prepared, tmux: _Tmux) -> None:
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
