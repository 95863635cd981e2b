"""A session of the caller's tmux."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.errors import PreflightError
from grpo_launch.settle.prepared import Prepared

PREFIX = "train_"

_NEEDS = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMUX", "TMUX_TMPDIR", "USER")
"""What tmux gets of the caller's environment: a new server hands it to all its sessions."""


def name_of(prepared: Prepared) -> str:
    """The session's name; tmux has a meaning of its own for a dot, a colon, a slash."""
    return PREFIX + re.sub(r"[^\w-]", "_", prepared.name, flags=re.ASCII)


def new(session: str, command: Sequence[str]) -> list[str]:
    """The arguments of tmux that start ``command`` in a new session and print its pane's pid."""
    size = shutil.get_terminal_size((120, 40))
    return [
        *("new-session", "-d", "-P", "-F", "#{pane_pid}", "-s", session),
        *("-x", str(size.columns), "-y", str(size.lines), "--", *command),
    ]


@dataclass(frozen=True)
class Session:
    """The caller's tmux and the session's name in it."""

    executable: str
    session: str
    environ: dict[str, str]

    @staticmethod
    def of(prepared: Prepared) -> Session:
        """The session of a run.

        Raises:
            PreflightError: there is no tmux.
        """
        executable = shutil.which("tmux", path=prepared.environ.get("PATH"))
        if executable is None:
            fix = "install it, or use launch=detached"
            raise PreflightError("launch=tmux", "tmux is not on PATH", fix)
        environ = prepared.environ
        kept = {k: v for k, v in environ.items() if k in _NEEDS or k.startswith("LC_")}
        return Session(executable, name_of(prepared), kept)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run tmux, with what it needs of the caller's environment."""
        return subprocess.run(
            [self.executable, *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def is_there(self) -> bool:
        """Whether the session exists; asking makes no directory for tmux's socket."""
        base = self.environ.get("TMUX_TMPDIR") or "/tmp"  # noqa: S108 (tmux's own default)
        if "TMUX" not in self.environ and not Path(base, f"tmux-{os.geteuid()}").exists():
            return False
        return self.run("has-session", "-t", f"={self.session}").returncode == 0

    def begin(self, command: Sequence[str]) -> int:
        """Start ``command`` in a new session, detached; the pid of its pane."""
        made = self.run(*new(self.session, command))
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
        """The error for a session that is there already."""
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
