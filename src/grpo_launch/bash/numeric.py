"""Numbers of a script: ``$(( ))``, indexes, lengths; their expansions come first."""

from __future__ import annotations

from collections.abc import Iterator

from grpo_launch.bash.arithmetic import UnknownError, WrongError, evaluate
from grpo_launch.bash.script import Kind, Unknown, Value, joined
from grpo_launch.bash.shell import Shell
from grpo_launch.bash.syntax import Node, offset
from grpo_launch.bash.variables import certain, names

_EXPANSIONS = ("ParamExp", "CmdSubst", "ArithmExp", "SglQuoted", "DblQuoted")


def number(shell: Shell, node: Node) -> Value:
    """What ``$((...))`` gives."""
    text = shell.source.text(node)
    try:
        return joined(str(integer(shell, node.get("X"))))
    except UnknownError as error:
        unknown = error.unknown
        return joined(Unknown(unknown.kind, text, unknown.name))
    except WrongError:
        shell.remark(node, "is no arithmetic that is understood")
        return joined(Unknown(Kind.OTHER, text))


def integer(shell: Shell, node: Node | None) -> int:
    """The value of an expression.

    Raises:
        UnknownError: it depends on what nobody knows.
        WrongError: it is none.
    """
    return evaluate(expression(shell, node), names(shell))


def expression(shell: Shell, node: Node | None) -> str:
    """The text of an expression, or an index, after its expansions.

    Raises:
        UnknownError: it depends on what nobody knows.
    """
    from grpo_launch.bash import words

    if node is None:
        return ""
    start, end = offset(node), offset(node, "End")
    result, at = "", start
    for part in _expansions(shell, node):
        result += shell.source.between(at, offset(part))
        result += certain(words.value(shell, {"Parts": [part]}))
        at = offset(part, "End")
    return result + shell.source.between(at, end)


def _expansions(shell: Shell, node: Node) -> Iterator[Node]:
    """The expansions of an expression, those within others left out."""
    if node.get("Type") in _EXPANSIONS:
        is_bare = (
            node["Type"] == "ParamExp"
            and shell.source.data[offset(node) : offset(node) + 1] != b"$"
        )
        if not is_bare:
            yield node
            return
    children = [node.get(name) for name in ("X", "Y", "Index")] + list(node.get("Parts") or [])
    found = [x for child in children if child for x in _expansions(shell, child)]
    yield from sorted(found, key=offset)
