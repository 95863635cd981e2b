"""Words of a script, expanded: to one value, to several words, or to a pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grpo_launch.bash import braces, parameters
from grpo_launch.bash.numeric import number
from grpo_launch.bash.pieces import IFS, Field, Piece, Role, fields, pieces_of, value_of
from grpo_launch.bash.script import About, Kind, Unknown, Value, joined
from grpo_launch.bash.shell import Shell
from grpo_launch.bash.substitution import printed
from grpo_launch.bash.syntax import Node
from grpo_launch.bash.text import ansi, double_quoted, here_document, unquoted
from grpo_launch.bash.variables import look_up

_TILDE = re.compile(r"~([^/:\\]*)(?=[/:]|$)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")


def split(shell: Shell, words: Sequence[Node]) -> list[Field]:
    """What words give as arguments: braces, expansions, splitting, names of files."""
    result: list[Field] = []
    for word in words:
        try:
            alternatives = braces.expand(word.get("Parts") or [])
        except OverflowError:
            shell.remark(word, "more words than are followed")
            unknown = Unknown(Kind.OTHER, shell.source.text(word))
            result.append(Field(joined(unknown), several=True))
            continue
        # What braces made looks like no assignment to bash.
        tilde = "word" if len(alternatives) == 1 else "start"
        options = shell.state.options
        keep = not options & {"nullglob", "failglob"}
        found: list[Field] = []
        for parts in alternatives:
            pieces = _pieces(shell, parts, tilde=tilde)
            found += fields(pieces, separators(shell), "f" not in options, keep)
        result += found
        if any(field.is_setting for field in found):
            what = "is a pattern for names of files without quotes; taken as it is"
            shell.remark(word, what, About.TRAP)
    return result


def value(shell: Shell, word: Node | None) -> Value:
    """What a word gives where it is not split: behind ``=``, in a here-string."""
    if word is None:
        return Value()
    return value_of(_pieces(shell, word.get("Parts") or [], tilde="assignment"))


def pattern(shell: Shell, word: Node | None) -> list[Piece]:
    """A word that is a pattern: what is quoted in it stands for itself."""
    return _pieces(shell, (word or {}).get("Parts") or [], tilde="word")


def document(shell: Shell, redirect: Node) -> Value:
    """What a here-document holds."""
    word = redirect.get("Word") or {}
    is_raw = any(part.get("Type") != "Lit" or "\\" in part["Value"] for part in word["Parts"])
    strip = redirect.get("Op") == "<<-"
    values: list[Value | str] = []
    for part in (redirect.get("Hdoc") or {}).get("Parts") or []:
        if part.get("Type") == "Lit":
            text = str(part["Value"])
            if strip:
                text = re.sub(r"^\t+" if not values else r"(?<=\n)\t+", "", text)
                text = re.sub(r"(?<=\n)\t+", "", text)
            values.append(text if is_raw else here_document(text))
        else:
            values.append(value_of(_part(shell, part, quoted=True, default=False)))
    return joined(*values)


def separators(shell: Shell) -> str:
    """The characters of ``IFS``."""
    found = look_up(shell, "IFS", "$IFS").values
    return IFS if not found or found[0].known is None else found[0].known


def expanded(shell: Shell, word: Node | None, quoted: bool) -> list[Piece]:
    """The word of ``${X:-word}``: as it is quoted around, and split if it is not."""
    parts = (word or {}).get("Parts") or []
    found = _pieces(shell, parts, quoted=quoted, default=True, tilde="" if quoted else "word")
    return found or ([Piece("", Role.QUOTED)] if quoted else [])


def _pieces(
    shell: Shell,
    parts: Sequence[Node],
    quoted: bool = False,
    default: bool = False,
    tilde: str = "",
) -> list[Piece]:
    result: list[Piece] = []
    for index, part in enumerate(parts):
        if part.get("Type") == "Lit" and not quoted and tilde:
            text = str(part["Value"])
            result += _literal(shell, text, tilde, index == 0, default)
        else:
            result += _part(shell, part, quoted, default)
    return result


def _literal(shell: Shell, text: str, tilde: str, is_first: bool, default: bool) -> list[Piece]:
    """A literal outside quotes, with ``~``, which may stand for a home directory."""
    role = Role.EXPANDED if default else Role.PLAIN
    if "~" not in text:
        return unquoted(text, role)
    match = _ASSIGNMENT.match(text) if is_first and tilde == "word" else None
    starts: set[int] = set()
    if match is not None or tilde == "assignment":
        first = match.end() if match is not None else 0
        starts = {m.end() for m in re.finditer(":", text) if m.end() > first}
        if is_first:
            starts.add(first)
    elif is_first:
        starts = {0}
    result: list[Piece] = []
    at = 0
    for start in sorted(starts):
        found = _TILDE.match(text, start)
        if found is None:
            continue
        result += unquoted(text[at:start], role)
        result += pieces_of(_home(shell, found[1]), Role.QUOTED)
        at = found.end()
    return result + unquoted(text[at:], role)


def _home(shell: Shell, user: str) -> Value:
    if user == "":
        return (
            look_up(shell, "HOME", "~").values[0] if look_up(shell, "HOME", "~").values else Value()
        )
    return joined(Unknown(Kind.OTHER, f"~{user}"))


def _part(shell: Shell, part: Node, quoted: bool, default: bool) -> list[Piece]:
    kind = part.get("Type")
    role = Role.QUOTED if quoted else Role.EXPANDED
    if kind == "Lit":
        text = str(part["Value"])
        if quoted:
            return [Piece(double_quoted(text, '$`"\\}' if default else '$`"\\'), Role.QUOTED)]
        return unquoted(text, Role.EXPANDED if default else Role.PLAIN)
    if kind == "SglQuoted":
        raw = str(part.get("Value", ""))
        if quoted and not part.get("Dollar"):  # in "${X:-'a'}" they are characters
            return [Piece(f"'{double_quoted(raw)}'", Role.QUOTED)]
        return [Piece(ansi(raw) if part.get("Dollar") else raw, Role.QUOTED)]
    if kind == "DblQuoted":
        inner = part.get("Parts") or []
        found = _pieces(shell, inner, quoted=True)
        only_lists = inner and all(parameters.is_list(x) for x in inner)
        return found if found or only_lists else [Piece("", Role.QUOTED)]
    if kind == "ParamExp":
        return parameters.pieces(shell, part, quoted, expanded, pattern)
    if kind == "CmdSubst":
        return pieces_of(printed(shell, part), role)
    if kind == "ArithmExp":
        return pieces_of(number(shell, part), role)
    if kind == "ExtGlob":
        text = str(part["Op"]) + str(part["Pattern"]["Value"]) + ")"
        return [Piece(text, Role.PLAIN)]
    return [Piece(Unknown(Kind.OTHER, shell.source.text(part)), Role.QUOTED)]
