"""Builtins that set variables to what they read: ``read``, ``mapfile``, ``getopts``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grpo_launch.bash import words
from grpo_launch.bash.pieces import Field, Piece, Role, delimiter, fields
from grpo_launch.bash.script import Kind, Redirect, Unknown, Value, joined
from grpo_launch.bash.shell import Shell
from grpo_launch.bash.state import State, Variable
from grpo_launch.bash.syntax import Node
from grpo_launch.bash.variables import assign

_OF_READ = "adnNptui"
_OF_MAPFILE = "dnOsuCc"
"""Options that take a value."""


def _options(
    arguments: Sequence[Field], with_value: str
) -> tuple[dict[str, str], list[str]] | None:
    """Options with their values, and names; None: they are not known."""
    texts = [argument.value.known for argument in arguments]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts) or any(argument.several for argument in arguments):
        return None
    options: dict[str, str] = {}
    while known and re.match(r"-[a-zA-Z]", known[0]):
        letters = known.pop(0)[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            options[letter] = ""
            if letter in with_value:
                options[letter] = letters or (known.pop(0) if known else "")
                letters = ""
    return options, known


def _not_known(name: str) -> Value:
    return joined(Unknown(Kind.OTHER, f"${{{name}}}", name))


def read(shell: Shell, node: Node, arguments: Sequence[Field], _: Sequence[Redirect]) -> bool:
    """``read``: known of a here-string or a here-document."""
    parsed = _options(arguments[1:], _OF_READ)
    shell.state.status = None
    if parsed is None:
        shell.remark(node, "which variables it sets is not known")
        return True
    options, names = parsed
    names = names or ["REPLY"]
    stdin = shell.context.stdin
    text = stdin.known if stdin is not None else None
    if text is None or set(options) - set("rads") or options.get("d", "") != "":
        text = None
    elif "d" not in options:
        text, newline, _rest = text.partition("\n")
        shell.state.status = 0 if newline else 1
    else:
        shell.state.status = 1
    if text is not None and "r" not in options and "\\" in text:
        text = None
    if text is None:
        shell.state.status = None
        for name in [options["a"]] if "a" in options else names:
            is_array = "a" in options
            variable = Variable(items={0: _not_known(name)}, several=True)
            if is_array:
                shell.state.variables[name] = variable
            elif name.isidentifier():
                assign(shell, name, _not_known(name))
        return True
    ifs = words.separators(shell)
    if "a" in options:
        found = fields([Piece(text, Role.EXPANDED)], ifs, glob=False)
        items: dict[int | str, Value] = {i: field.value for i, field in enumerate(found)}
        shell.state.variables[options["a"]] = Variable(items=items)
        return True
    for name, value in zip(names, _shared(text, ifs, len(names)), strict=True):
        assign(shell, name, joined(value))
    return True


def _shared(text: str, ifs: str, count: int) -> list[str]:
    """A line, split for so many names: the last gets the rest."""
    pattern = delimiter(ifs)
    blank = "".join(c for c in ifs if c in " \t\n")
    text = text.lstrip(blank) if blank else text
    text = text.rstrip(blank) if blank else text
    if pattern is None:
        return [text] + [""] * (count - 1)
    parts = pattern.split(text, maxsplit=count - 1) if count > 1 else [text]
    last = parts[-1]
    match = pattern.search(last)
    if len(parts) == count and match is not None and match.end() == len(last):
        parts[-1] = last[: match.start()]  # one delimiter at the end is none
    return parts + [""] * (count - len(parts))


def mapfile(shell: Shell, _: Node, arguments: Sequence[Field], __: Sequence[Redirect]) -> bool:
    """``mapfile``: an array of lines."""
    parsed = _options(arguments[1:], _OF_MAPFILE)
    options, names = parsed or ({"?": ""}, [])
    name = names[0] if names else "MAPFILE"
    stdin = shell.context.stdin
    text = stdin.known if stdin is not None else None
    shell.state.status = 0
    if text is None or set(options) - {"t"}:
        shell.state.variables[name] = Variable(items={0: _not_known(name)}, several=True)
        return True
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)
    values = [line.rstrip("\n") if "t" in options else line for line in lines]
    shell.state.variables[name] = Variable(items=dict(enumerate(joined(v) for v in values)))
    return True


def getopts(shell: Shell, node: Node, arguments: Sequence[Field], _: Sequence[Redirect]) -> bool:
    """``getopts``: the next option among the arguments."""
    state = shell.state
    texts = [argument.value.known for argument in arguments[1:]]
    if len(texts) != 2 or None in texts:
        shell.remark(node, "which options it takes is not known")
        state.status = None
        return True
    form, name = str(texts[0]), str(texts[1])
    index = state.variables.get("OPTIND", Variable(joined("1"))).scalar
    count = (index.known if index is not None else None) or ""
    at = int(count) if count.isdigit() else None
    values = state.positionals.values
    if at is None or state.positionals.several:
        for variable in (name, "OPTARG"):
            assign(shell, variable, _not_known(variable))
        state.status = None
        return True
    word = values[at - 1] if at <= len(values) else joined("")
    text = word.known
    if text is None and not str(word).startswith("-"):
        shell.remark(node, "an argument is not known: it counts as no option")
    if text is None or not re.match(r"-.", text) or text == "--":
        at += text == "--"
        _set(state, at, 0)
        assign(shell, name, joined("?"))
        state.status = 1
        return True
    letter_at = state.letter or 1
    letter, rest = text[letter_at], text[letter_at + 1 :]
    place = form.lstrip(":").find(letter)
    takes = place >= 0 and form.lstrip(":")[place + 1 : place + 2] == ":"
    argument: Value | None = None
    result = letter if place >= 0 and letter != ":" else "?"
    if takes:
        argument = joined(rest) if rest else values[at] if at < len(values) else None
        _set(state, at + (1 if rest else 2), 0)
        if argument is None:
            result = ":" if form.startswith(":") else "?"
            argument = joined(letter) if form.startswith(":") else None
    else:
        _set(state, at if rest else at + 1, letter_at + 1 if rest else 0)
        argument = joined(letter) if result == "?" and form.startswith(":") else None
    state.variables["OPTARG"] = Variable(argument)
    assign(shell, name, joined(result))
    state.status = 0
    return True


def _set(state: State, index: int, letter: int) -> None:
    state.variables["OPTIND"] = Variable(joined(str(index)))
    state.letter = letter
