"""Launches whose arguments are in a file, and files that are arguments themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any, cast

from grpo_launch.bash.script import Call, Value
from grpo_launch.errors import ConfigError
from grpo_launch.importing.flags import shape
from grpo_launch.importing.launches import Launch
from grpo_launch.importing.reading import COMMAND, LEARNER, argument_file, plugin, split
from grpo_launch.importing.wrappers import Unwrapped
from grpo_launch.plugins import LEARNERS

ENV = "ENV"
"""In a file of arguments: variables."""

Find = Callable[[str], Mapping[str, Any] | None]
"""From the path that a script says to what the file holds; None: it is not there."""


def expanded(launch: Launch, find: Find) -> Launch:
    """A launch with the arguments of its file as flags; the same where it has no file.

    Flags behind the file win over it.
    """
    if launch.name == COMMAND or launch.kind != LEARNER or not launch.bare.words:
        return launch
    head, rest = split(launch.words, len(launch.bare.before))
    words = [shape(word) for word in head]
    named = argument_file(words)
    arguments = find(named) if named else None
    if arguments is None:
        return launch
    at = words.index(named)
    given = {name: value for name, value in arguments.items() if name != ENV}
    for override in words[at + 1 :]:
        name, equals, value = override.partition("=")
        if not equals:
            return launch
        given[name] = value
    flags = plugin(LEARNER, launch.name).command(words[: at - 1], given)[at:]
    bare = replace(
        launch.bare,
        words=(*launch.bare.words[: at - len(launch.bare.before)], *_values(flags), *rest),
    )
    environ = {**launch.bare.environ, **_variables(arguments)}
    return replace(launch, bare=replace(bare, environ=environ))


def launch_of(name: str, arguments: Mapping[str, Any]) -> Launch:
    """The launch that gives a learner the arguments of a file.

    Args:
        name: of the file.
        arguments: what it holds.

    Raises:
        ConfigError: no learner has such arguments.
    """
    given = {key: value for key, value in arguments.items() if key != ENV}
    known: dict[str, int] = {}
    for learner in LEARNERS.names():
        question = LEARNERS.get(learner).flags
        flags = question.shipped().table.flags if question is not None else {}
        known[learner] = sum(key in flags for key in given)
    best = max(known, key=lambda each: known[each])
    if not given or known[best] * 2 < len(given):
        what = "holds no arguments of a learner"
        raise ConfigError(name, what, f"give a script, or arguments of {', '.join(known)}")
    one = plugin(LEARNER, best)
    words = _values(one.command(one.entry, given))
    call = Call(line=1, end=1, words=words, environ=_variables(arguments))
    return Launch(name, call, Unwrapped((), words), LEARNER, best)


def _values(words: list[str]) -> tuple[Value, ...]:
    return tuple(Value((word,)) if word else Value() for word in words)


def _variables(arguments: Mapping[str, Any]) -> dict[str, Value]:
    said = arguments.get(ENV)
    if not isinstance(said, dict):
        return {}
    pairs = cast("dict[Any, Any]", said).items()
    return {str(name): Value((str(value),)) for name, value in pairs}


def is_arguments(path: str) -> bool:
    """Whether a file is one of arguments, by its name."""
    return PurePath(path).suffix in (".yaml", ".yml", ".json")
