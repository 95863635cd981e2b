"""Texts that are run as scripts: ``source``, ``eval``, ``bash -c``."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from grpo_launch.bash.pieces import Field
from grpo_launch.bash.script import Redirect, Unknown, Value, joined
from grpo_launch.bash.shell import Frame, Shell
from grpo_launch.bash.state import Positionals, State, Variable
from grpo_launch.bash.syntax import Node, Source, parse
from grpo_launch.bash.traps import of_dash
from grpo_launch.bash.ways import subshell
from grpo_launch.errors import ConfigError

_DEEPEST = 40
_OF_SH = re.compile(rb"#! ?/bin/sh\b")
_WRITTEN = "is written by the script itself before: what it then holds is not known"


def source(shell: Shell, node: Node, fields: Sequence[Field], _: Sequence[Redirect]) -> bool | None:
    """``source file``: walked where its text is given; else a call, and a remark."""
    path = fields[1].value if len(fields) > 1 else Value()
    place = shell.place(path)
    data = None
    if place is not None and shell.context.depth < _DEEPEST:
        data = shell.text_of(place)
    if place is None or data is None:
        what = "is not read: what it sets is not known"
        shell.remark(node, what if shell.written(place) is None else _WRITTEN)
        return None
    parsed = _parsed(shell, node, data, place)
    if parsed is None:
        return None
    before = shell.state.positionals
    if len(fields) > 2:
        several = any(field.several for field in fields[2:])
        shell.state.positionals = Positionals(tuple(f.value for f in fields[2:]), several=several)
    states = _walked(shell, parsed)
    for state in states if len(fields) > 2 else ():
        state.positionals = before
    return shell.join(states)


def _parsed(shell: Shell, node: Node, data: bytes, name: str, line: int = 0) -> Source | None:
    try:
        return parse(data, name, name or shell.shown, line)
    except ConfigError as error:
        shell.remark(node, f"does not parse: {error.what}")
        return None


def _walked(shell: Shell, parsed: Source) -> list[State]:
    frame = Frame()
    depth = shell.context.depth + 1
    inside = {"depth": depth, "stdin": None}
    if parsed.line == 0:
        inside |= {"function": frame}
    with shell.reading(parsed), shell.within(**inside):
        alive = shell.walk(shell, parsed.tree.get("Stmts") or [])
    return [*frame.left, *([shell.state] if alive else [])]


def evaluate(
    shell: Shell, node: Node, fields: Sequence[Field], _: Sequence[Redirect]
) -> bool | None:
    """``eval text``: walked where the text is known, but for parts that stay what they are."""
    values: list[Value | str] = []
    for index, field in enumerate(fields[1:]):
        values += [" "] if index else []
        values.append(field.value)
    value = joined(*values)
    if shell.context.depth > _DEEPEST and not _is_unknown(value):
        shell.remark(node, "evaluates itself too often")
        return None
    if (read := _text(shell, node, value, "evaluates")) is None:
        return None
    parsed, unknowns = read
    shell.state.variables |= unknowns
    shell.state.status = 0
    alive = shell.join(_walked(shell, parsed))
    for name in unknowns:
        shell.state.variables.pop(name, None)
    return alive


def _is_unknown(value: Value) -> bool:
    return value.parts != () and all(isinstance(part, Unknown) for part in value.parts)


def _text(
    shell: Shell, node: Node, value: Value, does: str
) -> tuple[Source, dict[str, Variable]] | None:
    """A text that the script has run, and variables for what of it is not known.

    Args:
        shell: gets a remark on what cannot be read.
        node: what has it run.
        value: the text.
        does: what the node does with it, for the remark.
    """
    if _is_unknown(value):
        shell.remark(node, f"{does} a text that is not known: what it does is not read")
        return None
    text, unknowns = _with_names(value)
    parsed = _parsed(shell, node, text.encode(), shell.source.name, shell.source.line_of(node))
    if parsed is None:
        return None
    if unknowns:
        shell.remark(node, f"{does} a text of which a part is not known: read as one word")
    return parsed, unknowns


def _with_names(value: Value) -> tuple[str, dict[str, Variable]]:
    """A text in which variables stand for what is not known."""
    text = ""
    unknowns: dict[str, Variable] = {}
    for part in value.parts:
        if isinstance(part, str):
            text += part
        else:
            name = f"_not_known_{len(unknowns)}"
            unknowns[name] = Variable(joined(part))
            text += f"${{{name}}}"
    return text, unknowns


def shell_command(
    shell: Shell, node: Node, fields: Sequence[Field], _: Sequence[Redirect]
) -> bool | None:
    """``bash -c text``, ``bash file``: walked as the process that it is.

    A file that is not given is a call.
    """
    rest = list(fields[1:])
    options: set[str] = set()
    while rest and re.fullmatch(r"-[a-z]+", rest[0].value.known or ""):
        letters = str(rest.pop(0).value.known)[1:]
        options |= set(letters) - {"o"}
        if "o" in letters and rest:
            long = rest.pop(0).value.known or ""
            options.add({"errexit": "e", "nounset": "u"}.get(long, long))
    if not rest or shell.context.depth > _DEEPEST:
        return None
    if "c" in options:
        read = _text(shell, node, rest[0].value, "runs")
        arguments = rest[1:] or [Field(joined("bash"))]
    else:
        read = _file(shell, node, rest[0].value)
        arguments = rest
    if read is None:
        return None
    if str(fields[0].value).endswith("sh") and not str(fields[0].value).endswith("bash"):
        _judge(shell, read[0])
    return _process(shell, *read, arguments, options - {"c", "l", "i", "x"})


def script_file(
    shell: Shell, node: Node, fields: Sequence[Field], _: Sequence[Redirect]
) -> bool | None:
    """``./file``: as :func:`shell_command`."""
    read = _file(shell, node, fields[0].value)
    if read is not None and _OF_SH.match(read[0].data):
        _judge(shell, read[0])
    return None if read is None else _process(shell, *read, fields, set())


def _judge(shell: Shell, parsed: Source) -> None:
    """Note what ``sh`` does not know."""
    calls = len(shell.record.calls)
    for remark in of_dash(parsed):
        if remark not in shell.record.remarks:
            shell.record.remarks.append(replace(remark, calls=calls))


def _file(shell: Shell, node: Node, path: Value) -> tuple[Source, dict[str, Variable]] | None:
    """A script that is run, where its text is given."""
    name = shell.place(path)
    if name is None or shell.context.depth > _DEEPEST:
        return None
    data = shell.text_of(name)
    if data is None:
        if shell.written(name) is not None:
            shell.remark(node, _WRITTEN)
        return None
    parsed = _parsed(shell, node, data, name)
    return None if parsed is None else (parsed, {})


def _process(
    shell: Shell,
    parsed: Source,
    unknowns: dict[str, Variable],
    arguments: Sequence[Field],
    options: Collection[str],
) -> bool:
    """Walk what another bash runs; what it exports stays its own.

    Args:
        shell: the reader.
        parsed: the text.
        unknowns: variables that stand for what of it is not known.
        arguments: ``$0`` and the others.
        options: that are on.
    """

    def run() -> bool:
        state = shell.state
        state.variables = {
            name: Variable(is_unset=variable.is_unset)
            if variable.exported is False or variable.items is not None
            else variable
            for name, variable in state.variables.items()
        } | unknowns
        state.functions = {}
        state.scopes = ()
        state.options = frozenset(options)
        state.zero = arguments[0].value
        state.positionals = Positionals(
            tuple(f.value for f in arguments[1:]), several=any(f.several for f in arguments[1:])
        )
        return shell.join(_walked(shell, replace(parsed)))

    with shell.within(tested=False):
        subshell(shell, run)
    return True
