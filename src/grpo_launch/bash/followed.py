"""Builtins that are followed, and so are no calls."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grpo_launch.bash import conditions, evaluation, others, reads
from grpo_launch.bash.directories import below, within
from grpo_launch.bash.others import Builtin
from grpo_launch.bash.pieces import Field
from grpo_launch.bash.programs import BeyondError, formatted
from grpo_launch.bash.script import About, Condition, Kind, Redirect, Unknown, Value, joined
from grpo_launch.bash.shell import Shell
from grpo_launch.bash.state import Positionals, Variable
from grpo_launch.bash.syntax import Node
from grpo_launch.bash.variables import assign, look_up, unset


def found(name: str | None, fields: Sequence[Field]) -> Builtin | None:
    """What follows a command: a builtin, or another bash."""
    if others.starts(name):
        return others.other_bash
    if name in ("command", "builtin") and len(fields) > 1:
        inner = fields[1].value.known
        if inner in ("-v", "-V"):
            return _unknown_status
        run = _BUILTINS.get(inner or "")
        if run is not None:
            return lambda shell, node, all_, redirects: run(shell, node, all_[1:], redirects)
        return None
    return others.program(name) or _BUILTINS.get(name or "")


def _unknown_status(shell: Shell, _: Node, fields: Sequence[Field], __: Sequence[Redirect]) -> bool:
    if shell.context.capture is not None:
        shell.context.capture.is_known = False
    del fields
    shell.state.status = None
    return True


def _status(status: int) -> Builtin:
    def run(shell: Shell, _: Node, __: Sequence[Field], ___: Sequence[Redirect]) -> bool:
        shell.state.status = status
        return True

    return run


def _test(shell: Shell, _: Node, fields: Sequence[Field], __: Sequence[Redirect]) -> bool:
    arguments = fields[1:]
    if fields[0].value.known == "[":
        arguments = arguments[:-1]
    verdict = None
    if not any(field.several for field in arguments):
        verdict = conditions.test(shell, [field.value for field in arguments])
    shell.state.status = None if verdict is None else int(not verdict)
    return True


def _number(fields: Sequence[Field], default: int | None) -> int | None:
    if len(fields) < 2:
        return default
    text = fields[1].value.known
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None


def _ended(fields: Sequence[Field], last: int | None) -> int | None:
    """The status of ``exit`` or ``return``; of the last command only its failure may be known."""
    is_last = len(fields) > 1 and str(fields[1].value) in ("$?", "${?}")
    return last if is_last else _number(fields, last)


def _exit(shell: Shell, node: Node, fields: Sequence[Field], _: Sequence[Redirect]) -> bool:
    from grpo_launch.bash import commands

    status = _ended(fields, shell.state.status)
    is_whole = shell.context.subshell is None and not shell.state.conditions
    if is_whole and status != 0:
        shell.remark(node, "ends the script: nothing behind it runs", About.END)
    return commands.end(shell, status if status is None or status < 0 else status % 256)


def _return(
    shell: Shell, node: Node, fields: Sequence[Field], redirects: Sequence[Redirect]
) -> bool:
    if shell.context.function is None:
        return _exit(shell, node, fields, redirects)
    shell.state.status = _ended(fields, shell.state.status)
    shell.state.failed = False
    shell.context.function.left.append(shell.state)
    return False


def _leave(shell: Shell, _: Node, fields: Sequence[Field], __: Sequence[Redirect]) -> bool:
    """``break`` and ``continue``."""
    loops = shell.context.loops
    shell.state.status = 0
    if not loops:
        return True
    level = _number(fields, 1) or 1
    frame = loops[-min(level, len(loops))]
    shell.state.failed = False
    is_break = fields[0].value.known == "break"
    (frame.left if is_break else frame.next_round).append(shell.state)
    return False


def _cd(shell: Shell, _: Node, fields: Sequence[Field], __: Sequence[Redirect]) -> bool:
    state = shell.state
    name = fields[0].value.known
    rest = [f.value for f in fields[1:] if not re.fullmatch(r"-[LPe@n]+|--", str(f.value))]
    state.status = 0
    before = state.cwd
    if name == "popd":
        target = state.stack[-1] if state.stack else joined(Unknown(Kind.OTHER, "$(popd)"))
        state.stack = state.stack[:-1]
        _move(shell, target)
        return True
    if not rest:
        home = look_up(shell, "HOME", "$HOME").values
        target = home[0] if home and name == "cd" else joined(Unknown(Kind.OTHER, "$(pushd)"))
    elif rest[0].known == "-":
        target = state.previous or joined(Unknown(Kind.OTHER, "$OLDPWD", "OLDPWD"))
    else:
        target = within(before, rest[0])
    if name == "pushd":
        state.stack = (*state.stack, before)
    _move(shell, target)
    return True


def _move(shell: Shell, target: Value) -> None:
    state = shell.state
    text = target.known
    state.previous = state.cwd
    state.cwd = target if text is None else joined(below(text, shell.start))
    state.variables.pop("PWD", None)


_LONG = {"errexit": "e", "nounset": "u", "noglob": "f", "allexport": "a"}


def _set(shell: Shell, _: Node, fields: Sequence[Field], __: Sequence[Redirect]) -> bool:
    state = shell.state
    rest = list(fields[1:])
    state.status = 0
    while rest:
        text = rest[0].value.known
        if text == "--":
            rest.pop(0)
            break
        if text is None or not re.fullmatch(r"[-+][A-Za-z]+", text):
            break
        rest.pop(0)
        names = set(text[1:]) - {"o"}
        if "o" in text and rest:
            long = rest.pop(0).value.known or ""
            names.add(_LONG.get(long, long))
        state.options = state.options | names if text[0] == "-" else state.options - names
        if not rest:
            return True
    if len(fields) > 1:
        several = any(field.several for field in rest)
        state.positionals = Positionals(tuple(f.value for f in rest), several=several)
    return True


def _shopt(shell: Shell, _: Node, fields: Sequence[Field], __: Sequence[Redirect]) -> bool:
    """What becomes of patterns that no file matches; nothing else of it is followed."""
    texts = {field.value.known for field in fields[1:]}
    names = {text for text in texts if text in ("nullglob", "failglob")}
    if "-s" in texts:
        shell.state.options |= names
    elif "-u" in texts:
        shell.state.options -= names
    shell.state.status = 0
    return True


def _shift(shell: Shell, node: Node, fields: Sequence[Field], _: Sequence[Redirect]) -> bool:
    state = shell.state
    count = _number(fields, 1)
    positionals = state.positionals
    state.status = 0
    if count is None or positionals.several:
        shell.remark(node, "how many arguments it shifts is not known")
        unknown = joined(Unknown(Kind.OTHER, "$@"))
        state.positionals = Positionals((unknown,), several=True)
        state.status = None
    elif count <= len(positionals.values):
        state.positionals = Positionals(
            positionals.values[count:], positionals.of_caller, positionals.skipped + count
        )
    elif positionals.of_caller:
        skipped = positionals.skipped + count
        state.positionals = Positionals((), of_caller=True, skipped=skipped)
        if "e" in state.options and not shell.context.tested:
            said = f"there is an argument ${skipped}"
            state.doubts = (Condition(shell.source.line_of(node), said, (str(skipped),)),)
            state.status = None
    else:
        state.status = 1
    return True


def _unset(shell: Shell, node: Node, fields: Sequence[Field], _: Sequence[Redirect]) -> bool:
    shell.state.status = 0
    functions = False
    for field in fields[1:]:
        text = field.value.known
        if text in ("-f", "-v"):
            functions = text == "-f"
        elif text is not None and functions:
            shell.state.functions.pop(text, None)
        elif text is not None and (match := re.fullmatch(r"(\w+)\[(.*)\]", text)):
            _unset_item(shell, node, match[1], match[2])
        elif text is not None and text.isidentifier():
            if text not in shell.state.variables and text in shell.state.functions:
                shell.state.functions.pop(text)
            else:
                unset(shell, text)
        else:
            shell.remark(node, "which variables it unsets is not known")
    return True


def _unset_item(shell: Shell, node: Node, name: str, index: str) -> None:
    variable = shell.state.variables.get(name)
    if variable is None or variable.items is None:
        return
    key = index if variable.keyed else int(index) if index.isdigit() else None
    if key is None:
        shell.remark(node, "which item it unsets is not known")
        return
    items = {k: v for k, v in variable.items.items() if k != key}
    shell.state.variables[name] = Variable(None, items, variable.keyed, variable.several)


def _exec(
    shell: Shell, node: Node, fields: Sequence[Field], redirects: Sequence[Redirect]
) -> bool | None:
    from grpo_launch.bash import commands

    if len(fields) == 1:
        shell.state.redirects = (*shell.state.redirects, *redirects)
        shell.state.status = 0
        return True
    if others.other_bash(shell, node, fields[1:], redirects):
        return commands.end(shell, shell.state.status)
    command = node.get("Cmd") or {}
    commands.call(shell, node, command.get("Assigns") or [], fields)
    return commands.end(shell, None, failed=False)


def _printf(shell: Shell, _: Node, fields: Sequence[Field], __: Sequence[Redirect]) -> bool | None:
    """``printf -v name``; anything else is a call."""
    if len(fields) < 3 or fields[1].value.known != "-v":
        return None
    name = fields[2].value.known or ""
    try:
        if any(field.several for field in fields[3:]):
            raise BeyondError
        value = formatted([field.value for field in fields[3:]])
    except (BeyondError, ValueError):
        value = joined(Unknown(Kind.OTHER, f"${{{name}}}", name))
    match = re.fullmatch(r"([A-Za-z_]\w*)(?:\[(.+)\])?", name)
    if match is None:
        return None
    assign(shell, match[1], value, index=match[2])
    shell.state.status = 0
    return True


_BUILTINS: dict[str, Builtin] = {
    ":": _status(0),
    "true": _status(0),
    "false": _status(1),
    "shopt": _shopt,
    "hash": _unknown_status,
    "type": _unknown_status,
    "[": _test,
    "test": _test,
    "exit": _exit,
    "return": _return,
    "break": _leave,
    "continue": _leave,
    "cd": _cd,
    "pushd": _cd,
    "popd": _cd,
    "set": _set,
    "shift": _shift,
    "unset": _unset,
    "exec": _exec,
    "printf": _printf,
    "read": reads.read,
    "getopts": reads.getopts,
    "mapfile": reads.mapfile,
    "readarray": reads.mapfile,
    "source": evaluation.source,
    ".": evaluation.source,
    "eval": evaluation.evaluate,
}
