"""Execute a run in the background, with the files that ``nohup`` scripts leave.

    logs/nohup_<tag>_<YYYYmmdd_HHMMSS>.log    the supervisor's output
    logs/nohup_<tag>_<YYYYmmdd_HHMMSS>.pid    its pid
    logs/nohup_<tag>_<YYYYmmdd_HHMMSS>.exit   the exit status, once the run has ended
    logs/nohup_<tag>_latest.{log,pid,exit}    relative links to those of the newest

The time is UTC. The directory is that of the working directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path

from grpo_launch.backends import background
from grpo_launch.backends.prepared import Prepared
from grpo_launch.base import atomic
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.supervise import guard, spawn
from grpo_launch.supervise.process import RunPaths, orders

DIRECTORY = "logs"
_ENDINGS = ("log", "exit", "pid")
_KEEPER = "keeper"


def check(prepared: Prepared) -> None:
    """Check the tag.

    Raises:
        ConfigError: it cannot be a part of a file's name.
    """
    if not prepared.tag or "/" in prepared.tag or "\0" in prepared.tag:
        what = f"{prepared.tag!r} cannot be a part of a file's name"
        raise ConfigError("launch.tag", what, "use letters, digits, - and _")


def start(prepared: Prepared) -> int:
    """Start the supervisor, which ignores SIGHUP; prints its pid and six paths.

    Returns:
        0, once the supervisor has taken over.

    Raises:
        PreflightError: it did not, or the files cannot be written.
    """
    try:
        names = _reserve(prepared)
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
        latest = _point_latest(prepared, names)
    except OSError as error:  # the run goes on without them
        print(f"warning: {error.filename}: cannot be written ({error.strerror})", file=sys.stderr)
    print(f"pid {pid}")
    for path in (*names.values(), *latest):
        print(path.relative_to(prepared.cwd))
    return 0


def _reserve(prepared: Prepared) -> dict[str, Path]:
    """The three files of a name that nobody else has; the log exists from now on."""
    directory = prepared.cwd / DIRECTORY
    directory.mkdir(exist_ok=True)
    base = f"nohup_{prepared.tag}_{time.strftime('%Y%m%d_%H%M%S', time.gmtime(prepared.now))}"
    number = 1
    while True:
        name = base if number == 1 else f"{base}_{number}"
        # Not with_suffix: a tag may hold a dot.
        paths = {ending: directory / f"{name}.{ending}" for ending in _ENDINGS}
        number += 1
        if paths["exit"].exists() or paths["pid"].exists():
            continue
        with contextlib.suppress(FileExistsError):
            os.close(os.open(paths["log"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            return paths


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
    paths = RunPaths(str(prepared.run), str(exit_file))
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


def _point_latest(prepared: Prepared, names: dict[str, Path]) -> list[Path]:
    """Point the three links at the files of a run that has started."""
    directory = prepared.cwd / DIRECTORY
    links = [directory / f"nohup_{prepared.tag}_latest.{ending}" for ending in names]
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Of two starts at once, all three links lead to the same.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for link, target in zip(links, names.values(), strict=True):
            fresh = directory / f".{link.name}.{os.getpid()}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(target.name)
            fresh.replace(link)
    finally:
        os.close(descriptor)
    return links
