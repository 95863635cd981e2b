"""``grpo-runs logs``: what the processes of a run wrote, and what they go on to write."""

from __future__ import annotations

import contextlib
import json
import select
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.errors import ConfigError, one_line
from grpo_launch.monitor import living, masking, planned
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.detail import LAUNCHER, attempts
from grpo_launch.monitor.lines import LogReader
from grpo_launch.monitor.view import goes_on, view
from grpo_launch.monitor.words import and_
from grpo_launch.plan import called
from grpo_launch.planning import marks
from grpo_launch.runs import find

PERIOD_S = 0.2
"""How often a followed log is looked at."""


Part = tuple[int, int]
"""Attempt and iteration that a log is of; where there are none, 0 and -1."""


@dataclass(frozen=True)
class Line:
    """One line of a log.

    Attributes:
        process: its name in the plan, or ``launcher``.
        attempt: the attempt that wrote it; None for the launcher, which sees them all.
        text: the line, fit for a terminal.
        iteration: of a loop in which it began; None: it is of no loop.
    """

    process: str
    attempt: int | None
    text: str
    iteration: int | None = None

    @classmethod
    def of(cls, process: str, part: Part, text: str) -> Line:
        """A line of the log of a process."""
        attempt, iteration = part
        return cls(process, attempt or None, text, None if iteration < 0 else iteration)


@dataclass(frozen=True)
class Wanted:
    """What is to be printed.

    Attributes:
        process: whose log: a name of the plan, ``launcher``, or ``server`` for all of
            ``server_0``, ``server_1``, ...; None: those of all processes.
        lines: how many of the last lines of each.
        attempt: of which attempt; None: the newest, and those that follow it.
        follow: go on until the run has ended.
    """

    process: str | None = None
    lines: int = 10
    attempt: int | None = None
    follow: bool = False


def run(context: Context, word: str, wanted: Wanted, *, as_json: bool) -> int:
    """Print the last lines, and with ``follow`` all that come until the run has ended.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: the word means no run, or several; or there is no such log.
    """
    found = find.one(word, context.root, context.cwd)
    logs = Logs(found.directory, wanted)
    if not logs.are_there() and not (wanted.follow and goes_on(found)):
        raise _no_such_log(found, wanted, logs.known)
    show = _as_json(context) if as_json else _as_text(context)
    last_look = False
    while True:
        for line in logs.read():
            show(line)
        if last_look or not wanted.follow:
            break
        # What was written before the end is read once more after it.
        last_look = not goes_on(found) or logs.has_passed()
        if not last_look:
            _pause(context)
    for line in logs.rest():
        show(line)
    if wanted.follow and not logs.has_passed():
        context.say(f"{found.name}: {_end(found)}")
    return 0


class Logs:
    """The logs of a run, attempt after attempt.

    Args:
        directory: the run directory.
        wanted: what to read of them.

    Attributes:
        known: the processes of the plan.
    """

    def __init__(self, directory: Path, wanted: Wanted) -> None:
        known = planned.read(directory)
        self.known = known.logged
        self._is_loop = known.plan.loop is not None
        self._directory = directory
        self._wanted = wanted
        self._readers: dict[tuple[str, Part], LogReader] = {}

    def are_there(self) -> bool:
        """Whether any wanted log exists."""
        return any(
            self._path(name, part).is_file()
            for name in self._names()
            for part in self._parts(name)[-1:]
        )

    def has_passed(self) -> bool:
        """Whether the wanted attempt has been followed by another."""
        wanted, there = self._wanted.attempt, attempts(self._directory)
        return wanted is not None and bool(there) and there[-1] > wanted

    def read(self) -> Iterator[Line]:
        """The lines that are new; at first the last ones of the newest attempt."""
        for name in self._names():
            parts = self._parts(name)
            if not any(known == name for known, _ in self._readers):
                parts = parts[-1:]
            for part in parts:
                yield from self._of(name, part)

    def rest(self) -> Iterator[Line]:
        """The lines that have no end."""
        for (name, part), reader in self._readers.items():
            for text in reader.rest():
                yield Line.of(name, part, text)

    def _of(self, name: str, part: Part) -> Iterator[Line]:
        begun = self._begun(name)
        if begun and part < begun[0]:
            return
        reader = self._readers.get((name, part))
        if reader is None:
            if not self._path(name, part).is_file():
                return
            for earlier in begun:  # nobody will end its last line
                for text in self._readers[name, earlier].rest():
                    yield Line.of(name, earlier, text)
            reader = LogReader(self._path(name, part), masking.hidden(self._directory))
            self._readers[name, part] = reader
            if not begun:
                reader.skip_to_last(self._wanted.lines)
        for text in reader.read():
            yield Line.of(name, part, text)

    def _begun(self, name: str) -> list[Part]:
        """The logs of a process that are being read."""
        return [part for known, part in self._readers if known == name]

    def _names(self) -> list[str]:
        """The processes whose logs are wanted."""
        word = self._wanted.process
        if word == LAUNCHER:
            return [LAUNCHER]
        return [name for name in self.known if word in (None, name) or _is_one_of(word, name)]

    def _parts(self, name: str) -> list[Part]:
        """The logs of a process, the newest last."""
        if name == LAUNCHER:
            return [(0, -1)]
        if self._is_loop:
            return self._of_loop(name)
        there = attempts(self._directory)
        wanted = self._wanted.attempt
        return [(n, -1) for n in there if wanted in (None, n)]

    def _of_loop(self, name: str) -> list[Part]:
        """Each stage of a loop has its log in its iteration; a link leads to the newest."""
        wanted, link = self._wanted.attempt, self._directory / "logs" / f"{name}.log"
        if wanted is None:
            with contextlib.suppress(OSError, ValueError):
                newest = _part(link.readlink())
                return sorted({*self._begun(name), newest})
        of_attempt = f"attempt_{'*' if wanted is None else wanted}"
        every: list[Part] = []
        for path in self._directory.glob(f"iterations/*/logs/{of_attempt}/{name}.log"):
            with contextlib.suppress(ValueError):
                every.append(_part(path))
        return sorted(every)

    def _path(self, name: str, part: Part) -> Path:
        attempt, iteration = part
        if name == LAUNCHER:
            return self._directory / "logs" / f"{LAUNCHER}.log"
        above = self._directory
        if iteration >= 0:
            above = above / "iterations" / marks.directory(iteration)
        return above / "logs" / f"attempt_{attempt}" / f"{name}.log"


