"""What a script would do, as data: the commands that it calls, and what was not understood.

A value is known or not: ``"out/" + $(date)`` is a text and an unknown behind it. Nothing here knows
an engine; ``importing`` looks for launches among the calls.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Kind(str, Enum):
    """Why a part of a value is not known before the script runs."""

    VARIABLE = "variable"  # of the caller's environment, or set by something that is not understood
    POSITIONAL = "positional"  # an argument that was not given
    COMMAND = "command"  # what a command prints: $(date), $(nvidia-smi ...)
    FILE = "file"  # what names of files match, what a file holds
    BRANCH = "branch"  # differs between branches of a condition that nobody knows
    OTHER = "other"


@dataclass(frozen=True)
class Unknown:
    """A part of a value that is known only when the script runs.

    Attributes:
        kind: why.
        text: as the script says it: ``$(date +%F)``, ``${SLURM_NODEID}``.
        name: of the variable or positional, where it is one, or in which it was kept first.
        deciders: the caller's variables in the condition that decides, where branches differ.
        lines: of conditions that decide, and that none of these variables does.
        quoted: in a word of a command, whether it stays within one word whatever it is.
    """

    kind: Kind
    text: str
    name: str = ""
    deciders: tuple[str, ...] = field(default=(), compare=False)
    lines: tuple[int, ...] = field(default=(), compare=False)
    quoted: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Value:
    """A word after expansion.

    Attributes:
        parts: texts and unknowns, to be joined; two texts never stand side by side, none is empty.
    """

    parts: tuple[str | Unknown, ...] = ()

    @property
    def known(self) -> str | None:
        """The text, or None where a part is unknown."""
        if any(isinstance(part, Unknown) for part in self.parts):
            return None
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def unknowns(self) -> tuple[Unknown, ...]:
        """The parts that are not known."""
        return tuple(part for part in self.parts if isinstance(part, Unknown))

    def __str__(self) -> str:
        """For people: unknown parts as the script says them."""
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)


def joined(*values: Value | Unknown | str) -> Value:
    """One value of several, one behind the other."""
    parts: list[str | Unknown] = []
    for value in values:
        for part in value.parts if isinstance(value, Value) else (value,):
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            elif part != "":
                parts.append(part)
    return Value(tuple(parts))


@dataclass(frozen=True)
class Redirect:
    """Where a command's input comes from or its output goes.

    Attributes:
        operator: ``<``, ``>``, ``>>``, ``&>``, ``2>`` is operator ``>`` with descriptor 2.
        target: the file, or the number of a descriptor.
        descriptor: None where none is said.
    """

    operator: str
    target: Value
    descriptor: int | None = None


@dataclass(frozen=True)
class Condition:
    """A condition that decides whether a call happens, and that nobody knows before it runs.

    Attributes:
        line: where it stands.
        text: as the script says it: ``[ -d ckpt ]``; of an ``else``: ``not ...``.
        names: of the variables and positionals in it that are not known.
    """

    line: int
    text: str
    names: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Call:
    """A simple command that the script would run; builtins that were followed are none.

    Attributes:
        line: of its first word, the first line being 1.
        end: of its last word.
        words: expanded and split; the first is the program. Wrappers (``nohup``, ``env``,
            ``srun``) are words as any other.
        environ: the variables that it gets from the script: exports, and prefixes over them.
        prefixes: names of those of ``environ`` that stand before the command itself.
        cwd: where it runs; ``.`` is where the script was started.
        background: whether the script goes on meanwhile (``&``).
        redirects: in their order.
        conditions: that all must hold; those known to hold are left out. Behind them those of the
            caller's variables without which ``set -e`` ends the script before.
        piped: whether its output goes into another command (not what ``tee`` writes).
        teed: the files that a ``tee`` behind it writes.
        repeated: whether it stands in a loop whose rounds are not known.
        stdin: what it reads, of a here-document or a here-string.
        file: the sourced file that ``line`` counts in; empty: the script itself.
        unset: variables of the caller that the script takes from it.
        shells: the subshells and other shells that it runs in, the outermost first, by number.
        written: files that the script has written before, as seen from where it starts, with what
            they hold.
    """

    line: int
    end: int
    words: tuple[Value, ...]
    environ: Mapping[str, Value] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    cwd: Value = Value((".",))
    background: bool = False
    redirects: tuple[Redirect, ...] = ()
    conditions: tuple[Condition, ...] = ()
    piped: bool = False
    teed: tuple[Value, ...] = ()
    repeated: bool = False
    stdin: Value | None = None
    file: str = ""
    unset: tuple[str, ...] = ()
    shells: tuple[int, ...] = ()
    written: Mapping[str, Value] = field(default_factory=dict, compare=False)

    def written_to(self, path: str) -> Value | None:
        """What the script has written into a file before; None: nothing."""
        return held(self.written, posixpath.normpath(posixpath.join(str(self.cwd), path)))


def held(written: Mapping[str, Value], path: str) -> Value | None:
    """What was written into a file, or into a directory above it; None: nothing."""
    at = path
    while at not in ("", ".", "/"):
        if at in written:
            return written[at]
        at = posixpath.dirname(at)
    return None


class About(str, Enum):
    """What a remark is about."""

    UNREAD = "unread"  # something that was not understood: what it does is not known
    TRAP = "trap"  # the script is probably wrong: a missing backslash, a carriage return
    WRONG = "wrong"  # a trap for sure: what bash does is not what the script is read as
    COMMENT = "comment"  # a command that is commented out
    END = "end"  # nothing behind it runs
    LEFT = "left"  # what is left out, and has another place
    FILE = "file"  # a file that was read now, and that the script would read then


@dataclass(frozen=True)
class Remark:
    """Something that the reader of the script should know.

    Attributes:
        line: where, the first line being 1.
        text: what stands there, one line, shortened.
        what: what was not understood, or what it does that nobody would expect; one line.
        about: what it is about.
        file: the sourced file that ``line`` counts in; empty: the script itself.
        calls: how many of the script's calls happen before it, and cannot depend on it.
    """

    line: int
    text: str
    what: str
    about: About = About.UNREAD
    file: str = ""
    calls: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Script:
    """What was read.

    Attributes:
        name: of the file, for messages.
        calls: in the order in which they would happen.
        remarks: by line.
        defaults: variables whose ``${X:-default}`` was taken, as the caller may have set them; at
            most other variables of the caller are unknown in it.
        decided: variables for whose computed value another one was taken.
        is_placed: whether it looks where it lies itself.
    """

    name: str
    calls: Sequence[Call]
    remarks: Sequence[Remark]
    defaults: Mapping[str, Value] = field(default_factory=dict)
    decided: Mapping[str, str] = field(default_factory=dict)
    is_placed: bool = False
