"""The reloads of a run, in ``reload.jsonl`` of its directory: one JSON object a line.

A reload writes a line before it asks anything of a server, and one at its end. Where the second
is missing, the first was killed in between: what that server serves is not known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.base import codec, files
from grpo_launch.errors import PreflightError

NAME = "reload.jsonl"

BEGUN = "begun"
"""The server may have been asked; a line with the end follows."""

RELOADED = "reloaded"
"""The server has the new weights."""

REFUSED = "refused"
"""The weights do not fit; the server was asked for nothing and has its old ones."""

FAILED = "failed"
"""The server did not begin; it has its old weights, if it is there at all."""

RESTART = "restart"
"""What the server serves is not known, or it is dead: it must be restarted."""


@dataclass(frozen=True)
class Probed:
    """The answer to a greedy prompt.

    Attributes:
        tokens: as the engine names them.
        logprobs: of each, natural logarithms.
    """

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """What became of a reload; a line of the journal.

    Attributes:
        server: its name.
        path: the directory with the weights, absolute.
        version: the name that the server was to give them.
        mode: what became of requests in flight.
        time: when it began, seconds since the epoch.
        outcome: one of the constants above.
        digest: of the headers of the weights, see ``weights.Weights``.
        seconds: that requests had to wait; None: they had not.
        before, after: what the server answered; None: it was not asked.
        problems, warnings: a line each.
    """

    server: str
    path: str
    version: str
    mode: str
    time: float
    outcome: str = BEGUN
    digest: str = ""
    seconds: float | None = None
    before: Probed | None = None
    after: Probed | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """What is known of the weights of a server.

    Attributes:
        is_known: whether it serves whole weights, those of ``last`` or those of its start.
        last: the last reload that came to its end and changed the weights.
    """

    is_known: bool = True
    last: Result | None = None


@contextlib.contextmanager
def held(path: Path) -> Generator[None]:
    """Keep other reloads of the run out meanwhile.

    Raises:
        PreflightError: another one is under way.
        OSError: the lock cannot be made.
    """
    with open(path.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what, fix = "another reload of this run is under way", "wait for its end"
            raise PreflightError(str(path.parent), what, fix) from None
        yield


def append(path: Path, result: Result) -> None:
    """Add a line, which a power cut does not take back.

    Raises:
        OSError: it cannot be written.
    """
    line = json.dumps(dataclasses.asdict(result)).encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a line that was cut off
            line = b"\n" + line
        if os.write(descriptor, line) != len(line):
            raise OSError("the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def state(path: Path, server: str, since: float) -> State:
    """What is known of the weights of a server.

    Args:
        path: the journal.
        server: the server's name.
        since: when it was started, seconds since the epoch; earlier reloads do not count.

    Raises:
        OSError: the journal is there, but cannot be read.
    """
    known = State()
    is_open = False
    for result in _lines(path):
        if result.server != server or result.time < since:
            continue
        is_open = result.outcome == BEGUN
        if result.outcome in (RELOADED, RESTART):
            known = State(result.outcome == RELOADED, result)
    return dataclasses.replace(known, is_known=known.is_known and not is_open)


def _lines(path: Path) -> Iterator[Result]:
    try:
        content = files.read(path)
    except FileNotFoundError:
        return
    for line in content.splitlines():
        with contextlib.suppress(ValueError):  # a line that was cut off
            yield codec.decode(Result, codec.parse(line.decode("utf-8")), [])
