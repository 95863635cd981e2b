"""``${X}`` and everything that may stand between its braces."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from grpo_launch.bash.arithmetic import UnknownError, WrongError
from grpo_launch.bash.directories import is_open
from grpo_launch.bash.numeric import expression, integer
from grpo_launch.bash.patterns import compiled, removed, replaced
from grpo_launch.bash.pieces import BREAK, Piece, Role, pieces_of, value_of
from grpo_launch.bash.script import About, Kind, Unknown, Value, joined
from grpo_launch.bash.shell import FatalError, Shell
from grpo_launch.bash.syntax import HERE, Node
from grpo_launch.bash.variables import (
    ALWAYS_SET,
    Found,
    assign,
    look_up,
    look_up_all,
    look_up_item,
    opaque,
)

Expand = Callable[[Shell, Node | None, bool], list[Piece]]
Pattern = Callable[[Shell, Node | None], list[Piece]]

_LISTS = ("@", "*")
_ITEM = re.compile(r"([A-Za-z_]\w*)\[(.+)\]")
_DEFAULTS = ("-", ":-", "=", ":=", "+", ":+", "?", ":?")


def is_list(node: Node) -> bool:
    """Whether an expansion may give no word at all between quotes: ``$@``, ``${a[@]}``."""
    return node.get("Type") == "ParamExp" and not node.get("Length") and _star(node) == "@"


def pieces(shell: Shell, node: Node, quoted: bool, expand: Expand, pattern: Pattern) -> list[Piece]:
    """What an expansion gives.

    Args:
        shell: the reader.
        node: ``ParamExp``.
        quoted: whether it stands between double quotes.
        expand: expands the word behind ``:-`` and its like.
        pattern: expands the word behind ``%`` and its like.

    Raises:
        FatalError: the script ends here.
    """
    role = Role.QUOTED if quoted else Role.EXPANDED
    text = shell.source.text(node)
    try:
        return _pieces(shell, node, quoted, expand, pattern)
    except UnknownError as error:
        return [Piece(Unknown(error.unknown.kind, text, error.unknown.name), role)]
    except WrongError:
        shell.remark(node, "is no expansion that is understood")
        return [Piece(Unknown(Kind.OTHER, text), role)]


def _pieces(
    shell: Shell, node: Node, quoted: bool, expand: Expand, pattern: Pattern
) -> list[Piece]:
    text = shell.source.text(node)
    name, star = str(node["Param"]["Value"]), _star(node)
    if node.get("Names"):
        raise UnknownError(Unknown(Kind.OTHER, text))
    found, name, star = _found(shell, node, name, star, text)
    exp = node.get("Exp") or {}
    operator = str(exp.get("Op", ""))
    if node.get("Length"):
        return _listed(shell, Found((_length(found, star, text, name),)), "", quoted)
    if operator in _DEFAULTS:
        is_empty = _is_empty(found, operator, star)
        if is_empty is None:
            raise UnknownError(Unknown(_kind(found), text, name))
        if operator[-1] == "+":
            for unknown in found.values[0].unknowns if is_empty and found.values else ():
                shell.record.defaults.setdefault(unknown.name, Value())
            empty = [Piece("", Role.QUOTED)] if quoted else []
            return empty if is_empty else expand(shell, exp.get("Word"), quoted)
        if is_empty:
            return _default(shell, node, found, name, expand(shell, exp.get("Word"), quoted))
        return _listed(shell, found, star, quoted)
    if not found.values and not star and "u" in shell.state.options:
        raise FatalError
    if node.get("Slice"):
        found = _sliced(shell, node, found, name, star, text)
    elif node.get("Repl") or operator:
        change = _change(shell, node, pattern)
        values = tuple(_changed(value, change, text) for value in found.values)
        found = Found(values, found.several, found.is_absent)
    return _listed(shell, found, star, quoted)


def _star(node: Node) -> str:
    """``@`` or ``*`` where an expansion is a list."""
    name = str(node["Param"]["Value"])
    if name in _LISTS:
        return name
    parts = (node.get("Index") or {}).get("Parts") or []
    if len(parts) == 1 and parts[0].get("Value") in _LISTS:
        return str(parts[0]["Value"])
    return ""


def _found(shell: Shell, node: Node, name: str, star: str, text: str) -> tuple[Found, str, str]:
    """The values that an expansion is about, with their name and ``@`` or ``*``."""
    if node.get("Excl"):
        return _indirect(shell, node, name, star, text)
    if star:
        return (look_up if name in _LISTS else look_up_all)(shell, name, text), name, star
    if node.get("Index"):
        return look_up_item(shell, name, expression(shell, node["Index"]), text), name, ""
    return look_up(shell, name, text), name, ""


def _indirect(shell: Shell, node: Node, name: str, star: str, text: str) -> tuple[Found, str, str]:
    """``${!X}``, ``${!a[@]}``."""
    if star and name not in _LISTS:
        variable = shell.state.variables.get(name)
        if variable is None or variable.several:
            raise UnknownError(Unknown(Kind.OTHER, text, name))
        if variable.keyed and len(variable.keys) > 1:
            shell.remark(node, "the order of an associative array is not known: read as it was set")
        return Found(tuple(joined(str(key)) for key in variable.keys)), name, star
    target = look_up(shell, name, text)
    if node.get("Index"):
        target = look_up_item(shell, name, expression(shell, node["Index"]), text)
    if not target.values or target.values[0].known is None:
        raise UnknownError(Unknown(_kind(target), text, name))
    named = target.values[0].known
    match = _ITEM.fullmatch(named)
    if match is not None and match[2] in _LISTS:
        return look_up_all(shell, match[1], text), match[1], match[2]
    if match is not None:
        return look_up_item(shell, match[1], match[2], text), match[1], ""
    if not re.fullmatch(r"[A-Za-z_]\w*|\d+|[@*#?]", named):
        raise WrongError
    return look_up(shell, named, text), named, named if named in _LISTS else ""


def _kind(found: Found) -> Kind:
    for value in found.values:
        for unknown in value.unknowns:
            return unknown.kind
    return Kind.OTHER


def _length(found: Found, star: str, text: str, name: str) -> Value:
    if star:
        if found.several:
            return joined(Unknown(_kind(found), text, name))
        return joined(str(len(found.values)))
    value = found.values[0] if found.values else Value()
    if is_open(value.known):
        raise UnknownError(Unknown(Kind.OTHER, text, name))
    return joined(str(len(value.known))) if value.known is not None else opaque(value, text)


def _is_empty(found: Found, operator: str, star: str) -> bool | None:
    """Whether a default is taken; None: nobody knows. A caller's variable counts as not set."""
    if found.is_absent:
        return True
    if not found.values:
        return not (found.several and star)
    if operator[0] != ":":
        return False
    value, *others = found.values
    if star and others:
        return False
    if value.known is not None:
        return value.known == "" and not (found.several and star)
    if any(isinstance(part, str) for part in value.parts):
        return False
    of_caller = [u.kind is Kind.POSITIONAL or _is_of_caller(u) for u in value.unknowns]
    return True if all(of_caller) else None


