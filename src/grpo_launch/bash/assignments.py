"""Assignments and declarations: ``X=1``, ``a=(1 2)``, ``export X``, ``local X=1``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from grpo_launch.bash import braces, words
from grpo_launch.bash.arithmetic import UnknownError
from grpo_launch.bash.numeric import expression
from grpo_launch.bash.pieces import Field
from grpo_launch.bash.script import About, Kind, Unknown, Value, joined
from grpo_launch.bash.shell import Shell
from grpo_launch.bash.state import Variable
from grpo_launch.bash.syntax import Node, nodes
from grpo_launch.bash.variables import assign, export, look_up, look_up_all

_ASSIGNED = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)


def assignment(shell: Shell, node: Node) -> None:
    """``name=value``, and its kinds."""
    if node.get("Array") is not None:
        name, append = str(node["Name"]["Value"]), bool(node.get("Append"))
        _array(shell, name, node["Array"].get("Elems") or [], append)
    else:
        _assign(shell, node, words.value(shell, node.get("Value")))


def _assign(shell: Shell, node: Node, value: Value) -> None:
    """``name=value`` or ``name[index]=value``, what is assigned being expanded."""
    name = str(node["Name"]["Value"])
    append = bool(node.get("Append"))
    index: str | None = None
    if node.get("Index"):
        try:
            index = expression(shell, node["Index"])
        except UnknownError:
            _lose(shell, name)
            return
    assign(shell, name, value, index=index, append=append)


def _lose(shell: Shell, name: str) -> None:
    """Nobody knows which item was set."""
    variable = shell.state.variables.get(name, Variable())
    unknown = joined(Unknown(Kind.OTHER, f"${{{name}[@]}}", name))
    key = "0" if variable.keyed else 0
    items = {key: unknown}
    shell.state.variables[name] = replace(variable, value=None, items=items, several=True)


def _array(shell: Shell, name: str, elements: Sequence[Node], append: bool) -> None:
    """``name=(...)``."""
    old = shell.state.variables.get(name, Variable())
    if append and name not in shell.state.variables:
        found = look_up_all(shell, name, f"${{{name}[@]}}")
        old = Variable(items=dict(enumerate(found.values)), several=found.several)
    # Bash expands all of them before it sets one: they see what the array was.
    expanded = [_element(shell, element) for element in elements]
    kept = dict(zip(old.keys, old.values, strict=True)) if append else {}
    several = old.several and append
    shell.state.variables[name] = replace(
        old, value=None, items=kept, several=several, of_caller=False
    )
    if old.keyed and not any(element.get("Index") for element in elements):
        fields = [field.value for found in expanded for field in found]
        for key, value in zip(fields[::2], [*fields[1::2], Value()], strict=False):
            _put(shell, name, key, value)
        return
    place = max((int(key) for key in kept), default=-1) + 1 if not old.keyed else 0
    items: dict[int | str, Value] = dict(kept)
    for element, found in zip(elements, expanded, strict=True):
        if element.get("Index"):
            try:
                text = expression(shell, element["Index"])
            except UnknownError:
                _lose(shell, name)
                return
            value = found[0].value
            assign(shell, name, value, index=text, append=bool(element.get("Append")))
            items = dict(shell.state.variables[name].items or {})
            place = (int(text) if text.isdigit() else len(items) - 1) + 1 if not old.keyed else 0
            continue
        for field in found:
            several = several or field.several
            items[place] = field.value
            place += 1
        shell.state.variables[name] = replace(
            shell.state.variables[name], items=dict(items), several=several
        )


def _element(shell: Shell, element: Node) -> list[Field]:
    """What one element of ``(...)`` gives: one value, or the words that it is split into."""
    if element.get("Index"):
        return [Field(words.value(shell, element.get("Value")))]
    return words.split(shell, [element["Value"]])


def _put(shell: Shell, name: str, key: Value, value: Value) -> None:
    if key.known is None:
        _lose(shell, name)
    else:
        assign(shell, name, value, index=key.known)


_ATTRIBUTES = {"i": {"integer": True}, "u": {"case": "u"}, "l": {"case": "l"}}


def declare(shell: Shell, command: Node) -> bool:
    """``declare``, ``local``, ``export``, ``readonly``, ``typeset``.

    Bash expands all arguments before it assigns one, but for arrays.
    """
    variant = str(command["Variant"]["Value"])
    options = ""
    waiting: list[Callable[[], None]] = []
    assigned: dict[str, Value] = {}
    for node in command.get("Args") or []:
        _judge(shell, node, assigned)
        if node.get("Naked") and not node.get("Name"):
            for field in words.split(shell, [node["Value"]]):
                text = field.value.known
                if text is not None and re.fullmatch(r"[-+]\w+", text):
                    options += text
                else:
                    word = partial(_declared_word, shell, node, field.value, variant, options)
                    waiting.append(word)
        else:
            waiting += _declared(shell, node, variant, options, assigned)
    shell.state.status = 0
    for each in waiting:
        each()
    if variant == "nameref" or (re.search(r"-\w*n", options) and variant != "export"):
        shell.remark(command, "names another variable: that is not followed")
    return True


def _judge(shell: Shell, node: Node, assigned: Mapping[str, Value]) -> None:
    """Note an argument that takes a variable for what one before it says."""
    for inner in nodes(node.get("Value")):
        name = str((inner.get("Param") or {}).get("Value", ""))
        if name in assigned and look_up(shell, name, "").values != (assigned[name],):
            what = f"${name} is what it was before: bash expands all words before it assigns one"
            shell.remark(node, what, About.TRAP)


def _declared_word(shell: Shell, node: Node, value: Value, variant: str, options: str) -> None:
    """A name, or an assignment, that comes of an expansion."""
    first = value.parts[0] if value.parts else ""
    match = _ASSIGNED.fullmatch(first) if isinstance(first, str) else None
    if match is not None:
        _prepared(shell, match[1], variant, options)
        assign(shell, match[1], joined(match[3], *value.parts[1:]), append=bool(match[2]))
    elif value.known is not None and value.known.isidentifier():
        _prepared(shell, value.known, variant, options)
    elif value.known is not None:
        what = f"{value.known!r} is no name of a variable: bash says so, and goes on"
        shell.remark(node, what, About.TRAP)
        shell.state.status = 1
    else:
        shell.remark(node, "which variables it declares is not known")


def _declared(
    shell: Shell, node: Node, variant: str, options: str, assigned: dict[str, Value]
) -> Iterator[Callable[[], None]]:
    """What is left to do with an argument that is expanded; ``assigned`` gets its name."""
    name = str(node["Name"]["Value"])
    if re.search(r"-\w*[fFp]", options):
        return
    if node.get("Array") is not None:
        _prepared(shell, name, variant, options)
        assignment(shell, node)
        return
    parts = (node.get("Value") or {}).get("Parts") or []
    if _are_words(parts):
        operator = "+=" if node.get("Append") else "="
        start = {"Type": "Lit", "Value": f"{name}{operator}"}
        for field in words.split(shell, [{**node["Value"], "Parts": [start, *parts]}]):
            yield partial(_declared_word, shell, node, field.value, variant, options)
        return
    value = words.value(shell, node.get("Value"))

    def run() -> None:
        _prepared(shell, name, variant, options)
        if node.get("Index") or not node.get("Naked"):
            _assign(shell, node, value)

    if not node.get("Naked"):
        assigned[name] = value
    yield run


def _are_words(parts: Sequence[Node]) -> bool:
    """Whether there are braces: what they make are words to bash, not assignments."""
    try:
        return len(braces.expand(parts)) > 1
    except OverflowError:
        return True


def _prepared(shell: Shell, name: str, variant: str, options: str) -> None:
    """What a declaration says about a variable, but for its value."""
    state = shell.state
    is_local = variant == "local" or (variant in ("declare", "typeset") and "g" not in options)
    if is_local and state.scopes:
        state.make_local(name)
    if variant == "export" or re.search(r"-\w*x", options):
        export(shell, name, exported=not (variant == "export" and re.search(r"-\w*n", options)))
    elif re.search(r"\+\w*x", options):
        export(shell, name, exported=False)
    changes: dict[str, object] = {}
    for letter, what in _ATTRIBUTES.items():
        if re.search(rf"-\w*{letter}", options):
            changes |= what
    variable = state.variables.get(name)
    arrays = re.search(r"-\w*([aA])", options)
    if arrays and (variable is None or variable.items is None):
        old = {} if variable is None or variable.value is None else {0: variable.value}
        changes |= {"items": old, "value": None, "keyed": arrays[1] == "A", "of_caller": False}
    if changes:
        base = variable or Variable(of_caller=True)
        state.variables[name] = replace(base, **changes)  # pyright: ignore[reportArgumentType]
