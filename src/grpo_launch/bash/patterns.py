"""Patterns of file names and of ``case``, as regular expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from grpo_launch.bash.pieces import Piece, Role

_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "xdigit": "0-9a-fA-F",
    "word": r"\w",
    "punct": re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
}
_EXTENDED = {"@": "", "?": "?", "*": "*", "+": "+"}
_NESTED = re.compile(r"[+*}?)]\)?[+*{]")


def compiled(pieces: Sequence[Piece], greedy: bool = True) -> re.Pattern[str] | None:
    """The regular expression of a pattern, to be matched as a whole.

    Returns:
        None where a part of the pattern is not known, or beyond what is understood.
    """
    text: list[tuple[str, bool]] = []
    for piece in pieces:
        if not isinstance(piece.content, str):
            return None
        quoted = piece.role is Role.QUOTED
        text += [(c, quoted) for c in piece.content]
    try:
        expression = _translated(text, greedy)
        return None if expression is None else re.compile(expression, re.DOTALL)
    except re.error:
        return None


def _translated(text: list[tuple[str, bool]], greedy: bool) -> str | None:
    many = ".*" if greedy else ".*?"
    result = ""
    at = 0
    while at < len(text):
        char, quoted = text[at]
        behind = text[at + 1] if at + 1 < len(text) else ("", True)
        at += 1
        if quoted:
            result += re.escape(char)
        elif char in "@?*+!" and behind == ("(", False):
            end = _closing(text, at)
            if end is None or char == "!":
                return None
            inside = [_translated(part, greedy) for part in _alternatives(text[at + 1 : end])]
            if None in inside:
                return None
            result += f"(?:{'|'.join(str(x) for x in inside)}){_EXTENDED[char]}"
            at = end + 1
        elif char == "*":
            result += "" if result.endswith(many) else many
        elif char == "?":
            result += "."
        elif char == "[" and (found := _bracket(text, at)) is not None:
            expression, at = found
            result += expression
        elif char == "\\":
            result += re.escape(behind[0] or char)
            at += 1
        else:
            result += re.escape(char)
    return result


def _closing(text: list[tuple[str, bool]], start: int) -> int | None:
    depth = 0
    for index in range(start, len(text)):
        if text[index] == ("(", False):
            depth += 1
        elif text[index] == (")", False):
            depth -= 1
            if depth == 0:
                return index
    return None


def _alternatives(text: list[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    depth, start = 0, 0
    for index, pair in enumerate(text):
        depth += {("(", False): 1, (")", False): -1}.get(pair, 0)
        if pair == ("|", False) and depth == 0:
            yield text[start:index]
            start = index + 1
    yield text[start:]


def _bracket(text: list[tuple[str, bool]], start: int) -> tuple[str, int] | None:
    """A set of characters behind its ``[``, and where the text goes on."""
    at = start
    negated = at < len(text) and text[at][0] in "!^" and not text[at][1]
    at += negated
    inside = ""
    first = True
    while at < len(text):
        char, quoted = text[at]
        if char == "]" and not quoted and not first:
            return f"[{'^' if negated else ''}{inside}]", at + 1
        first = False
        rest = "".join(c for c, _ in text[at : at + 12])
        name = re.match(r"\[:(\w+):\]", rest)
        if name is not None and not quoted and name[1] in _CLASSES:
            inside += _CLASSES[name[1]]
            at += name.end()
        elif char == "-" and not quoted:
            inside += "-" if inside and rest[1:2] not in ("]", "") else r"\-"
            at += 1
        else:
            inside += re.escape(char)
            at += 1
    return None


def regular_expression(pieces: Sequence[Piece]) -> re.Pattern[str] | None:
    """What ``=~`` matches; None where nobody can tell, or where it may take for ever."""
    text = ""
    for piece in pieces:
        if not isinstance(piece.content, str):
            return None
        text += re.escape(piece.content) if piece.role is Role.QUOTED else piece.content
    for name, inside in _CLASSES.items():
        text = text.replace(f"[:{name}:]", inside)
    if _NESTED.search(text) or "(?" in text or re.search(r"\\[A-Za-z0-9]", text):
        return None
    try:
        return re.compile(re.sub(r"\$$", r"\\Z", text), re.DOTALL)
    except re.error:
        return None


def removed(text: str, operator: str, pattern: re.Pattern[str]) -> str:
    """``text`` without what matches at its beginning (``#``) or end (``%``)."""
    longest = len(operator) > 1
    ends = range(len(text) + 1)
    if operator[0] == "#":
        for end in reversed(ends) if longest else ends:
            if pattern.fullmatch(text, 0, end):
                return text[end:]
        return text
    for start in ends if longest else reversed(ends):
        if pattern.fullmatch(text, start):
            return text[:start]
    return text


def replaced(text: str, pattern: re.Pattern[str], by: str, *, every: bool, at: str) -> str:
    """``text`` with what matches first, or everywhere, replaced.

    Args:
        text: to search.
        pattern: what is replaced; its longest match.
        by: instead of it.
        every: whether all matches are.
        at: ``#``: only at the beginning, ``%``: only at the end, empty: anywhere.
    """
    if at and pattern.pattern == "":
        return by + text if at == "#" else text + by
    if at == "%":
        for start in range(len(text) + 1):
            if pattern.fullmatch(text, start):
                return text[:start] + by
        return text
    result, place = "", 0
    while place <= len(text):
        match = pattern.match(text, place)
        if match is None or match.end() == place:
            if at == "#" or place == len(text):
                break
            result += text[place]
            place += 1
            continue
        result += by
        place = match.end()
        if not every:
            break
    return result + text[place:]
