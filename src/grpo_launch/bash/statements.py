"""Statements, one behind the other: what is followed, and where the script may go two ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grpo_launch.bash import assignments, commands, loops, words, written
from grpo_launch.bash.arithmetic import UnknownError, WrongError
from grpo_launch.bash.conditions import clause
from grpo_launch.bash.directories import is_open
from grpo_launch.bash.numeric import integer
from grpo_launch.bash.patterns import compiled
from grpo_launch.bash.pieces import Role
from grpo_launch.bash.script import About, Condition, Redirect, Value, joined
from grpo_launch.bash.shell import Capture, FatalError, Shell
from grpo_launch.bash.state import Function, united
from grpo_launch.bash.syntax import Node, offset
from grpo_launch.bash.ways import fork, subshell

_JUDGED = ("CallExpr", "TestClause", "ArithmCmd", "LetClause", "Subshell", "DeclClause")


def walk(shell: Shell, statements: Sequence[Node]) -> bool:
    """Follow statements; whether the script goes on behind them."""
    return all(_statement(shell, statement) for statement in statements)


def _statement(shell: Shell, statement: Node) -> bool:
    shell.step()
    shell.state.doubts = ()
    try:
        if statement.get("Background") or statement.get("Coprocess"):
            with shell.within(background=True, tested=True):
                subshell(shell, lambda: _command(shell, statement))
            shell.state.status = 0
            return True
        if statement.get("Negated"):
            with shell.within(tested=True):
                alive = _command(shell, statement)
            status = shell.state.status
            shell.state.status = None if status is None else int(status == 0)
            return alive
        return _command(shell, statement) and not _is_stopped(shell, statement)
    except FatalError:
        return commands.end(shell, 1)


def _is_stopped(shell: Shell, statement: Node) -> bool:
    """Whether ``set -e`` ends the script here."""
    state = shell.state
    if shell.context.tested or "e" not in state.options or state.status == 0:
        return False
    command = statement.get("Cmd") or {}
    if command.get("Type") not in _JUDGED and command.get("Op") not in ("|", "|&"):
        return False
    if state.status is None:  # of a program: it is taken to succeed
        held = [condition.text for condition in state.conditions]
        doubts = tuple(doubt for doubt in state.doubts if doubt.text not in held)
        state.needs, state.doubts = united(state.needs, doubts), ()
        return False
    shell.remark(statement, "fails, and ends the script (set -e)", About.END)
    return not commands.end(shell, shell.state.status)


def _command(shell: Shell, statement: Node) -> bool:
    command = statement.get("Cmd") or {}
    kind = str(command.get("Type", ""))
    if kind in ("CallExpr", ""):
        return commands.simple(shell, statement)
    redirects = commands.redirects(shell, statement)
    if redirects.is_wrong:
        shell.state.status = 1
        return True
    stdin = commands.read_by(shell, statement, redirects) if kind == "WhileClause" else None
    if command.get("Op") in ("&&", "||"):
        stdin = shell.context.stdin
    around = {
        "redirects": (*shell.context.redirects, *redirects.listed),
        "teed": (*shell.context.teed, *redirects.teed),
        "stdin": stdin,
    }
    with shell.within(**around):
        alive = _compound(shell, kind, command, statement)
    written.by_redirects(shell, redirects.listed)
    return alive


def _compound(shell: Shell, kind: str, command: Node, statement: Node) -> bool:
    if kind == "Block":
        return walk(shell, command["Stmts"])
    if kind == "Subshell":
        subshell(shell, lambda: walk(shell, command["Stmts"]))
        return True
    if kind == "IfClause":
        return _if(shell, command)
    if kind == "CaseClause":
        return _case(shell, command)
    if kind == "ForClause":
        return loops.for_clause(shell, command)
    if kind == "WhileClause":
        return loops.while_clause(shell, command)
    if kind == "BinaryCmd":
        if command["Op"] in ("&&", "||"):
            return _list(shell, command)
        return _pipe(shell, command)
    if kind == "FuncDecl":
        function = Function(command["Body"], shell.source)
        shell.state.functions[str(command["Name"]["Value"])] = function
    elif kind == "ArithmCmd":
        _arithmetic(shell, [command.get("X")], command)
        return True
    elif kind == "LetClause":
        _arithmetic(shell, command["Exprs"], command)
        return True
    elif kind == "TestClause":
        verdict = clause(shell, command["X"])
        shell.state.status = None if verdict is None else int(not verdict)
        return True
    elif kind == "DeclClause":
        return assignments.declare(shell, command)
    elif kind in ("TimeClause", "CoprocClause"):
        inner = command.get("Stmt")
        if kind == "TimeClause":
            return inner is None or _statement(shell, inner)
        with shell.within(background=True):
            subshell(shell, lambda: walk(shell, [inner] if inner else []))
    else:
        shell.remark(statement, "is not understood")
    shell.state.status = 0
    return True


def _arithmetic(shell: Shell, expressions: Sequence[Node | None], node: Node) -> None:
    """``(( ))`` and ``let``: false where the last is 0."""
    try:
        for expression in expressions:
            shell.state.status = int(integer(shell, expression) == 0)
    except UnknownError:
        shell.state.status = None
        loops.forget(shell, expressions)
    except WrongError:
        shell.state.status = 1
        shell.remark(node, "is no arithmetic that is understood")


def _text(shell: Shell, statements: Sequence[Node]) -> str:
    source = shell.source
    return source.between(offset(statements[0]), offset(statements[-1], "End")).rstrip("; \n")


def _nothing(shell: Shell, status: int) -> Callable[[], bool]:
    def run() -> bool:
        shell.state.status = status
        return True

    return run


def _if(shell: Shell, clause_: Node | None) -> bool:
    if clause_ is None:
        return _nothing(shell, 0)()
    condition = clause_.get("Cond") or []
    if not condition:  # an else
        return walk(shell, clause_.get("Then") or [])
    with shell.within(tested=True):
        if not walk(shell, condition):
            return False
    return fork(
        shell,
        shell.source.line_of(condition[0]),
        _text(shell, condition),
        lambda: walk(shell, clause_.get("Then") or []),
        lambda: _if(shell, clause_.get("Else")),
    )


def _list(shell: Shell, command: Node) -> bool:
    """``A && B``, ``A || B``."""
    first, second = command["X"], command["Y"]
    with shell.within(tested=True):
        if not _statement(shell, first):
            return False
    is_and = command["Op"] == "&&"
    status = shell.state.status
    skip = _nothing(shell, 0 if not is_and else -1 if status is None else status)

    def run() -> bool:
        with shell.within(stdin=None):  # the first one may have read it
            return _statement(shell, second)

    line, text = shell.source.line_of(first), shell.source.text(first)
    return fork(shell, line, text, run if is_and else skip, skip if is_and else run)


def _case(shell: Shell, command: Node) -> bool:
    value = words.value(shell, command["Word"])
    return _item(shell, command, value, 0)


def _item(shell: Shell, command: Node, value: Value, index: int) -> bool:
    """The first item from ``index`` on that matches."""
    items = command.get("Items") or []
    if index >= len(items):
        return _nothing(shell, 0)()
    item = items[index]
    verdict = _matches(shell, item, value)
    shell.state.status = None if verdict is None else int(not verdict)
    patterns = item["Patterns"]
    start, end = offset(patterns[0]), offset(patterns[-1], "End")
    text = f"{shell.source.text(command['Word'])} is {shell.source.between(start, end)}"
    return fork(
        shell,
        shell.source.line_of(patterns[0]),
        text,
        lambda: _run_item(shell, command, value, index),
        lambda: _item(shell, command, value, index + 1),
    )


def _run_item(shell: Shell, command: Node, value: Value, index: int) -> bool:
    items = command["Items"]
    shell.state.status = 0
    if not walk(shell, items[index].get("Stmts") or []):
        return False
    operator = items[index].get("Op")
    if operator == ";&" and index + 1 < len(items):
        return _run_item(shell, command, value, index + 1)
    if operator == ";;&":
        return _item(shell, command, value, index + 1)
    return True


def _matches(shell: Shell, item: Node, value: Value) -> bool | None:
    verdict: bool | None = False
    for node in item["Patterns"]:
        pieces = words.pattern(shell, node)
        if [(p.content, p.role) for p in pieces] == [("*", Role.PLAIN)]:
            return True
        pattern = compiled(pieces)
        if pattern is None or value.known is None or is_open(value.known):
            verdict = None
        elif pattern.fullmatch(value.known):
            return True
    return verdict


def _pipe(shell: Shell, command: Node) -> bool:
    """``A | B``: each is a subshell; what ``tee`` writes belongs to the one before it."""
    parts = _flat(command)
    statuses: list[int | None] = []
    doubts: list[tuple[Condition, ...]] = []
    stdin: Value | None = None
    capture = shell.context.capture
    index = 0
    while index < len(parts):
        statement, both = parts[index]
        index += 1
        files: list[Value] = []
        while index < len(parts) and _is_tee(parts[index][0]):
            files += _teed(shell, parts[index][0])
            index += 1
        is_last = index == len(parts)
        ended_by_tee = bool(files) and is_last
        inner = Capture() if capture is not None and not is_last else capture
        errors = (Redirect(">&", joined("1"), 2),) if both else ()
        around = {
            "piped": shell.context.piped or not is_last,
            "teed": (*shell.context.teed, *files),
            "redirects": (*shell.context.redirects, *errors),
            "capture": inner,
            "stdin": stdin,
        }
        with shell.within(**around):
            subshell(shell, lambda one=statement: _statement(shell, one))
        for file in files:
            shell.write(file, None)
        statuses.append(shell.state.status)
        doubts.append(shell.state.doubts if shell.state.status is None else ())
        stdin = joined(*inner.values) if inner is not None and inner.is_known else None
        if ended_by_tee:
            statuses.append(0)
            doubts.append(())
    failing = statuses if "pipefail" in shell.state.options else statuses[-1:]
    wrong = [status for status in failing if status != 0]
    shell.state.status = None if None in failing else wrong[-1] if wrong else 0
    shell.state.doubts = united(*doubts[-len(failing) :])
    return True


def _flat(command: Node) -> list[tuple[Node, bool]]:
    """The commands of a pipe, each with whether its errors go into it too."""
    parts: list[tuple[Node, bool]] = []
    left = command["X"]
    inner = left.get("Cmd") or {}
    is_pipe = inner.get("Type") == "BinaryCmd" and inner.get("Op") in ("|", "|&")
    parts = _flat(inner) if is_pipe and not left.get("Redirs") else [(left, False)]
    both = command["Op"] == "|&"
    parts[-1] = (parts[-1][0], both)
    return [*parts, (command["Y"], False)]


def _is_tee(statement: Node) -> bool:
    command = statement.get("Cmd") or {}
    return command.get("Type") == "CallExpr" and commands.program(command) == "tee"


def _teed(shell: Shell, statement: Node) -> list[Value]:
    found = words.split(shell, statement["Cmd"]["Args"][1:])
    return [f.value for f in found if not str(f.value).startswith("-")]
