"""Why a process of a run failed: the last exception in its log, in one line.

What stands before the lines of a traceback, and which exceptions only tell that another process
failed, is said by the plan (``Signs``). Standard library only: the supervisor imports it.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.base import redaction, resources
from grpo_launch.base.tailing import Tail
from grpo_launch.base.terminal import SEQUENCE
from grpo_launch.errors import one_line
from grpo_launch.plan import Signs
from grpo_launch.runs import plans

_BYTES = 256 * 1024
"""Of a log's end that are read."""

_LONGEST_LINE = 2000
_LONGEST = 300
"""Characters of an exception that are told."""

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'\s+File "([^"]+)", line (\d+)')
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?::(?: .*)?)?")
_NAMED = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit): \S.*")
"""An exception whose traceback was left out."""

_OF_LIBRARIES = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python\d[\d.]*[/\\]|^<")
_ASKED_FOR = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM))
"""Signals that end a Python program without a traceback of its own."""


@dataclass(frozen=True)
class Raised:
    """An exception of a log.

    Attributes:
        text: its type and message, one line.
        frames: file and line of each frame, the innermost last.
        at: the number of its line in the log.
        stream: what stood before its lines; each process of several has its own.
    """

    text: str
    frames: tuple[tuple[str, int], ...]
    at: int
    stream: str


def why(log: Path, signs: Signs, status: int, cwd: Path, hidden: Sequence[str]) -> str:
    """Why the process failed that wrote ``log``; see :func:`why_in`."""
    return why_in(end_of(log), signs, status, cwd, hidden)


def end_of(log: Path) -> bytes:
    """What a log ends with, as much as tells why its process failed."""
    end = Tail(log)
    end.skip(_BYTES)
    return end.read()


def why_in(end: bytes, signs: Signs, status: int, cwd: Path, hidden: Sequence[str]) -> str:
    """Why a process failed, to follow its status; empty where nothing tells.

    Args:
        end: of its log, see :func:`end_of`.
        signs: what its plug-in knows of its logs.
        status: its exit status, 128 + N for signal N.
        cwd: the user's working directory; paths below it are told relative to it.
        hidden: texts that are shown as stars.

    Returns:
        ``rewards/mine.py:5 TypeError: ...``, or the name of the signal that ended it.
    """
    if status - 128 in _ASKED_FOR:
        return signal.Signals(status - 128).name
    text = redaction.masked(SEQUENCE.sub("", end.decode("utf-8", "replace")), hidden)
    if found := exception(text, signs):
        where = _place(found.frames, cwd)
        said = found.text if len(found.text) <= _LONGEST else f"{found.text[:_LONGEST]}..."
        return one_line(f"{where} {said}" if where else said)
    return _signal(status)


def exception(text: str, signs: Signs) -> Raised | None:
    """The exception that a log ends with.

    Of several processes that write into one log, each with its own mark before its lines, the
    first that failed is the one: the others fail because of it.
    """
    streams = _streams(text, plans.pattern(signs.prefix))
    last: list[Raised] = []
    for name, lines in streams.items():
        told = [found for found in _raised(lines, name) if not _wraps(found.text, signs)]
        last += told[-1:]
    marked = [found for found in last if found.stream]
    if marked:
        return min(marked, key=lambda found: found.at)
    if last:
        return last[-1]
    named = [Raised(line, (), at, "") for at, line in streams.get("", ()) if _NAMED.match(line)]
    return next((found for found in reversed(named) if not _wraps(found.text, signs)), None)


_Lines = list[tuple[int, str]]


def _streams(text: str, prefix: re.Pattern[str] | None) -> dict[str, _Lines]:
    """The numbered lines of a log by what stands before them."""
    streams: dict[str, _Lines] = {"": []}
    for number, whole in enumerate(text.split("\n")):
        line = whole.rstrip("\r").rpartition("\r")[2][:_LONGEST_LINE]
        # A progress bar may stand before the first line of a traceback.
        look = prefix and (prefix.search if line.endswith(_TRACEBACK) else prefix.match)
        mark = look(line) if look else None
        name = mark[mark.lastindex or 0].strip() if mark else ""
        streams.setdefault(name, []).append((number, line[mark.end() :] if mark else line))
    return streams


def _raised(lines: _Lines, stream: str) -> Iterator[Raised]:
    """The exceptions whose tracebacks stand in the lines of one process."""
    frames: list[tuple[str, int]] | None = None
    indent = 0  # of a traceback in an exception group
    for number, line in lines:
        begins = line.find(_TRACEBACK)
        if begins != -1:
            frames, indent = [], begins if not line[:begins].strip(" |+-") else 0
        elif frames is not None:
            inner = line[indent:] if not line[:indent].strip(" |") else line
            if frame := _FRAME.match(inner):
                frames.append((frame[1], int(frame[2][:9])))
            elif frames and _EXCEPTION.fullmatch(inner.rstrip()):
                yield Raised(" ".join(inner.split()), tuple(frames), number, stream)
                frames = None


def _wraps(text: str, signs: Signs) -> bool:
    return any(word in text for word in signs.wrappers)


def _place(frames: Sequence[tuple[str, int]], cwd: Path) -> str:
    """The last frame in the user's own files, else in no library, else of all."""
    here, shipped = f"{cwd}{os.sep}", f"{resources.path('engines')}{os.sep}"
    others = [f for f in frames if not _OF_LIBRARIES.search(f[0]) and not f[0].startswith(shipped)]
    own = [f for f in others if f[0].startswith(here) or not Path(f[0]).is_absolute()]
    for path, line in (own or others or frames)[-1:]:
        return f"{path.removeprefix(here)}:{line}"
    return ""


def _signal(status: int) -> str:
    try:
        return signal.Signals(status - 128).name
    except ValueError:
        return ""
