"""What an expansion gives, before it is split into words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from grpo_launch.bash.script import Kind, Unknown, Value, joined

IFS = " \t\n"

_GLOB = re.compile(r"[*?]|\[[^\]]+\]")
_OPERATOR = re.compile(r"(\d*|&)>>?(&\d)?|\d*>>?[\w./-]+|<|\|[|&]?|&&?|;")
_SETTING = re.compile(r"[^*?\[]+=[^*?]*")


class Role(Enum):
    """How a piece was written."""

    PLAIN = "plain"  # in the script itself, unquoted: may be a pattern, is not split
    QUOTED = "quoted"  # stays as it is
    EXPANDED = "expanded"  # of an unquoted expansion: is split, and may be a pattern
    MANY = "many"  # stays as it is; nobody knows how many there are
    BREAK = "break"  # between two elements of "$@"


@dataclass(frozen=True)
class Piece:
    """A part of a word."""

    content: str | Unknown
    role: Role = Role.PLAIN


BREAK = Piece("", Role.BREAK)


@dataclass(frozen=True)
class Field:
    """A word after splitting.

    Attributes:
        value: of it.
        several: whether nobody knows how many words it is: it holds an unquoted unknown.
        is_setting: whether it is a pattern to bash, and is taken as it is: ``logger=[console]``.
        is_operator: whether it looks like ``> log`` or ``&``, but comes of an expansion.
    """

    value: Value
    several: bool = False
    is_setting: bool = False
    is_operator: bool = False


def pieces_of(value: Value, role: Role) -> list[Piece]:
    """The parts of a value as pieces; a quoted empty one counts as a word."""
    if not value.parts:
        return [Piece("", role)] if role in (Role.QUOTED, Role.MANY) else []
    return [Piece(part, role) for part in value.parts]


def value_of(pieces: Iterable[Piece]) -> Value:
    """One value: elements are joined by spaces, nothing is split."""
    return joined(*(" " if p.role is Role.BREAK else p.content for p in pieces))


def fields(
    pieces: Sequence[Piece], ifs: str = IFS, glob: bool = True, keep: bool = True
) -> list[Field]:
    """Split pieces into words, as bash does.

    Args:
        pieces: of one word of the script.
        ifs: what separates words.
        glob: whether patterns are names of files.
        keep: whether a pattern that no file matches stays as it is (no ``nullglob``).
    """
    other = "".join(c for c in ifs if c not in IFS)
    between = delimiter(ifs)
    words: list[list[Piece]] = []
    word: list[Piece] = []
    for piece in pieces:
        if piece.role is Role.BREAK:
            if word:
                words.append(word)
            word = []
        elif piece.role is Role.EXPANDED and isinstance(piece.content, str) and between:
            start = 0
            for match in between.finditer(piece.content):
                if match.start() > start:
                    word.append(Piece(piece.content[start : match.start()], piece.role))
                if word or any(c in other for c in match[0]):
                    words.append(word)
                word = []
                start = match.end()
            if start < len(piece.content):
                word.append(Piece(piece.content[start:], piece.role))
        elif piece.content != "" or piece.role in (Role.QUOTED, Role.MANY):
            word.append(piece)
    if word:
        words.append(word)
    return [_field(word, glob, keep) for word in words]


def delimiter(ifs: str) -> re.Pattern[str] | None:
    """What separates words: white space, or one other character with white space around it."""
    blank = "".join(c for c in ifs if c in IFS)
    other = "".join(c for c in ifs if c not in IFS)
    spaces = f"[{re.escape(blank)}]" if blank else ""
    if other:
        around = f"{spaces}*" if spaces else ""
        one = f"{around}[{re.escape(other)}]{around}"
        return re.compile(f"{one}|{spaces}+" if spaces else one)
    return re.compile(f"{spaces}+") if spaces else None


def _field(word: Sequence[Piece], glob: bool, keep: bool) -> Field:
    value = joined(*map(_content, word))
    open_ended = (Role.EXPANDED, Role.MANY)
    several = any(p.role in open_ended and isinstance(p.content, Unknown) for p in word)
    text = _unquoted(word)
    if not glob or _GLOB.search(text) is None:
        is_operator = all(p.role is Role.EXPANDED for p in word) and (
            _OPERATOR.fullmatch(value.known or "") is not None
        )
        return Field(value, several, is_operator=is_operator)
    if keep and _SETTING.fullmatch(text):
        return Field(value, several, is_setting=True)
    return Field(Value((Unknown(Kind.FILE, str(value)),)), several=True)


def _content(piece: Piece) -> str | Unknown:
    if isinstance(piece.content, str):
        return piece.content
    return replace(piece.content, quoted=piece.role is Role.QUOTED)


def _unquoted(word: Sequence[Piece]) -> str:
    """A text that has the unquoted ``*``, ``?`` and ``[...]`` of a word, which match files."""
    text = ""
    for piece in word:
        if not isinstance(piece.content, str) or piece.role in (Role.QUOTED, Role.MANY):
            text += "x"
        else:
            text += re.sub(r"/", "", piece.content) if "[" not in text else piece.content
    return text
