"""The table of ``compat=env``: which environment variable means which key.

The data is ``conf/compat/hanabi_env.yaml``, whose head says what each field means; here it
becomes dataclasses, and a variable's text becomes a value.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

from grpo_launch.base import resources

TABLE = "conf/compat/hanabi_env.yaml"
"""The table, below the directory of what ships with the launcher."""

_HALVES = {"server": "learner", "learner": "server"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unreadable(ValueError):  # noqa: N818  # never leaves this layer
    """A text is not what its variable takes; the message says why, and what to do."""

    def __init__(self, what: str, fix: str) -> None:
        self.what = what
        self.fix = fix
        super().__init__(f"{what}, {fix}")


@dataclass(frozen=True)
class Variable:
    """One variable of the old scripts.

    Attributes:
        name: of the variable.
        keys: the dotted key that it sets, by role; under ``None`` for the roles that are not
            named.
        read: the name of its reader, see :data:`READERS`.
        choices: the only words there are; empty: any.
        half: the half that it is about, or None for both.
        empties: whether set-but-empty sets the key to null, "none of them"; otherwise it is as
            if it were not set.
        default: the variable that speaks for it where it is not set.
        beaten: the variable that wins over it.
        equals: what its value has to be, for one that sets nothing.
        scripts: that read it; for the documentation, as ``note`` is.
    """

    name: str
    keys: Mapping[str | None, str]
    read: str
    choices: tuple[str, ...] = ()
    half: str | None = None
    empties: bool = False
    default: str | None = None
    beaten: str | None = None
    equals: str | None = None
    scripts: tuple[str, ...] = ()
    note: str = ""

    def counts(self, role: str) -> bool:
        """Whether ``role`` reads it: a half that is started alone reads what is about it."""
        return self.half is None or role != _HALVES[self.half]

    def key(self, role: str) -> str | None:
        """What it sets under ``role``, or None."""
        return self.keys.get(role, self.keys.get(None))

    def value(self, text: str) -> Any:
        """Its value; ``text`` is not blank.

        Raises:
            Unreadable: the text is not what this variable takes.
        """
        value = READERS[self.read](_plain(text))
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        unknown = [item for item in items if self.choices and item not in self.choices]
        if unknown:
            what = f"{unknown[0]!r} is not one of {', '.join(self.choices)}"
            raise Unreadable(what, "choose one of them")
        return value


@dataclass(frozen=True)
class Table:
    """All variables that the old scripts read.

    Attributes:
        variables: that set a key or have to equal something.
        ignored: those without a meaning here, and why.
        kept: those that a program reads from the environment itself, and which.
        others: variables of other programs that look like misspelled ones of these.
    """

    variables: Mapping[str, Variable]
    ignored: Mapping[str, str]
    kept: Mapping[str, str]
    others: frozenset[str]


@functools.cache
def load() -> Table:
    """The shipped table; it does not change while a process runs."""
    text = resources.path(TABLE).read_text(encoding="utf-8")
    data = yaml.load(text, _LOADER)  # noqa: S506  # a safe one
    variables = {name: _variable(name, fields) for name, fields in data["variables"].items()}
    return Table(variables, data["ignored"], data["kept"], frozenset(data["others"]))


def _variable(name: str, fields: dict[str, Any]) -> Variable:
    said = dict(fields)
    key = said.pop("key", None)
    return Variable(
        name=name,
        keys=cast(
            "dict[str | None, str]", key if isinstance(key, dict) else {None: key} if key else {}
        ),
        choices=tuple(said.pop("choices", ())),
        scripts=tuple(said.pop("from")),
        **said,
    )


def _plain(text: str) -> str:
    """``text``, if it can be written down and typed.

    Raises:
        Unreadable: it holds what no person means.
    """
    if not text.isprintable():
        raise Unreadable("holds a control character or is no UTF-8", "correct it or unset it")
    if "${" in text:
        raise Unreadable(f"{text!r} holds ${{, which no shell has expanded", "expand it")
    if "???" in _words(text):
        raise Unreadable("??? stands for a missing value", "give the value or unset it")
    return text


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text.strip(), re.ASCII):
        raise Unreadable(f"{text!r} is not an integer", "correct it or unset it")
    return int(text)


def _number(text: str) -> int | float:
    try:
        return _integer(text)
    except Unreadable:
        pass
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Unreadable(f"{text!r} is not a number", "correct it or unset it")
    return value


_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise Unreadable(f"{text!r} is not true or false", "use one of them")
    return value


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]


def _integers(text: str) -> list[int]:
    return [_integer(word) for word in _words(text)]


def _devices(text: str) -> list[int | str]:
    """Indices as integers, which is how people type them; UUIDs as they are."""
    return [int(word) if re.fullmatch(r"0|[1-9]\d{0,8}", word) else word for word in _words(text)]


READERS: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "words": _words,
    "integers": _integers,
    "devices": _devices,
}
"""How a text becomes a value, by the table's name for it."""
