"""Execute a run in the background, with the files that ``nohup`` scripts leave.

    logs/nohup_<tag>_<YYYYmmdd_HHMMSS>.log    the supervisor's output
    logs/nohup_<tag>_<YYYYmmdd_HHMMSS>.pid    its pid
    logs/nohup_<tag>_<YYYYmmdd_HHMMSS>.exit   the exit status, once the run has ended
    logs/nohup_<tag>_latest.{log,pid,exit}    relative links to those of the newest

The time is UTC. The directory is that of the working directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

from grpo_launch.backends import background, local
from grpo_launch.backends.base import Capabilities
from grpo_launch.backends.local import cancel as cancel
from grpo_launch.backends.nohup import files
from grpo_launch.backends.supervisor import command
from grpo_launch.base import atomic
from grpo_launch.config.problem import Problem
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.settle.prepared import Prepared
from grpo_launch.supervise import guard, spawn
from grpo_launch.supervise.process import RunPaths, orders

CAPABILITIES = Capabilities(detached=True)

_KEEPER = "keeper"


def check(prepared: Prepared) -> Iterator[Problem]:
    """Check the tag.

    Raises:
        ConfigError: it cannot be a part of a file's name.
    """
    if not prepared.tag or "/" in prepared.tag or "\0" in prepared.tag:
        what = f"{prepared.tag!r} cannot be a part of a file's name"
        raise ConfigError("launch.tag", what, "use letters, digits, - and _")
    yield from ()


def render(prepared: Prepared) -> str:
    """The plan, the command that would supervise it, and its files."""
    names = files.paths(Path(files.DIRECTORY), files.base(prepared.tag))
    words = shlex.join(command(prepared.run, prepared.cwd / names["exit"]))
    facts = [
        ("command", f"nohup {words} >> {names['log']} 2>&1 < /dev/null &"),
        *((ending, str(path)) for ending, path in names.items()),
        ("latest", f"{files.DIRECTORY}/{files.latest(prepared.tag)}.{{{','.join(names)}}}"),
        ("follow", local.follow(prepared)),
        ("stop", local.stop(prepared)),
    ]
    title = "launch=nohup: a supervisor in the background executes this, SIGHUP is ignored"
    return local.rendered(prepared, title, facts)


def start(prepared: Prepared) -> int:
    """Start the supervisor, which ignores SIGHUP; prints its pid and six paths.

    Returns:
        0, once the supervisor has taken over.

    Raises:
        PreflightError: it did not, or the files cannot be written.
    """
    try:
        names = files.reserve(prepared)
        _link_the_log(prepared, names["log"])
        with _kept(prepared, names["log"], names["exit"]) as keeper:
            pid = background.supervise(
                prepared,
                names["log"],
                exit_file=names["exit"],
                keep=(keeper,),
                ignores_hangup=True,
            )
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        failure = PreflightError(str(error.filename), what, "change to another directory")
        background.note_failure(prepared, str(failure))
        raise failure from None
    latest: list[Path] = []
    try:
        atomic.write(names["pid"], f"{pid}\n")
        latest = files.point_latest(prepared, names)
    except OSError as error:  # the run goes on without them
        print(f"warning: {error.filename}: cannot be written ({error.strerror})", file=sys.stderr)
    print(f"pid {pid}")
    for path in (*names.values(), *latest):
        print(path.relative_to(prepared.cwd))
    return 0


def _link_the_log(prepared: Prepared, log: Path) -> None:
    """The run's log of the launcher is that of nohup."""
    link = prepared.run / background.LOG
    link.symlink_to(os.path.relpath(log, link.parent))


@contextlib.contextmanager
def _kept(prepared: Prepared, log: Path, exit_file: Path) -> Generator[int]:
    """A guard beside the supervisor, for the times at which the run has no other.

    Until the first process and between two attempts nobody else would write the exit
    status of a supervisor that was killed. It is no child of the supervisor, which so
    leaves it alone.

    Yields:
        The descriptor that the supervisor keeps: its closing is the supervisor's end.
    """
    names = tuple(spec.name for spec in prepared.plan.of_attempt)
    paths = RunPaths(str(prepared.run), str(exit_file), names=names)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            spawn.spawn(
                spawn.program("grpo_launch.supervise.guard", bare=True),
                {**prepared.environ, guard.GUARD_MARK: f"{prepared.run}:{_KEEPER}"},
                [
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), guard.CONTROL),
                    # The caller's pipe must not stay open for as long as the run.
                    (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_APPEND, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
            )
        deadlines = prepared.plan.deadlines
        told = orders(_KEEPER, None, prepared.environ, paths, deadlines, None)
        ours.sendall(json.dumps(told).encode() + b"\n")
        yield ours.fileno()


def describe(prepared: Prepared) -> list[str]:
    """How to follow and to stop it."""
    return [f"follow it: {local.follow(prepared)}", f"stop it:   {local.stop(prepared)}"]
