"""Loops: unrolled where their rounds are known, walked once where they are not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from grpo_launch.bash import words
from grpo_launch.bash.arithmetic import UnknownError, WrongError
from grpo_launch.bash.numeric import integer
from grpo_launch.bash.pieces import Field
from grpo_launch.bash.script import Condition, Kind, Unknown, joined
from grpo_launch.bash.shell import Frame, Shell
from grpo_launch.bash.state import State, Variable, merged
from grpo_launch.bash.syntax import Node, nodes, offset, short
from grpo_launch.bash.variables import assign

_LINE = re.compile(r"[^\n]*\n|[^\n]+$")

MOST_ROUNDS = 1000
"""Rounds of a loop that are followed one by one."""

_TRIALS = 3

Verdict = bool | None


def for_clause(shell: Shell, command: Node) -> bool:
    """``for``, ``select``, and ``for (( ))``."""
    loop = command["Loop"]
    if loop["Type"] == "CStyleLoop":
        return _counted(shell, command, loop)
    name = str(loop["Name"]["Value"])
    if loop.get("InPos"):
        items = words.split(shell, loop.get("Items") or [])
    else:
        positionals = shell.state.positionals
        items = [Field(value, positionals.several) for value in positionals.values]
    if command.get("Select") or any(item.several for item in items):
        variable = joined(Unknown(Kind.OTHER, f"${{{name}}}", name))

        def choose() -> bool:
            assign(shell, name, variable)
            return True

        return _unknown(shell, command, choose, None)
    waiting = [item.value for item in items]

    def prepare() -> Verdict:
        if not waiting:
            return False
        assign(shell, name, waiting.pop(0))
        return True

    return _rounds(shell, command, prepare, None)


def while_clause(shell: Shell, command: Node) -> bool:
    """``while`` and ``until``."""
    condition = command["Cond"]
    text = shell.source.between(offset(condition[0]), offset(condition[-1], "End")).rstrip("; \n")
    until = bool(command.get("Until"))
    stdin = shell.context.stdin
    lines = None if stdin is None or stdin.known is None else re.findall(_LINE, stdin.known)

    def prepare() -> Verdict:
        line = None if lines is None else joined(lines.pop(0) if lines else "")
        with shell.within(tested=True, stdin=line):
            shell.walk(shell, condition)
        status = shell.state.status
        return None if status is None else (status == 0) != until

    def unsure() -> Verdict:
        nonlocal lines
        lines = None
        return prepare()

    held = f"not {short(text)}" if until else short(text)
    said = Condition(shell.source.line_of(condition[0]), held)
    return _rounds(shell, command, prepare, said, unsure)


def _counted(shell: Shell, command: Node, loop: Node) -> bool:
    started = False

    def prepare() -> Verdict:
        nonlocal started
        try:
            integer(shell, loop.get("Post" if started else "Init"))
            started = True
            test = loop.get("Cond")
            return True if test is None else integer(shell, test) != 0
        except UnknownError:
            forget(shell, [loop.get("Init"), loop.get("Post")])
            return None
        except WrongError:
            shell.remark(command, "is no loop that is understood")
            return False

    return _rounds(shell, command, prepare, None)


def forget(shell: Shell, expressions: Sequence[Node | None]) -> None:
    """Variables that arithmetic sets to what nobody knows."""
    for node in nodes([x for x in expressions if x is not None]):
        is_set = str(node.get("Op", "")).endswith("=") or node.get("Op") in ("++", "--")
        parts = (node.get("X") or {}).get("Parts") or []
        if is_set and node.get("Op") not in ("==", "<=", ">=", "!=") and len(parts) == 1:
            name = str(parts[0].get("Value", ""))
            if name.isidentifier():
                variable = shell.state.variables.get(name, Variable())
                value = joined(Unknown(Kind.OTHER, f"${{{name}}}", name))
                shell.state.variables[name] = replace(variable, value=value, items=None)


def _rounds(
    shell: Shell,
    command: Node,
    prepare: Callable[[], Verdict],
    condition: Condition | None,
    unsure: Callable[[], Verdict] | None = None,
) -> bool:
    """Follow a loop round by round, as long as it is known whether there is another one.

    Args:
        shell: the reader.
        command: the loop.
        prepare: begins a round: whether there is one.
        condition: of a loop that has one.
        unsure: in place of ``prepare`` where the rounds are not followed one by one.
    """
    frame = Frame()
    alive, count = True, 0
    status: int | None = 0
    is_while = condition is not None
    inside = {"loops": (*shell.context.loops, frame), "stdin": None}
    while alive:
        before, calls = shell.state.copy(), len(shell.record.calls)
        remarks = len(shell.record.remarks)
        verdict = prepare()
        if verdict is False:
            break
        if verdict is True and count < MOST_ROUNDS:
            with shell.within(**inside):
                alive = shell.walk(shell, command["Do"])
            status = shell.state.status
            is_unsure = is_while and alive and bool(frame.left)
            if not is_unsure:
                alive = shell.join([*frame.next_round, *([shell.state] if alive else [])])
                frame.next_round = []
                count += 1
                continue
        frame.left, frame.next_round = [], []
        shell.state = before
        del shell.record.calls[calls:], shell.record.remarks[remarks:]
        if count >= MOST_ROUNDS:
            shell.remark(command, f"has more than {MOST_ROUNDS} rounds: the rest is read as one")
        return _unknown(shell, command, unsure or prepare, condition)
    if alive:
        shell.state.status = status
    return shell.join([*([shell.state] if alive else []), *frame.left])


def _unknown(
    shell: Shell, command: Node, prepare: Callable[[], Verdict], condition: Condition | None
) -> bool:
    """Walk a loop once for all its rounds; what differs between them is not known in it."""
    if shell.context.capture is not None:
        shell.context.capture.is_known = False
    record = shell.record
    for _ in range(_TRIALS):
        counts = len(record.calls), len(record.remarks), dict(record.defaults)
        start = shell.state.copy()
        ends, _, _ = _once(shell, command, prepare, condition)
        del record.calls[counts[0] :], record.remarks[counts[1] :]
        record.defaults = counts[2]
        shell.state = start.copy()
        for end in ends:
            shell.state = merged(shell.state, end)
        shell.state.conditions = start.conditions
        if shell.state.variables == start.variables:
            break
    before = shell.state.copy()
    ends, left, is_endless = _once(shell, command, prepare, condition)
    states = left if is_endless else [before, *ends, *left]
    for state in states:
        state.conditions = before.conditions
        state.status = None
    return shell.join(states)


def _once(
    shell: Shell, command: Node, prepare: Callable[[], Verdict], condition: Condition | None
) -> tuple[list[State], list[State], bool]:
    """One round.

    Returns:
        The states in which another may follow, those behind a ``break``, and whether only that
        ends the loop.
    """
    frame = Frame()
    inside = {"loops": (*shell.context.loops, frame), "stdin": None, "repeated": True}
    with shell.within(**inside):
        verdict = prepare()
        if condition is not None and verdict is None:
            shell.state.conditions = (*shell.state.conditions, condition)
        alive = shell.walk(shell, command["Do"])
    is_list = (command.get("Loop") or {}).get("Type") == "WordIter"
    going = [*frame.next_round, *([shell.state] if alive else [])]
    return going, frame.left, verdict is True and not is_list