def _is_of_caller(unknown: Unknown) -> bool:
    return unknown.kind is Kind.VARIABLE and unknown.name not in ALWAYS_SET


def _default(
    shell: Shell, node: Node, found: Found, name: str, default: list[Piece]
) -> list[Piece]:
    """What stands for a variable that is not set."""
    operator = str(node["Exp"]["Op"])
    if operator[-1] == "?":
        if found.values and found.values[0].unknowns:
            return pieces_of(found.values[0], Role.QUOTED)
        shell.remark(node, "ends the script: it is empty, or not set", About.END)
        raise FatalError
    value = value_of(default)
    unknowns = found.values[0].unknowns if found.values else ()
    for unknown in unknowns if all(u.kind is Kind.VARIABLE for u in value.unknowns) else ():
        if unknown.kind is Kind.VARIABLE and unknown.name:
            shell.record.defaults.setdefault(unknown.name, value)
    if operator[-1] == "=":
        index = expression(shell, node["Index"]) if node.get("Index") else None
        assign(shell, name, value, index=index)
    return default


def _sliced(shell: Shell, node: Node, found: Found, name: str, star: str, text: str) -> Found:
    """``${X:1:2}``; of a list, elements of it."""
    span = node["Slice"]
    start = integer(shell, span.get("Offset"))
    length = integer(shell, span["Length"]) if span.get("Length") else None
    if not star:
        value = found.values[0] if found.values else Value()
        if value.known is None:
            return Found((opaque(value, text),))
        if is_open(value.known):
            raise UnknownError(Unknown(Kind.OTHER, text, name))
        return Found((joined(_slice(value.known, start, length)),))
    if found.several:
        raise UnknownError(Unknown(_kind(found), text, name))
    values = list(found.values)
    variable = shell.state.variables.get(name)
    if name in _LISTS:
        values.insert(0, shell.state.zero)
        if start < 0:
            start += len(values)
    elif variable is not None and variable.items is not None and not variable.keyed:
        keys = [int(key) for key in variable.keys]
        if start < 0:
            start += max(keys, default=-1) + 1
        start = (
            next((i for i, key in enumerate(keys) if key >= start), len(keys)) if start >= 0 else -1
        )
    if start < 0:
        return Found()
    if length is not None and length < 0:
        raise WrongError
    return Found(tuple(values[start:] if length is None else values[start : start + length]))


