"""What reads a script: where it is, what it knows, and what it notes."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from grpo_launch.bash.directories import below, within
from grpo_launch.bash.script import About, Call, Redirect, Remark, Value, held, joined
from grpo_launch.bash.state import State, Variable, file_of, merged
from grpo_launch.bash.syntax import HERE, Node, Source, short
from grpo_launch.bash.traps import normalised
from grpo_launch.errors import ConfigError

MOST_STEPS = 20_000
"""Statements that are followed before a script is called endless."""

LONGEST_VALUE = 100_000
"""Characters of a value that is followed."""


class FatalError(Exception):
    """The shell itself ends here: ``${X:?message}``, an unset variable under ``set -u``."""


class EndlessError(Exception):
    """More statements than anybody follows."""


@dataclass
class Capture:
    """What a command substitution prints.

    Attributes:
        values: what its commands wrote.
        is_known: whether all of them are understood.
    """

    values: list[Value] = field(default_factory=list)
    is_known: bool = True


@dataclass
class Frame:
    """A loop, a function, or a sourced file that is being walked.

    Attributes:
        left: the states in which it was left early (``break``, ``return``).
        next_round: the states in which a loop goes on (``continue``).
    """

    left: list[State] = field(default_factory=list)
    next_round: list[State] = field(default_factory=list)


@dataclass(frozen=True)
class Context:
    """What holds for all commands of a part of the script; see ``Call`` for most.

    Attributes:
        tested: whether ``set -e`` does not look at its status.
        capture: where its output goes, in a command substitution.
        stdin: what it reads, where that is known.
        depth: of functions, sourced files and evaluated texts around it.
        loops: that it stands in, the innermost last.
        function: that it stands in, or a sourced file.
        subshell: that ``exit`` ends.
        shells: see ``Call``.
    """

    redirects: tuple[Redirect, ...] = ()
    background: bool = False
    piped: bool = False
    teed: tuple[Value, ...] = ()
    repeated: bool = False
    tested: bool = False
    capture: Capture | None = None
    stdin: Value | None = None
    depth: int = 0
    loops: tuple[Frame, ...] = ()
    function: Frame | None = None
    subshell: Frame | None = None
    shells: tuple[int, ...] = ()


@dataclass
class Record:
    """What is noted on the way, for the whole script.

    Attributes:
        calls: see ``Script``.
        remarks: see ``Script``.
        defaults: see ``Script``.
        decided: see ``Script``.
        is_placed: see ``Script``.
        steps: how many statements were followed.
        shells: how many subshells and other shells were followed.
        substituted: the status of the last command substitution, where there was one.
        last: the line, the last line and the program of the last call.
    """

    calls: list[Call] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    defaults: dict[str, Value] = field(default_factory=dict)
    decided: dict[str, str] = field(default_factory=dict)
    is_placed: bool = False
    steps: int = 0
    shells: int = 0
    substituted: list[int | None] = field(default_factory=list)
    last: tuple[int, int, str] | None = None


@dataclass
class Shell:
    """One reader of one script.

    Attributes:
        source: the text that is being walked.
        state: what is known here.
        context: what holds here.
        record: what was noted.
        walk: walks statements in order; whether the script goes on behind them.
        load: the bytes of a sourced file, or None.
        start: the directory that the script is started in, absolute, or ``HERE``.
        shown: what the script is called in messages.
        decided: what variables hold to which the script assigns what nobody knows.
        ways: by line of the script itself, whether its conditions hold that nobody knows.
    """

    source: Source
    state: State
    walk: Callable[[Shell, Sequence[Node]], bool]
    load: Callable[[str], bytes | None]
    start: str = HERE
    shown: str = ""
    decided: Mapping[str, Variable] = field(default_factory=dict)
    ways: Mapping[int, bool] = field(default_factory=dict)
    context: Context = field(default_factory=Context)
    record: Record = field(default_factory=Record)

    def remark(self, node: Node, what: str, about: About = About.UNREAD) -> None:
        """Note something about a node, once."""
        line = self.source.line_of(node)
        self.remark_line(line, self.source.shown(node), what, about)

    def remark_line(self, line: int, text: str, what: str, about: About = About.UNREAD) -> None:
        """Note something about a line, once."""
        name, calls = self.source.name, len(self.record.calls)
        remark = Remark(line, short(text), what, about, file=name, calls=calls)
        if remark not in self.record.remarks:
            self.record.remarks.append(remark)

    def place(self, path: Value) -> str | None:
        """A file as seen from where the script starts; None: nobody knows which."""
        known = within(self.state.cwd, path).known
        return None if known is None else posixpath.normpath(below(known, self.start))

    def write(self, path: Value, text: Value | None) -> None:
        """Note that a file is written; None: nobody knows what it then holds."""
        place = self.place(path)
        if place is not None and not place.startswith("/dev/"):
            self.state.files = {**self.state.files, place: text or file_of(place)}

    def written(self, place: str | None) -> Value | None:
        """What the script has written into a file; None: nothing."""
        return None if place is None else held(self.state.files, place)

    def text_of(self, path: str) -> bytes | None:
        """What a file holds, its lines ending with a line feed; None: nobody knows.

        What its bytes show that is probably not meant is noted.
        """
        written = self.written(path)
        if written is not None:
            return None if written.known is None else written.known.encode(errors="replace")
        data = self.load(path)
        if data is None:
            return None
        try:
            text, remarks = normalised(data, path)
        except ConfigError:
            return None
        calls = len(self.record.calls)
        for remark in remarks:
            noted = replace(remark, file=path, calls=calls)
            if noted not in self.record.remarks:
                self.record.remarks.append(noted)
        return text

    def step(self) -> None:
        """Count a statement.

        Raises:
            EndlessError: it is one too many.
        """
        self.record.steps += 1
        if self.record.steps > MOST_STEPS:
            raise EndlessError

    @contextmanager
    def within(self, **changes: object) -> Generator[None]:
        """A part of the script in which something else holds."""
        before = self.context
        self.context = replace(before, **changes)  # pyright: ignore[reportArgumentType]
        try:
            yield
        finally:
            self.context = before

    @contextmanager
    def reading(self, source: Source) -> Generator[None]:
        """A part that stands in another text."""
        before = self.source
        self.source = source
        try:
            yield
        finally:
            self.source = before

    def directory(self) -> Value:
        """What ``pwd`` prints."""
        return within(joined(self.start), self.state.cwd)

    def join(self, states: Sequence[State]) -> bool:
        """Go on behind several ways; whether there is one."""
        if not states:
            return False
        state = states[0]
        for other in states[1:]:
            state = merged(state, other)
        self.state = state
        for name, given in self.decided.items() if len(states) > 1 else ():
            variable = state.variables.get(name)
            if variable is not None and variable.differs:
                state.variables[name] = replace(variable, value=given.value)
                self.record.decided[name] = str(given.value or "")
        return True
