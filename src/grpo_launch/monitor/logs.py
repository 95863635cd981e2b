"""``grpo-runs logs``: what the processes of a run wrote, and what they go on to write."""

from __future__ import annotations

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
from grpo_launch.runs import find

PERIOD_S = 0.2
"""How often a followed log is looked at."""


@dataclass(frozen=True)
class Line:
    """One line of a log.

    Attributes:
        process: its name in the plan, or ``launcher``.
        attempt: the attempt that wrote it; None for the launcher, which sees them all.
        text: the line, fit for a terminal.
    """

    process: str
    attempt: int | None
    text: str


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
        self.known = planned.read(directory).names
        self._directory = directory
        self._wanted = wanted
        self._readers: dict[tuple[str, int], LogReader] = {}

    def are_there(self) -> bool:
        """Whether any wanted log exists."""
        return any(
            self._path(name, number).is_file()
            for name in self._names()
            for number in self._attempts(name)[-1:]
        )

    def has_passed(self) -> bool:
        """Whether the wanted attempt has been followed by another."""
        wanted, there = self._wanted.attempt, attempts(self._directory)
        return wanted is not None and bool(there) and there[-1] > wanted

    def read(self) -> Iterator[Line]:
        """The lines that are new; at first the last ones of the newest attempt."""
        for name in self._names():
            numbers = self._attempts(name)
            if not any(known == name for known, _ in self._readers):
                numbers = numbers[-1:]
            for number in numbers:
                yield from self._of(name, number)

    def rest(self) -> Iterator[Line]:
        """The lines that have no end."""
        for (name, number), reader in self._readers.items():
            for text in reader.rest():
                yield Line(name, number or None, text)

    def _of(self, name: str, number: int) -> Iterator[Line]:
        begun = [other for known, other in self._readers if known == name]
        if begun and number < begun[0]:
            return
        reader = self._readers.get((name, number))
        if reader is None:
            if not self._path(name, number).is_file():
                return
            for earlier in begun:  # nobody will end its last line
                for text in self._readers[name, earlier].rest():
                    yield Line(name, earlier, text)
            reader = LogReader(self._path(name, number), masking.hidden(self._directory))
            self._readers[name, number] = reader
            if not begun:
                reader.skip_to_last(self._wanted.lines)
        for text in reader.read():
            yield Line(name, number or None, text)

    def _names(self) -> list[str]:
        """The processes whose logs are wanted."""
        word = self._wanted.process
        if word == LAUNCHER:
            return [LAUNCHER]
        return [name for name in self.known if word in (None, name) or _is_one_of(word, name)]

    def _attempts(self, name: str) -> list[int]:
        if name == LAUNCHER:
            return [0]
        there = attempts(self._directory)
        wanted = self._wanted.attempt
        return there if wanted is None else [number for number in there if number == wanted]

    def _path(self, name: str, number: int) -> Path:
        if name == LAUNCHER:
            return self._directory / "logs" / f"{LAUNCHER}.log"
        return self._directory / "logs" / f"attempt_{number}" / f"{name}.log"


def _as_text(context: Context) -> Callable[[Line], None]:
    """Prints lines below headings that say whose they are."""
    before: list[tuple[str, int | None]] = []

    def show(line: Line) -> None:
        source = (line.process, line.attempt)
        if before != [source]:
            gap = "\n" if before else ""
            attempt = "" if line.attempt is None else f", attempt {line.attempt}"
            context.out(f"{gap}==> {line.process}{attempt} <==")
            before[:] = [source]
        context.out(line.text)

    return show


def _as_json(context: Context) -> Callable[[Line], None]:
    """Prints each line as one line of JSON."""

    def show(line: Line) -> None:
        body = {"process": line.process, "attempt": line.attempt, "line": line.text}
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