def _slice(text: str, start: int, length: int | None) -> str:
    start = start + len(text) if start < 0 else start
    if start < 0 or start > len(text):
        return ""
    if length is None:
        return text[start:]
    end = len(text) + length if length < 0 else start + length
    if end < start:
        raise WrongError
    return text[start:end]


def _changed(value: Value, change: Callable[[str], str | None], text: str) -> Value:
    result = change(value.known) if value.known is not None else None
    if is_open(value.known) and result is not None and HERE not in result:
        rest = str(value.known).rpartition(HERE)[2]
        if not rest.endswith(result) or len(result) >= len(rest):
            result = None  # it depends on names that only running tells
    if result is not None:
        return joined(result)
    return opaque(value, text) if value.unknowns else joined(Unknown(Kind.OTHER, text))


def _change(shell: Shell, node: Node, pattern: Pattern) -> Callable[[str], str | None]:
    """What ``%``, ``/``, ``^`` and others do to a text; None: it is not understood."""
    repl, exp = node.get("Repl"), node.get("Exp") or {}
    if repl:
        return _replacement(shell, repl, pattern)
    operator = str(exp.get("Op", ""))
    if operator[0] in "#%":
        found = compiled(pattern(shell, exp.get("Word")))
        return lambda text: None if found is None else removed(text, operator, found)
    if operator[0] in "^,":
        letters = pattern(shell, exp.get("Word")) if exp.get("Word") else [Piece("?")]
        which = compiled(letters)
        upper = operator[0] == "^"
        return lambda text: (
            None if which is None else _cased(text, upper, operator[1:] != "", which)
        )
    if operator == "@":
        return _transformed(value_of(pattern(shell, exp.get("Word"))).known or "")
    return lambda _: None


def _replacement(shell: Shell, repl: Node, pattern: Pattern) -> Callable[[str], str | None]:
    original = pattern(shell, repl.get("Orig"))
    with_ = pattern(shell, repl.get("With"))
    place = ""
    first = original[0] if original else Piece("")
    every = bool(repl.get("All"))
    if not every and first.role is Role.PLAIN and str(first.content)[:1] in ("#", "%"):
        place = str(first.content)[0]
        original = [Piece(str(first.content)[1:]), *original[1:]]
    by = value_of(with_).known
    if any(p.role is not Role.QUOTED and "&" in str(p.content) for p in with_):
        by = None  # bash 5.2 puts in there what matched, earlier ones do not
    found = compiled(original)
    if by is None or found is None:
        return lambda _: None
    return lambda text: replaced(text, found, by, every=every, at=place)


def _cased(text: str, upper: bool, every: bool, which: re.Pattern[str]) -> str:
    def change(char: str) -> str:
        if not which.fullmatch(char):
            return char
        return char.upper() if upper else char.lower()

    return "".join(change(c) if every or i == 0 else c for i, c in enumerate(text))


def _transformed(letter: str) -> Callable[[str], str | None]:
    changes: dict[str, Callable[[str], str | None]] = {
        "U": str.upper,
        "L": str.lower,
        "u": lambda text: text[:1].upper() + text[1:],
        "Q": lambda text: "'" + text.replace("'", "'\\''") + "'" if text.isprintable() else None,
    }
    return changes.get(letter, lambda _: None)


def _listed(shell: Shell, found: Found, star: str, quoted: bool) -> list[Piece]:
    """Values as pieces: a list gives one word for each, or one of all."""
    if not star:
        role = Role.QUOTED if quoted else Role.EXPANDED
        return pieces_of(found.values[0] if found.values else Value(), role)
    role = Role.EXPANDED
    if quoted:
        role = Role.MANY if found.several else Role.QUOTED
    if quoted and star == "*":
        separator = look_up(shell, "IFS", "$IFS").values
        between = (separator[0].known or "")[:1] if separator else " "
        return pieces_of(_joined(found.values, between), role)
    result: list[Piece] = []
    for index, value in enumerate(found.values):
        result += [BREAK] if index else []
        result += pieces_of(value, role)
    return result


def _joined(values: Sequence[Value], between: str) -> Value:
    parts: list[Value | str] = []
    for index, value in enumerate(values):
        parts += [between] if index else []
        parts.append(value)
    return joined(*parts)