def _part(path: Path) -> Part:
    """What a log ``iterations/0002/logs/attempt_1/NAME.log`` is of.

    Raises:
        ValueError: it has no such path.
    """
    iteration, _, attempt = path.parts[-4:-1]
    return int(attempt.removeprefix("attempt_")), int(iteration)


def _as_text(context: Context) -> Callable[[Line], None]:
    """Prints lines below headings that say whose they are."""
    before: list[tuple[str, int | None, int | None]] = []

    def show(line: Line) -> None:
        source = (line.process, line.attempt, line.iteration)
        if before != [source]:
            gap = "\n" if before else ""
            iteration = "" if line.iteration is None else f", iteration {line.iteration}"
            attempt = "" if line.attempt is None else f", attempt {line.attempt}"
            context.out(f"{gap}==> {line.process}{iteration}{attempt} <==")
            before[:] = [source]
        context.out(line.text)

    return show


def _as_json(context: Context) -> Callable[[Line], None]:
    """Prints each line as one line of JSON."""

    def show(line: Line) -> None:
        iteration = {} if line.iteration is None else {"iteration": line.iteration}
        body = {"process": line.process, "attempt": line.attempt, **iteration, "line": line.text}
        context.out(json.dumps(body, ensure_ascii=False))

    return show


def _pause(context: Context) -> None:
    """Wait a moment.

    Raises:
        BrokenPipeError: nobody reads what is printed any more (``| grep -m1 ready``).
    """
    poller = select.poll()
    try:
        poller.register(context.stdout.fileno(), 0)
    except (OSError, ValueError):
        context.sleep(PERIOD_S)
        return
    if poller.poll(PERIOD_S * 1000):
        raise BrokenPipeError


def _end(found: find.Found) -> str:
    """How a run ended, in words."""
    shown = view(found, living.Machine(), with_step=False)
    reason = shown.recorded.reason if shown.recorded else shown.problem
    return one_line(f"{shown.state}, {reason}" if reason else shown.state)


def _is_one_of(word: str | None, name: str) -> bool:
    """Whether ``name`` is one of several processes that ``word`` names together."""
    return name.startswith(f"{word}_") and name.removeprefix(f"{word}_").isdecimal()


def _no_such_log(found: find.Found, wanted: Wanted, known: Sequence[str]) -> ConfigError:
    there = attempts(found.directory)
    if wanted.attempt is not None and wanted.attempt not in there:
        known = and_([str(number) for number in there])
        fix = f"choose {known.replace(' and ', ' or ')}" if there else "look at run.json"
        return ConfigError("--attempt", f"{found.name} has no logs of {wanted.attempt}", fix)
    if wanted.process == LAUNCHER:
        what = "has no log of its launcher"
        return ConfigError(found.name, what, "look at the terminal that it was started in")
    word = wanted.process
    if word and not any(name == word or _is_one_of(word, name) for name in known):
        fix = f"choose {' or '.join([*known, LAUNCHER])}"
        return ConfigError(found.name, f"has no process {word}", fix)
    what = f"has no log of {and_([*map(called, (word,) if word else known)])} yet"
    return ConfigError(found.name, what, "say -f to wait for it, or look at run.json")
