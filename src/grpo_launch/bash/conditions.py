"""Conditions: ``[[ ]]``, ``[ ]`` and ``test``, true, false, or known to nobody."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grpo_launch.bash import words
from grpo_launch.bash.arithmetic import UnknownError, WrongError, evaluate
from grpo_launch.bash.directories import is_open
from grpo_launch.bash.patterns import compiled, regular_expression
from grpo_launch.bash.pieces import value_of
from grpo_launch.bash.script import Kind, Unknown, Value, joined
from grpo_launch.bash.shell import Shell
from grpo_launch.bash.state import Variable
from grpo_launch.bash.syntax import Node
from grpo_launch.bash.variables import names

_NUMBERS = ("-eq", "-ne", "-lt", "-le", "-gt", "-ge")
_BINARY = (*_NUMBERS, "=", "==", "!=", "<", ">", "-nt", "-ot", "-ef")


def is_empty(value: Value) -> bool | None:
    """Whether a value is empty; None: nobody knows."""
    if value.known is not None:
        return value.known == ""
    return False if any(isinstance(part, str) for part in value.parts) else None


def inverted(verdict: bool | None) -> bool | None:
    """``!``."""
    return None if verdict is None else not verdict


def clause(shell: Shell, node: Node) -> bool | None:
    """What ``[[ ]]`` says."""
    kind, operator = node.get("Type"), str(node.get("Op", ""))
    if kind == "Word":
        return inverted(is_empty(words.value(shell, node)))
    if kind == "ParenTest":
        return clause(shell, node["X"])
    if kind == "UnaryTest":
        if operator == "!":
            return inverted(clause(shell, node["X"]))
        return _unary(shell, operator, words.value(shell, node["X"]))
    if operator in ("&&", "||"):
        first = clause(shell, node["X"])
        if first is not None:
            return clause(shell, node["Y"]) if first == (operator == "&&") else first
        second = clause(shell, node["Y"])
        return second if second == (operator == "||") else None
    left = words.value(shell, node["X"])
    if operator == "=~":
        return _expression(shell, left, node["Y"])
    if operator in ("=", "==", "!="):
        return _pattern(shell, left, node["Y"], operator)
    return _compared(shell, left, operator, words.value(shell, node["Y"]), arithmetic=True)


def _pattern(shell: Shell, left: Value, node: Node, operator: str) -> bool | None:
    pieces = words.pattern(shell, node)
    if left == value_of(pieces) and left.unknowns:
        return None
    pattern = compiled(pieces)
    if pattern is None or left.known is None or is_open(left.known + str(value_of(pieces))):
        return None
    return (pattern.fullmatch(left.known) is not None) == (operator != "!=")


def _expression(shell: Shell, left: Value, node: Node) -> bool | None:
    pattern = regular_expression(words.pattern(shell, node))
    groups: dict[int | str, Value]
    if pattern is None or left.known is None or is_open(left.known):
        unknown = joined(Unknown(Kind.OTHER, "${BASH_REMATCH}", "BASH_REMATCH"))
        shell.state.variables["BASH_REMATCH"] = Variable(items={0: unknown}, several=True)
        return None
    match = pattern.search(left.known)
    groups = {}
    if match is not None:
        groups = {i: joined(match[i] or "") for i in range(len(match.groups()) + 1)}
    several = "|" in pattern.pattern  # POSIX takes the longest, Python the first
    shell.state.variables["BASH_REMATCH"] = Variable(items=groups, several=several)
    return match is not None


def _unary(shell: Shell, operator: str, value: Value) -> bool | None:
    if operator == "-z":
        return is_empty(value)
    if operator == "-n":
        return inverted(is_empty(value))
    if operator == "-v" and value.known is not None:
        return _is_set(shell, value.known)
    if operator in ("-o", "-t", "-R"):
        return None
    return False if value.known == "" else None  # there is no file of that name


def _is_set(shell: Shell, name: str) -> bool | None:
    if name.isdigit():
        positionals = shell.state.positionals
        if int(name) <= len(positionals.values):
            return True
        return None if positionals.of_caller or positionals.several else False
    variable = shell.state.variables.get(name)
    if variable is None or variable.of_caller or not re.fullmatch(r"\w+", name):
        return None
    return variable.scalar is not None


def _compared(
    shell: Shell, left: Value, operator: str, right: Value, arithmetic: bool
) -> bool | None:
    one, other = left.known, right.known
    if one is None or other is None or (one != other and is_open(one + other)):
        return None
    if operator in ("=", "=="):
        return one == other
    if operator == "!=":
        return one != other
    if operator not in _NUMBERS:
        return None  # <, > depend on the locale, -nt on files
    try:
        if arithmetic:
            first, second = evaluate(one, names(shell)), evaluate(other, names(shell))
        else:
            first, second = int(one.strip(), 10), int(other.strip(), 10)
    except (UnknownError, ValueError):
        return None if arithmetic else False
    except WrongError:
        return False
    results = {"-eq": first == second, "-ne": first != second, "-lt": first < second}
    results |= {"-le": first <= second, "-gt": first > second, "-ge": first >= second}
    return results[operator]


def test(shell: Shell, arguments: Sequence[Value]) -> bool | None:
    """What ``test``, or ``[`` without its ``]``, says."""
    count = len(arguments)
    known = [argument.known for argument in arguments]
    if count == 0:
        return False
    if count == 1:
        return inverted(is_empty(arguments[0]))
    if count == 3 and known[1] in _BINARY:
        return _compared(shell, arguments[0], str(known[1]), arguments[2], arithmetic=False)
    for operator in ("-o", "-a"):
        if count > 2 and operator in known[1:-1]:
            at = known.index(operator, 1)
            first = test(shell, arguments[:at])
            second = test(shell, arguments[at + 1 :])
            decides = operator == "-o"
            if decides in (first, second):
                return decides
            return None if None in (first, second) else not decides
    if known[0] == "!":
        return inverted(test(shell, arguments[1:]))
    if known[0] == "(" and known[-1] == ")":
        return test(shell, arguments[1:-1])
    if count == 2:
        return _unary(shell, known[0] or "", arguments[1]) if known[0] else None
    return None
