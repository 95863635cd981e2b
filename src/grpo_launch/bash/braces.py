"""Brace expansion: ``{a,b}`` and ``{1..4}``, before anything else is expanded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from grpo_launch.bash.syntax import Node

Atom = str | Node
"""A character outside quotes, a quoted one with its backslash, or a part of another type."""

_RANGE = re.compile(r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.(-?\d+))?")
_MOST = 10_000


def expand(parts: Sequence[Node]) -> list[Sequence[Node]]:
    """The words that one gives, each as parts.

    Raises:
        OverflowError: they are more than anybody follows.
    """
    if not any(part.get("Type") == "Lit" and "{" in part["Value"] for part in parts):
        return [parts]
    return [_parts(atoms) for atoms in _expand(_atoms(parts))]


def _atoms(parts: Sequence[Node]) -> list[Atom]:
    atoms: list[Atom] = []
    for part in parts:
        if part.get("Type") == "Lit":
            atoms += re.findall(r"\\.|.", str(part["Value"]), re.DOTALL)
        else:
            atoms.append(part)
    return atoms


def _parts(atoms: Sequence[Atom]) -> list[Node]:
    parts: list[Node] = []
    text = ""
    for atom in [*atoms, None]:
        if isinstance(atom, str):
            text += atom
            continue
        if text:
            parts.append({"Type": "Lit", "Value": text})
            text = ""
        if atom is not None:
            parts.append(atom)
    return parts


def _expand(atoms: Sequence[Atom]) -> list[list[Atom]]:
    """All words of a text; the leftmost brace that is one is taken first."""
    for start, atom in enumerate(atoms):
        if atom != "{":
            continue
        end, commas = _end(atoms, start)
        if end is None:
            continue
        inside = atoms[start + 1 : end]
        words = _alternatives(atoms, start, end, commas) if commas else _range(inside)
        if words is None:
            continue
        behind = _expand(atoms[end + 1 :])
        before = list(atoms[:start])
        if len(words) * len(behind) > _MOST:
            raise OverflowError
        return [[*before, *word, *rest] for word in words for rest in behind]
    return [list(atoms)]


def _end(atoms: Sequence[Atom], start: int) -> tuple[int | None, list[int]]:
    """Where a brace closes, and the commas on its own level."""
    depth = 0
    commas: list[int] = []
    for index in range(start, len(atoms)):
        if atoms[index] == "{":
            depth += 1
        elif atoms[index] == "}":
            depth -= 1
            if depth == 0:
                return index, commas
        elif atoms[index] == "," and depth == 1:
            commas.append(index)
    return None, []


def _alternatives(
    atoms: Sequence[Atom], start: int, end: int, commas: Sequence[int]
) -> list[list[Atom]]:
    bounds = [start, *commas, end]
    words: list[list[Atom]] = []
    for first, last in pairwise(bounds):
        words += _expand(atoms[first + 1 : last])
    return words


def _range(inside: Sequence[Atom]) -> list[list[Atom]] | None:
    if not all(isinstance(atom, str) for atom in inside):
        return None
    match = _RANGE.fullmatch("".join(cast("Sequence[str]", inside)))
    if match is None:
        return None
    first, last = match[1], match[2]
    step = abs(int(match[3] or 1)) or 1
    numbers = _is_number(first), _is_number(last)
    if numbers[0] != numbers[1]:
        return None
    low, high = (int(first), int(last)) if numbers[0] else (ord(first), ord(last))
    if abs(high - low) // step > _MOST:
        raise OverflowError
    values = range(low, high + 1, step) if low <= high else range(low, high - 1, -step)
    if not numbers[0]:
        return [[chr(value)] for value in values]
    padded = any(re.match(r"-?0\d", x) for x in (first, last))
    width = max(len(first), len(last)) if padded else 0
    return [list(f"{value:0{width}d}") for value in values]


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdigit()
