"""Another bash that a command starts, behind what says how it goes on: ``env A=1 bash run.sh``."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from grpo_launch.bash import evaluation
from grpo_launch.bash.pieces import Field
from grpo_launch.bash.script import About, Redirect, Value, joined
from grpo_launch.bash.shell import Shell
from grpo_launch.bash.syntax import Node
from grpo_launch.bash.variables import assign, export, unset

Builtin = Callable[[Shell, Node, Sequence[Field], Sequence[Redirect]], "bool | None"]
"""Follows a builtin: whether the script goes on, or None where it is a call after all."""

_SHELLS = frozenset(
    f"{directory}{name}"
    for directory in ("", "/bin/", "/usr/bin/", "/usr/local/bin/")
    for name in ("bash", "sh")
)

_QUIET = ("nohup", "setsid")

_BEFORE = {
    **dict.fromkeys(_QUIET, ()),
    "env": ("-u", "--unset"),
    "time": ("-f", "-o", "--format", "--output"),
    "nice": ("-n", "--adjustment"),
    "stdbuf": ("-i", "-o", "-e"),
    "timeout": ("-s", "-k", "--signal", "--kill-after"),
}
"""Programs that start another one with the same words, with their options that take a word."""

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=")
_ELSEWHERE = ("srun", "sbatch", "mpirun", "mpiexec", "torchrun", "ssh", "pdsh")


def starts(name: str | None) -> bool:
    """Whether a word may begin a command that starts another bash by some other program."""
    return name is not None and posixpath.basename(name) in _BEFORE


def program(name: str | None) -> Builtin | None:
    """What follows a bash, or a script that is started by its path."""
    if name in _SHELLS:
        return evaluation.shell_command
    if name is not None and name.endswith(".sh") and "/" in name:
        return evaluation.script_file
    return None


def other_bash(
    shell: Shell, node: Node, fields: Sequence[Field], redirects: Sequence[Redirect]
) -> bool | None:
    """Another bash, behind what only says how it goes on; anything else is a call."""
    rest = list(fields)
    given: list[tuple[str, Value | None]] = []
    limit, is_quiet = "", True
    while rest and starts(rest[0].value.known):
        name = posixpath.basename(str(rest.pop(0).value))
        is_quiet = is_quiet and name in _QUIET
        while rest and (option := str(rest[0].value)).startswith("-"):
            rest.pop(0)
            value = str(rest.pop(0).value) if option in _BEFORE[name] and rest else ""
            if name == "env" and option in ("-u", "--unset"):
                given.append((value, None))
            elif name == "env":  # -i and the like
                return None
        while name == "env" and rest and (said := _assigned(rest[0].value)) is not None:
            given.append(said)
            rest.pop(0)
        if name == "timeout" and rest:
            limit = f"{name} {rest.pop(0).value}"
    run = program(rest[0].value.known) if rest else None
    is_text = len(rest) > 1 and re.fullmatch(r"-\w*c", str(rest[1].value))
    if run is None or (is_text and not is_quiet):
        return None
    before = shell.state.variables
    shell.state.variables = dict(before)
    for name, value in given:
        if value is None:
            unset(shell, name)
        else:
            assign(shell, name, value)
            export(shell, name)
    alive = run(shell, node, rest, redirects)
    shell.state.variables = before
    if alive is not None and limit:
        shell.remark(node, f"{limit} is left out: learner.timeout_s ends a training", About.LEFT)
    return alive


def _assigned(value: Value) -> tuple[str, Value] | None:
    first = value.parts[0] if value.parts else ""
    match = _ASSIGNMENT.match(first) if isinstance(first, str) else None
    if match is None or not isinstance(first, str):
        return None
    return match[1], joined(first[match.end() :], *value.parts[1:])


def unread(shell: Shell, fields: Sequence[Field]) -> str:
    """The script beside this one that a program starts elsewhere; empty: none."""
    texts = [field.value.known or "" for field in fields]
    for before, text in pairwise(texts):
        is_started = posixpath.basename(before) in ("bash", "sh") or texts[0] in _ELSEWHERE
        if is_started and text.endswith(".sh"):
            place = shell.place(joined(text))
            if place is not None and shell.load(place) is not None:
                return text
    return ""
