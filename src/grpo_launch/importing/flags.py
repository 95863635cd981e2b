"""A command line as flags with their words, by the rules that all parsers share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from grpo_launch.bash.script import Unknown, Value, joined

_DECIMAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?")
_NUMBER = re.compile(r"-\d+|-\d*\.\d+|-\d+(\.\d*)?[eE][-+]?\d+")


@dataclass(frozen=True)
class Named(Value):
    """The word of a flag that stands for a key of a file of arguments.

    Attributes:
        data: what the key has there, as the program reads it; the words of the flag are for people
            and for what reads command lines, and do not tell null from ``"null"``.
    """

    data: Any = field(default=None, compare=False)


@dataclass(frozen=True)
class Flag:
    """One flag of a command line.

    Attributes:
        name: with its dashes; empty: words before the first flag.
        values: the words that it is given.
        equals: whether it is written ``--name=value``.
        key_of_file: the key of a file that it stands for; None: it is a flag as it is.
    """

    name: str
    values: tuple[Value, ...]
    equals: bool = False
    key_of_file: Named | None = None

    @property
    def key(self) -> str:
        """Its name without dashes, and with ``_`` inside: both spellings are one flag."""
        return self.name.lstrip("-").replace("-", "_")

    @property
    def unknowns(self) -> tuple[Unknown, ...]:
        """What of its words is not known."""
        return tuple(part for value in self.values for part in value.unknowns)

    @property
    def words(self) -> list[Value]:
        """As it stands on the command line."""
        name = self.key_of_file or joined(self.name)
        if self.equals:
            return [self.key_of_file or joined(f"{self.name}=", *self.values)]
        return [*([name] if self.name else []), *self.values]

    def __str__(self) -> str:
        """As the script says it."""
        return " ".join(map(str, self.words))


def parsed(words: Iterable[Value]) -> list[Flag]:
    """The flags of a command line, in their order; several of one name stay several.

    A dash before a number is a minus.
    """
    found: list[Flag] = []
    for word in words:
        first = word.parts[0] if word.parts else ""
        text = first if isinstance(first, str) else ""
        is_flag = len(text) > 1 and text.startswith("-") and not text[1:2].isspace()
        if is_flag and not _NUMBER.fullmatch(word.known or ""):
            name, equals, rest = text.partition("=")
            key = word if isinstance(word, Named) else None
            if equals:
                found.append(Flag(name, (joined(rest, *word.parts[1:]),), True, key))
            elif len(word.parts) == 1:
                found.append(Flag(name, (), key_of_file=key))
            else:
                found.append(Flag("", (word,)))  # the name itself is not known
        elif found and found[-1].values and not found[-1].unknowns and _is_unknown(word):
            found.append(Flag("", (word,)))  # rather more flags than one more word
        elif found and not found[-1].equals and (found[-1].name or not found[-1].unknowns):
            found[-1] = replace(found[-1], values=(*found[-1].values, word))
        else:
            found.append(Flag("", (word,)))
    return found


def _is_unknown(word: Value) -> bool:
    return len(word.parts) == 1 and word.unknowns != ()


def texts(words: Iterable[Value], unknown: str = "0") -> list[str]:
    """The words as texts; a word that is not known is ``unknown``."""
    return [unknown if (text := word.known) is None else text for word in words]


def shape(word: Value) -> str:
    """A word with ``?`` for each part that is not known: ``?/bin/python``."""
    return "".join(part if isinstance(part, str) else "?" for part in word.parts)


def same(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two lists of words mean the same to a parser: ``1e-6`` is ``1e-06``."""
    return len(one) == len(other) and all(map(_equal, one, other))


def same_data(one: Any, other: Any) -> bool:
    """Whether plain data are the same to a program that gets them as they are: 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        first, second = cast("dict[Any, Any]", one), cast("dict[Any, Any]", other)
        return first.keys() == second.keys() and all(same_data(first[k], second[k]) for k in first)
    if isinstance(one, list):
        items = cast("list[Any]", one), cast("list[Any]", other)
        return len(items[0]) == len(items[1]) and all(map(same_data, *items))
    return one == other or (one != one and other != other)  # nan


def _equal(one: str, other: str) -> bool:
    return one == other or _meaning(one) == _meaning(other)


def _meaning(word: str) -> Any:
    if word.lower() in ("true", "false"):
        return word.lower(), "boolean"
    if _DECIMAL.fullmatch(word):
        return float(word)
    try:
        value = json.loads(word)
    except ValueError:
        return word
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return word
    return value
