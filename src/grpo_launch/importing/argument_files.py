"""Launches whose arguments are in a file, and files that are arguments themselves.

A flag of such a launch stands for a key of the file, and keeps what the key has there: the words of
a command line do not tell null from ``"null"``, or 1 from ``"1"``.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath
from typing import Any, cast

from grpo_launch.bash.script import Call, Value, joined
from grpo_launch.config.formats import document
from grpo_launch.engines.flags import FlagTable
from grpo_launch.errors import ConfigError, one_line
from grpo_launch.importing.flags import Named, shape
from grpo_launch.importing.launches import Launch
from grpo_launch.importing.reading import COMMAND, LEARNER, argument_file, plugin, split
from grpo_launch.importing.wrappers import Unwrapped
from grpo_launch.learners.base import TakesData
from grpo_launch.plugins import LEARNERS

ENV = "ENV"
"""In a file of arguments: variables."""

_NAME = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class ArgumentFile:
    """A file of arguments.

    Attributes:
        path: for messages; its ending says how it is read.
        text: what it holds.
    """

    path: Path
    text: bytes

    @classmethod
    def of(cls, path: Path) -> ArgumentFile:
        """One that is there.

        Raises:
            ConfigError: it cannot be read.
        """
        return cls(path, document.read_bytes(path))

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return document.shown(self.path)


Find = Callable[[str], ArgumentFile | None]
"""From the path that a script says to the file; None: it is not there."""


@dataclass(frozen=True)
class FileLaunch(Launch):
    """A launch with the keys of its file as flags.

    Attributes:
        said: the launch as it is, which names the file.
        lost: what the flags do not say of the file, a line each.
    """

    said: Launch | None = None
    lost: tuple[str, ...] = ()


def as_said(launch: Launch) -> Launch:
    """A launch with the words that it is really started with."""
    said = launch.said if isinstance(launch, FileLaunch) else None
    return said or launch


def expanded(launch: Launch, find: Find) -> Launch:
    """A launch with the arguments of its file as flags; the same where it has no file.

    Flags behind the file win over it.

    Raises:
        ConfigError: the program could not read the file.
    """
    if launch.name == COMMAND or launch.kind != LEARNER or not launch.bare.words:
        return launch
    head, rest = split(launch.words, len(launch.bare.before))
    words = [shape(word) for word in head]
    named = argument_file(words)
    file = find(named) if named else None
    if file is None:
        return launch
    one = plugin(LEARNER, launch.name)
    at = words.index(named)
    overrides = words[at + 1 :]
    if not _are_taken(one, overrides, rest):
        return launch
    held = _read(one, file, overrides)
    first = len(launch.bare.before)
    flags = words_of(one, words[: at - 1], held.arguments)[at:]
    # What is exported wins over what a file sets.
    own = {k: v for k, v in held.environ.items() if k not in launch.call.environ}
    bare = replace(
        launch.bare,
        words=(*launch.bare.words[: at - first], *flags, *rest),
        environ={**own, **launch.bare.environ},
    )
    each: dict[str, Any] = {one.name: getattr(launch, one.name) for one in fields(Launch)}
    each["bare"] = bare
    return FileLaunch(**each, said=launch, lost=held.lost)


def _reader(one: Any) -> TakesData | None:
    """A learner whose program takes the data of its file; None: it makes words of them."""
    return one if isinstance(one, TakesData) else None


def _are_taken(one: Any, overrides: Sequence[str], rest: Sequence[Value]) -> bool:
    """Whether a learner takes what stands behind its file: ``name=value``, or flags."""
    if _reader(one) is not None:
        return not rest and all("=" in word for word in overrides)
    return not overrides


def launch_of(name: str) -> Launch:
    """The launch that gives a learner the arguments of a file.

    Args:
        name: of the file.

    Raises:
        ConfigError: it cannot be read, or no learner has such arguments.
    """
    file = ArgumentFile.of(Path(name))
    given = {key: value for key, value in _mapping(file).items() if key != ENV}
    known: dict[str, int] = {}
    for learner in LEARNERS.names():
        if (question := LEARNERS.get(learner).flags) is not None:
            flags = question.shipped().table.flags
            known[learner] = sum(key in flags for key in given)
    best = max(known, key=lambda each: known[each])
    if not given or known[best] * 2 < len(given):
        what = "holds no arguments of a learner"
        raise ConfigError(name, what, f"give a script, or arguments of {', '.join(known)}")
    one = plugin(LEARNER, best)
    held = _read(one, file, ())
    words = words_of(one, one.entry, held.arguments)
    plain = (*words_of(one, one.entry, {}), Value((name,)))
    said = Launch(name, Call(1, 1, plain), Unwrapped((), plain), LEARNER, best)
    call = Call(line=1, end=1, words=words, environ=held.environ)
    bare = Unwrapped((), words)
    return FileLaunch(name, call, bare, LEARNER, best, said=said, lost=held.lost)


def words_of(one: Any, entry: Sequence[str], arguments: Mapping[str, Any]) -> tuple[Value, ...]:
    """The command line of a learner whose flags stand for keys of a file.

    Args:
        one: the learner.
        entry: the words before its arguments.
        arguments: by name.
    """
    start = one.command(entry, {})
    words = [*map(joined, start)]
    for name, value in arguments.items():
        flag, *texts = one.command(entry, {name: value})[len(start) :]
        # A text is the same word wherever it stands, unless the program gets it as it is.
        is_word = isinstance(value, str) and _reader(one) is None
        if len(texts) == 1 and texts[0].startswith("-"):
            flag, texts = f"{flag}={texts[0]}", []
        words.append(joined(flag) if is_word else Named((flag,), value))
        words += map(joined, texts)
    return tuple(words)


def planned(one: Any, entry: Sequence[str], text: str) -> tuple[Value, ...]:
    """The same of a planned file."""
    import yaml

    reader = _reader(one)
    data = yaml.safe_load(text) if reader is None else reader.read_file(text, ())
    return words_of(one, entry, cast("dict[str, Any]", data))


@dataclass(frozen=True)
class _Held:
    """What a learner gets of a file.

    Attributes:
        arguments: by name.
        environ: variables that the file sets.
        lost: arguments that are left out, a line each.
    """

    arguments: Mapping[str, Any]
    environ: Mapping[str, Value]
    lost: tuple[str, ...]


def _read(one: Any, file: ArgumentFile, overrides: Sequence[str]) -> _Held:
    """What a learner gets of a file.

    Args:
        one: the learner.
        file: the file.
        overrides: ``name=value`` behind it.

    Raises:
        ConfigError: it gets nothing, or what no experiment can hold.
    """
    data = _mapping(file)
    if (reader := _reader(one)) is None:
        _refuse(file, data)
        return _as_words(one, data)
    try:
        data = reader.read_file(file.text.decode(), overrides)
    except ValueError as error:
        what = f"cannot be read by {one.product} ({one_line(str(error))})"
        raise ConfigError(file.shown, what, "correct it") from None
    _refuse(file, data)
    return _Held(data, {}, ())


def _refuse(file: ArgumentFile, data: Mapping[str, Any]) -> None:
    """Refuse what no experiment can hold.

    Raises:
        ConfigError: there is such a value.
    """
    for key, value in data.items():
        if fault := _fault(value):
            where = f"{file.shown}:{_line(file, key)}"
            raise ConfigError(where, f"{key} holds {fault}", "quote it, or write it as text")


def _as_words(one: Any, data: Mapping[str, Any]) -> _Held:
    """The arguments of a program that makes a command line of its file.

    Null is the text None on a command line, which only a flag with choices takes for null, and an
    empty list is a flag that its parser misses a value of.
    """
    table = one.flags.shipped().table
    arguments, lost = dict[str, Any](), list[str]()
    for key, value in data.items():
        if key == ENV:
            continue
        if value is not None and value != []:
            arguments[key] = _text(value)
        elif value == [] or not _is_unset_by_none(table, key):
            shown, gets = ("[]", "no value") if value == [] else ("null", "the text None")
            lost.append(f"{key}: {shown} gives {one.product} {gets}, and is left out here")
    return _Held(arguments, _variables(data.get(ENV)), tuple(lost))


def _is_unset_by_none(table: FlagTable, name: str) -> bool:
    """Whether a flag takes the text None for null, which it is as well where nobody says it."""
    flag = table.flags.get(name)
    choices = (flag.choices if flag is not None else None) or ()
    return "None" in choices and name not in table.defaults


def _mapping(file: ArgumentFile) -> dict[str, Any]:
    """What a file of arguments holds, as ``yaml.safe_load`` gives it.

    Raises:
        ConfigError: it is no mapping of names.
    """
    data = document.parse(file.path, file.text)
    if not isinstance(data, dict):
        raise ConfigError(file.shown, "is no mapping", "give a file of a learner's flags")
    mapping = cast("dict[Any, Any]", data)
    for key in mapping:
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            what = f"{one_line(str(key)) or 'an empty text'} is no name of an argument"
            fix = "quote it, or correct it" if not isinstance(key, str) else "correct it"
            raise ConfigError(f"{file.shown}:{_line(file, key)}", what, fix)
    return {**mapping}  # it is remembered there


def _line(file: ArgumentFile, key: Any) -> int:
    """Where a key stands in a file; JSON is read as the YAML that it is."""
    origin = document.read_origins(file.path, file.text).get(key)
    found = (
        cast("dict[Any, Any]", origin).get(document.SELF) if isinstance(origin, dict) else origin
    )
    return found.line if isinstance(found, document.Origin) else 1


def _fault(value: Any, depth: int = 0) -> str:
    """What there is in a value that no experiment can hold; empty: nothing."""
    if isinstance(value, list):
        return next(filter(None, (_fault(item, depth + 1) for item in value)), "")
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return next(filter(None, (_fault(x, 2) for pair in pairs for x in pair)), "")
    if value is None or isinstance(value, _PLAIN):
        return ""
    if isinstance(value, datetime.date):
        return "" if depth < 2 else f"a date, {value}"
    return "bytes" if isinstance(value, bytes) else f"a {type(value).__name__}"


def _text(value: Any) -> Any:
    """A value with dates as texts, which is what becomes of them on a command line."""
    if isinstance(value, list):
        return [_text(item) for item in cast("list[Any]", value)]
    return str(value) if isinstance(value, datetime.date) else value


def _variables(said: Any) -> dict[str, Value]:
    pairs = cast("dict[Any, Any]", said).items() if isinstance(said, dict) else ()
    return {str(name): Value((str(value),)) for name, value in pairs}


def is_arguments(path: str) -> bool:
    """Whether a file is one of arguments, by its name."""
    return PurePath(path).suffix in (".yaml", ".yml", ".json")
