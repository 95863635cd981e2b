"""What may stand before a program: ``nohup``, ``env A=B``, ``conda run -n X``, ``uv run``.

A wrapper that only says how the script goes on is left out (the launcher supervises), one that
changes where the program runs becomes a setting or stays a part of the command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from grpo_launch.bash.script import Value, joined
from grpo_launch.importing.flags import shape

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=")

_PLAIN = {
    "nohup": frozenset[str](),
    "exec": frozenset({"-a"}),
    "command": frozenset[str](),
    "builtin": frozenset[str](),
    "setsid": frozenset[str](),
    "time": frozenset({"-f", "-o", "--format", "--output"}),
}
"""Wrappers that are left out, with their options that take a word."""

_KEPT = {
    "numactl": frozenset("-NmCpiP") | {"--cpunodebind", "--membind", "--physcpubind"},
    "taskset": frozenset[str](),
    "nice": frozenset({"-n", "--adjustment"}),
    "ionice": frozenset({"-c", "-n"}),
    "stdbuf": frozenset({"-i", "-o", "-e"}),
    "unbuffer": frozenset[str](),
    "timeout": frozenset({"-s", "-k", "--signal", "--kill-after"}),
    "srun": frozenset({"-N", "-n", "-c", "-w", "-p", "-J", "-o", "-e", "-t"}),
    "sudo": frozenset({"-u", "-g"}),
    "uv": frozenset({"--with", "--python", "-p", "--project", "--directory", "--extra"}),
    "poetry": frozenset[str](),
    "pixi": frozenset({"-e", "--environment"}),
    "rye": frozenset[str](),
    "pdm": frozenset[str](),
    "hatch": frozenset[str](),
}
"""Wrappers that stay before the program, with their options that take a word."""

_OPERANDS = {"taskset": 1, "timeout": 1}
"""Words that a wrapper takes before the program: a mask, a time."""

_STAYS = re.compile(
    r"-|-[0v]*i\w*|--ignore-environment|-C.*|--chdir(=.*)?|-S.*|--split-string(=.*)?"
)
"""Options of ``env`` with which it stays before the program: it does more than give variables."""

_SUBCOMMAND = frozenset({"uv", "poetry", "pixi", "rye", "pdm", "hatch"})
"""``uv run``."""


@dataclass(frozen=True)
class Unwrapped:
    """A command without what stands before it.

    Attributes:
        before: wrappers that stay.
        words: the program and its arguments.
        environ: variables that ``env`` gives it.
        unset: variables that ``env -u`` takes from it.
        conda: the environment of ``conda run``; empty: none.
        prefix: the directory of an environment, of ``conda run -p``; empty: none.
    """

    before: tuple[Value, ...]
    words: tuple[Value, ...]
    environ: Mapping[str, Value] = field(default_factory=dict[str, Value])
    unset: frozenset[str] = frozenset()
    conda: str = ""
    prefix: str = ""


def base(word: Value) -> str:
    """The base name of a word; empty where it is not known."""
    name = PurePath(shape(word)).name
    return "" if "?" in name else name


def unwrapped(words: Sequence[Value]) -> Unwrapped:
    """Take the wrappers off a command; the rest may be empty."""
    rest = [*words]
    before: list[Value] = []
    environ: dict[str, Value] = {}
    unset: set[str] = set()
    conda = prefix = ""
    while rest:
        name = base(rest[0])
        if name in _PLAIN:
            rest = rest[1 + _options(rest[1:], _PLAIN[name]) :]
        elif name == "env":
            behind = _environment(rest[1:], environ, unset)
            if any(_STAYS.fullmatch(shape(word)) for word in rest[1 : len(rest) - len(behind)]):
                before += rest[: len(rest) - len(behind)]
            rest = behind
        elif name in ("conda", "mamba", "micromamba") and _is(rest, 1, "run"):
            name, directory, behind = _conda(rest[2:])
            if name or directory:
                conda, prefix = name, directory
            else:  # not known, or with options of its own
                before += rest[: len(rest) - len(behind)]
            rest = behind
        elif name in _KEPT and (name not in _SUBCOMMAND or _is(rest, 1, "run")):
            count = 1 + (name in _SUBCOMMAND)
            count += _options(rest[count:], _KEPT[name]) + _OPERANDS.get(name, 0)
            if name == "taskset" and count < len(rest) and _is_option(rest, 1, "-c"):
                count = 3
            before += rest[:count]
            rest = rest[count:]
        else:
            break
    return Unwrapped(tuple(before), tuple(rest), environ, frozenset(unset), conda, prefix)


def _is(words: Sequence[Value], at: int, text: str) -> bool:
    return len(words) > at and words[at].known == text


def _is_option(words: Sequence[Value], at: int, begin: str) -> bool:
    return len(words) > at and (words[at].known or "").startswith(begin)


def _options(words: Sequence[Value], takes: frozenset[str]) -> int:
    """How many words at the beginning are options, with their values."""
    count = 0
    while count < len(words):
        text = shape(words[count])
        if not text.startswith("-") or text == "-":
            break
        count += 1
        if text == "--":
            break
        if text in takes or (len(text) == 2 and text[1:] in takes):
            count += 1
    return count


def _environment(words: Sequence[Value], environ: dict[str, Value], unset: set[str]) -> list[Value]:
    """What follows the options and assignments of ``env``, which are noted."""
    rest = [*words]
    while rest:
        first = rest[0].parts[0] if rest[0].parts else ""
        text = first if isinstance(first, str) else ""
        if text in ("-u", "--unset") and len(rest) > 1:
            unset.add(str(rest[1]))
            rest = rest[2:]
        elif text.startswith("-"):
            rest = rest[2 if text in ("-C", "--chdir", "-S", "--split-string") else 1 :]
        elif found := _ASSIGNMENT.match(text):
            value = joined(text[found.end() :], *rest[0].parts[1:])
            environ[found[1]] = value
            rest = rest[1:]
        else:
            break
    return rest


def _conda(words: Sequence[Value]) -> tuple[str, str, list[Value]]:
    """The name and the prefix of the environment, and the command.

    Both are empty where they are not known, or where an option says more than the environment.
    """
    said = {"-n": "", "-p": ""}
    is_plain = True
    rest = [*words]
    while rest and shape(rest[0]).startswith("-"):
        option, equals, value = shape(rest[0]).partition("=")
        short = {"--name": "-n", "--prefix": "-p"}.get(option, option)
        if short in said or option == "--cwd":
            text = value if equals else shape(rest[1]) if len(rest) > 1 else ""
            said[short] = text
            is_plain = is_plain and option != "--cwd" and "?" not in text
            rest = rest[1 if equals else 2 :]
        else:
            rest = rest[1:]
    return (said["-n"] if is_plain else ""), (said["-p"] if is_plain else ""), rest
