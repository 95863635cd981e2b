"""Simple commands: assignments, functions, builtins that are followed, and calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from grpo_launch.bash import assignments, followed, others, programs, words, written
from grpo_launch.bash.directories import directory, shown
from grpo_launch.bash.pieces import Field
from grpo_launch.bash.script import About, Call, Redirect, Value, joined
from grpo_launch.bash.shell import Frame, Shell
from grpo_launch.bash.state import Function, Positionals, State, Variable, united
from grpo_launch.bash.syntax import Node, offset
from grpo_launch.bash.variables import assign, export

_DEEPEST = 40
_SPACED = re.compile(r"=(?!=)")
_VARIABLE = re.compile(r"[A-Za-z_]\w*\+?=")
_SAY = frozenset(("echo", "printf", "test", "expr", "print"))
_PLACEHOLDER = re.compile(r"[A-Za-z][\w./-]*")


@dataclass(frozen=True)
class Redirected:
    """The redirections of a command.

    Attributes:
        listed: files and descriptors.
        stdin: what it reads, of a here-document or a here-string.
        teed: files that a ``> >(tee file)`` writes.
        is_wrong: whether one goes to no file, or to several: bash calls nothing.
    """

    listed: tuple[Redirect, ...] = ()
    stdin: Value | None = None
    teed: tuple[Value, ...] = ()
    is_wrong: bool = False


def end(shell: Shell, status: int | None, failed: bool | None = None) -> bool:
    """The script, or the subshell, ends here."""
    shell.state.status = status
    shell.state.failed = status not in (0, None) if failed is None else failed
    if shell.context.subshell is not None:
        shell.context.subshell.left.append(shell.state)
    return False


def program(command: Node) -> str:
    """The first word of a command, where it is written out."""
    parts = (command.get("Args") or [{}])[0].get("Parts") or []
    return str(parts[0]["Value"]) if len(parts) == 1 and parts[0].get("Type") == "Lit" else ""


def redirects(shell: Shell, statement: Node) -> Redirected:
    """Where a command reads from and writes to."""
    listed: list[Redirect] = []
    teed: list[Value] = []
    stdin: Value | None = None
    is_wrong = False
    nodes = statement.get("Redirs") or []
    for index, node in enumerate(nodes):
        operator = str(node["Op"])
        if operator in ("<<", "<<-"):
            stdin = words.document(shell, node)
            continue
        word = node["Word"]
        if operator == "<<<":
            stdin = joined(words.value(shell, word), "\n")
            continue
        number = str((node.get("N") or {}).get("Value", ""))
        if operator in (">", ">>", "&>", "&>>") and (files := _written_by_tee(shell, word)):
            teed += files
            continue
        found = words.split(shell, [word])
        target = found[0].value if len(found) == 1 else words.value(shell, word)
        if len(found) != 1 and not any(field.several for field in found):
            what = "is an ambiguous redirect, so that bash does not call the command: quote it"
            shell.remark(node, what, About.TRAP)
            is_wrong = True
        listed.append(Redirect(operator, target, int(number) if number.isdigit() else None))
        behind = nodes[index + 1] if index + 1 < len(nodes) else {}
        if operator == "<" and behind.get("Op") == ">" and offset(behind) == offset(node, "End"):
            text = shell.source.text(word)
            if _PLACEHOLDER.fullmatch(text):
                what = f"the placeholder <{text}> reads a file and writes another: replace it"
                shell.remark(node, what, About.TRAP)
    return Redirected(tuple(listed), stdin, tuple(teed), is_wrong)


def read_by(shell: Shell, statement: Node, redirected: Redirected) -> Value | None:
    """What a loop reads, of a here-document or of a file that is given."""
    files = [one for one in redirected.listed if one.operator == "<" and not one.descriptor]
    if not files:
        return redirected.stdin
    path = files[-1].target
    text = _text_of(shell, path)
    if text is not None:
        _note_text_of(shell, statement["Redirs"][0], path)
    return text


def _text_of(shell: Shell, path: Value) -> Value | None:
    """What a file holds, where that is given."""
    place = shell.place(path)
    data = None if place is None else shell.text_of(place)
    return None if data is None else joined(data.decode("utf-8", "surrogateescape"))


def _note_text_of(shell: Shell, node: Node, path: Value) -> None:
    """Note that what a file holds was taken, unless the script has written it itself."""
    if shell.written(shell.place(path)) is None:
        shell.remark(node, f"what {path} holds is taken as it is now", About.FILE)


def _written_by_tee(shell: Shell, word: Node) -> list[Value]:
    parts = word.get("Parts") or []
    statements = (parts[0].get("Stmts") or []) if len(parts) == 1 else []
    if len(statements) != 1 or parts[0].get("Op") != ">(":
        return []
    command = statements[0].get("Cmd") or {}
    if command.get("Type") != "CallExpr" or program(command) != "tee":
        return []
    found = words.split(shell, command["Args"][1:])
    return [f.value for f in found if not str(f.value).startswith("-")]


def simple(shell: Shell, statement: Node) -> bool:
    """A command that is no compound; whether the script goes on behind it."""
    command = statement.get("Cmd") or {}
    arguments, assigns = command.get("Args") or [], command.get("Assigns") or []
    shell.record.substituted.clear()
    fields = words.split(shell, arguments)
    redirected = redirects(shell, statement)
    if redirected.is_wrong:
        shell.state.status = 1
        return True
    if not fields:
        written.by_redirects(shell, redirected.listed, Value())
        for node in assigns:
            assignments.assignment(shell, node)
        shell.state.status = (shell.record.substituted or [0])[-1]
        return True
    name = fields[0].value.known
    stdin = shell.context.stdin if redirected.stdin is None else redirected.stdin
    if any(r.operator in ("<", "<>") for r in redirected.listed):
        stdin = None
    around = {
        "redirects": (*shell.context.redirects, *redirected.listed),
        "teed": (*shell.context.teed, *redirected.teed),
        "stdin": stdin,
    }
    with shell.within(**around):
        if name is not None and name in shell.state.functions:
            alive = _function(shell, statement, name, assigns, fields[1:])
            written.by_redirects(shell, redirected.listed)
            return alive
        run = followed.found(name, fields)
        if run is not None:
            alive = _builtin(shell, statement, assigns, fields, run, redirected)
        else:
            alive = call(shell, statement, assigns, fields)
        written.by_command(shell, fields, redirected.listed, stdin)
        return alive


def _builtin(
    shell: Shell,
    statement: Node,
    assigns: Sequence[Node],
    fields: Sequence[Field],
    run: followed.Builtin,
    redirected: Redirected,
) -> bool:
    """A builtin, with variables that stand before it for as long as it runs."""
    before = {str(n["Name"]["Value"]): None for n in assigns}
    hidden = {name: shell.state.variables.get(name) for name in before}
    for node in assigns:
        assignments.assignment(shell, node)
        export(shell, str(node["Name"]["Value"]))
    alive = run(shell, statement, fields, redirected.listed)
    if alive is None:
        for name, variable in hidden.items():
            _restore(shell, name, variable)
        return call(shell, statement, assigns, fields)
    for name, variable in hidden.items():
        _restore(shell, name, variable)
    return alive


def _restore(shell: Shell, name: str, variable: Variable | None) -> None:
    if variable is None:
        shell.state.variables.pop(name, None)
    else:
        shell.state.variables[name] = variable


def call(shell: Shell, statement: Node, assigns: Sequence[Node], fields: Sequence[Field]) -> bool:
    """A program, or a builtin that is not followed: noted, its status is not known."""
    command = statement.get("Cmd") or {}
    state, context = shell.state, shell.context
    environ = state.environ()
    prefixes: list[str] = []
    kept = dict(state.variables)
    for node in assigns:
        name = str(node["Name"]["Value"])
        assignments.assignment(shell, node)
        prefixes.append(name)
        value = state.variables[name].scalar
        environ[name] = value if value is not None else Value()
    state.variables = kept
    if context.capture is not None:
        _print(shell, statement, fields)
        return True
    cwd = directory(state.cwd)
    first = (command.get("Args") or [statement])[0]
    last = (command.get("Args") or [statement])[-1]
    line, end_line = shell.source.line_of(first), shell.source.line_of(last, end=True)
    shell.record.calls.append(
        Call(
            line=line,
            end=end_line,
            words=tuple(shown(field.value, cwd) for field in fields),
            environ={name: shown(value, cwd) for name, value in environ.items()},
            prefixes=tuple(dict.fromkeys(prefixes)),
            cwd=cwd,
            background=context.background,
            redirects=tuple(
                replace(one, target=shown(one.target, cwd))
                for one in (*state.redirects, *context.redirects)
            ),
            conditions=united(state.conditions, state.needs),
            piped=context.piped,
            teed=tuple(shown(file, cwd) for file in context.teed),
            repeated=context.repeated,
            stdin=None if context.stdin is None else shown(context.stdin, cwd),
            file=shell.source.name,
            unset=tuple(name for name in state.unset() if name not in environ),
            shells=context.shells,
            written=state.files,
        )
    )
    _judge(shell, statement, fields)
    shell.record.last = (line, end_line, shell.source.text(first))
    state.status = None
    return True


def _judge(shell: Shell, statement: Node, fields: Sequence[Field]) -> None:
    """Commands that are probably none."""
    known = [field.value.known or "" for field in fields[:2]]
    first = fields[0].value.parts[0] if fields[0].value.parts else ""
    operators = [str(field.value) for field in fields if field.is_operator]
    if isinstance(first, str) and (match := _VARIABLE.match(first)):
        what = f"{match[0]}... comes of a variable, so it is no assignment but the program's name,"
        what += " and bash finds none: put env before it"
        shell.remark(statement, what, About.WRONG)
    if script := others.unread(shell, fields):
        what = f"starts {script} by {known[0]}, which is not read: give that script as well"
        shell.remark(statement, what)
    if operators and known[0] not in _SAY:
        what = f"gives {operators[0]} to {known[0]}: what comes of a variable is an argument"
        shell.remark(statement, what, About.TRAP)
    if known[0].startswith("-") and len(known[0]) > 1:
        last = shell.record.last
        of = f" of {last[2]} in line {last[0]}" if last is not None else ""
        where = f" at the end of line {last[1]}" if last is not None else ""
        what = f"is a command of its own, not a flag{of}: is a backslash missing{where}?"
        shell.remark(statement, what, About.TRAP)
    elif len(known) > 1 and _SPACED.match(known[1]) and _may_be_variable(known[0]):
        shell.remark(statement, f"calls {known[0]}: no space may stand before =", About.TRAP)


def _may_be_variable(name: str) -> bool:
    return name.isidentifier() and name not in _SAY


def _print(shell: Shell, statement: Node, fields: Sequence[Field]) -> None:
    """A command in a substitution."""
    state, context = shell.state, shell.context
    assert context.capture is not None
    elsewhere = [r for r in context.redirects if r.operator != "<" and r.descriptor in (None, 1)]
    name = fields[0].value.known
    value = None
    if name is not None and not any(field.several for field in fields[1:]):
        arguments = [field.value for field in fields[1:]]
        value = programs.output(name, arguments, context.stdin, shell.directory)
    elif name == "echo":
        value = programs.output(name, [f.value for f in fields[1:]], context.stdin, shell.directory)
    if value is None and name in programs.OF_FILES:
        value = _of_file(shell, statement, name, [field.value for field in fields[1:]])
    if value is None:
        context.capture.is_known = False
        state.status = None
        return
    state.status = programs.status(name or "", value)
    if not elsewhere:
        context.capture.values.append(value)


def _of_file(shell: Shell, statement: Node, name: str, arguments: Sequence[Value]) -> Value | None:
    """What a program prints of a file, where that is given."""
    text = _text_of(shell, arguments[-1]) if arguments else None
    if text is None:
        return None
    value = programs.output(name, arguments[:-1], text, shell.directory)
    if value is not None:
        _note_text_of(shell, statement, arguments[-1])
    return value


def _function(
    shell: Shell, statement: Node, name: str, assigns: Sequence[Node], arguments: Sequence[Field]
) -> bool:
    """A function of the script, in place of its call."""
    function = shell.state.functions[name]
    if function is None or shell.context.depth > _DEEPEST:
        why = "is defined in several ways" if function is None else "calls itself too often"
        shell.remark(statement, f"{why}: what it does is not known")
        return call(shell, statement, assigns, [Field(joined(name)), *arguments])
    shell.state.enter_scope()
    for node in assigns:
        variable = str(node["Name"]["Value"])
        value = words.value(shell, node.get("Value"))
        shell.state.make_local(variable)
        assign(shell, variable, value)
        export(shell, variable)
    positionals = shell.state.positionals
    shell.state.positionals = Positionals(
        tuple(field.value for field in arguments), several=any(f.several for f in arguments)
    )
    states = _inlined(shell, function)
    for state in states:
        state.leave_scope()
        state.positionals = positionals
    return shell.join(states)


def _inlined(shell: Shell, function: Function) -> list[State]:
    """The states behind a function; a break in it leaves no loop around its call."""
    frame = Frame()
    depth = shell.context.depth + 1
    inside = {"function": frame, "loops": (), "depth": depth, "stdin": None}
    with shell.reading(function.source), shell.within(**inside):
        body = function.body
        statements = body["Stmts"] if body.get("Type") == "File" else [body]
        alive = shell.walk(shell, statements or [])
    return [*frame.left, *([shell.state] if alive else [])]
