"""A launch read back into keys by the plug-in whose command line it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from grpo_launch.bash.script import Value
from grpo_launch.config.schema_programs import NO_PLUGIN
from grpo_launch.engines.flags import Flag as Fact
from grpo_launch.importing.flags import Flag, parsed, shape, texts
from grpo_launch.plugins import ENGINES, LEARNERS

COMMAND = "command"
"""The plug-in of whatever has none."""

_NOT_ASKED = (COMMAND, "external", NO_PLUGIN)
"""Plug-ins that take any command line, or none."""

ENGINE = "engine"
LEARNER = "learner"

_PYTHON_TAKES = ("-m", "-W", "-X")


@dataclass(frozen=True)
class Reading:
    """What a command line says, by key of a configuration.

    Attributes:
        kind: :data:`ENGINE` or :data:`LEARNER`.
        name: of the plug-in.
        head: the words before the first flag, wrappers that stay included.
        flags: the others, in their order.
        keys: the keys that are known, in the order of the flags.
        of_head: those that the head says.
        sources: which flag says a key.
        unknown: the flags whose words are not known, and the keys that they would say.
        refused: why the plug-in that knows the program does not read it; empty: it does.
    """

    kind: str
    name: str
    head: tuple[Value, ...]
    flags: tuple[Flag, ...] = ()
    keys: dict[str, Any] = field(default_factory=dict[str, Any])
    of_head: dict[str, Any] = field(default_factory=dict[str, Any])
    sources: dict[str, Flag] = field(default_factory=dict[str, Flag])
    unknown: tuple[tuple[Flag, tuple[str, ...]], ...] = ()
    refused: str = ""


def plugin(kind: str, name: str) -> Any:
    """The engine or learner of a name."""
    return (ENGINES if kind == ENGINE else LEARNERS).get(name)


def fact(kind: str, name: str, flag: Flag) -> Fact | None:
    """What is known of a flag of a plug-in's program; None: nothing."""
    question = plugin(kind, name).flags
    return question.shipped().table.flags.get(flag.key) if question is not None else None


def split(words: Sequence[Value], before: int = 0) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """The program with what stands before its first flag, and the rest.

    Options of an interpreter belong to the program: ``python -u -m MODULE``. A word behind the
    program that is not known may be anything, and belongs to the rest.

    Args:
        words: the command line.
        before: how many of its first words are wrappers.
    """
    at, is_python = before, False
    while at < len(words):
        text = shape(words[at])
        if PurePath(text).name.startswith("python"):
            is_python = True
        elif text.startswith("-") and len(text) > 1:
            if not is_python or text.startswith("--"):
                break
            at += text in _PYTHON_TAKES
            is_python = text != "-m"
        elif at > before and text == "?":
            break
        else:
            is_python = False
        at += 1
    return tuple(words[:at]), tuple(words[at:])


def identified(words: Sequence[Value], before: int = 0) -> tuple[str, str] | None:
    """The kind and the name of the plug-in that reads a command line; None: no one does."""
    head, _ = split(words, before)
    return next(_readers([shape(word) for word in head]), None)


def plugin_programs() -> frozenset[str]:
    """The names of the programs that plug-ins start."""
    every = ((ENGINES, ENGINES.names()), (LEARNERS, LEARNERS.names()))
    entries = (registry.get(name).entry for registry, names in every for name in names)
    return frozenset(PurePath(entry[0]).name for entry in entries if entry) - {"python", "true"}


def _readers(head: list[str]) -> Iterator[tuple[str, str]]:
    for kind, registry in ((ENGINE, ENGINES), (LEARNER, LEARNERS)):
        for name in registry.names():
            if name in _NOT_ASKED:
                continue
            one = registry.get(name)
            try:
                keys = one.from_argv(head)
            except ValueError as error:
                if not _is_argument_file(head, str(error)):
                    continue
                keys = {f"{kind}.entry": head}
            if _is_of(one, keys.get(f"{kind}.entry") or []):
                yield kind, name


def _is_argument_file(head: Sequence[str], why: str) -> bool:
    """Whether a plug-in refused a command line only because its arguments are in a file."""
    return argument_file(head) != "" and repr(argument_file(head)) in why


def argument_file(head: Sequence[str]) -> str:
    """The file that a program is given its arguments in; empty: none."""
    endings = (".yaml", ".yml", ".json")
    return next((word for word in head[1:] if word.endswith(endings) and "=" not in word), "")


def _is_of(one: Any, entry: Sequence[str]) -> bool:
    """Whether the words before a plug-in's arguments name its program, or a module of it.

    ``megatron rlhf`` has a word of another program.
    """
    for usual in (one.entry, one.cpu_entry):
        names = {PurePath(word).stem.partition("-")[0] for word in usual[:1]}
        names |= {word.partition(".")[0] for word in usual if "." in word or "_" in word}
        names -= {"python"}
        if names and [*entry[-1:]] == ["?"]:  # whatever is called, the rest is its own
            return True
        for word in entry:
            parts = PurePath(word).parts
            if names & {PurePath(word).stem.partition("-")[0], word.partition(".")[0], *parts}:
                return True
    return False


def read(kind: str, name: str, words: Sequence[Value], before: int = 0) -> Reading:
    """What a command line says; where its plug-in refuses it, it is a command of its own.

    Args:
        kind: of the plug-in.
        name: of the plug-in.
        words: the command line.
        before: how many of its first words are wrappers.
    """
    if name == COMMAND:
        return _command(kind, words, before)
    try:
        return _read(kind, name, words, before)
    except ValueError as error:
        return read_as_command(kind, words, before, str(error))


def _read(kind: str, name: str, words: Sequence[Value], before: int) -> Reading:
    """See :func:`read`.

    Raises:
        ValueError: the plug-in refuses it.
    """
    one = plugin(kind, name)
    head, rest = split(words, before)
    start, flags = [shape(word) for word in head], parsed(rest)
    known = [flag for flag in flags if not flag.unknowns]
    whole = _keys(one, start, known)
    is_known = not any(word.unknowns for word in words)
    if kind == ENGINE and is_known and not any(key.endswith(".model") for key in whole):
        raise ValueError(f"{' '.join(start)} names no model")
    sources: dict[str, Flag] = {}
    for flag in known:
        sources |= dict.fromkeys(_own(one, start, known, flag, whole), flag)
    unknown: list[tuple[Flag, tuple[str, ...]]] = []
    named = False
    for flag in flags:
        named = named or flag.name != ""
        if flag.unknowns and named and not flag.name:
            unknown.append((flag, ()))  # any flags
        elif flag.unknowns:
            some = [other for other in flags if other is flag or not other.unknowns]
            unknown.append((flag, _own(one, start, some, flag, _tried(one, start, some))))
    hidden = {key for _, keys in unknown for key in keys}
    of_head = {key: value for key, value in whole.items() if key not in sources}
    if any(word.unknowns for word in head):
        own = tuple(key for key in of_head if key.endswith(".entry"))
        unknown.append((Flag("", head), own))
        hidden |= {*own}
    keys = {key: value for key, value in whole.items() if key not in hidden}
    of_head = {key: value for key, value in of_head.items() if key not in hidden}
    return Reading(kind, name, head, tuple(flags), keys, of_head, sources, tuple(unknown))


def _keys(one: Any, start: Sequence[str], flags: Sequence[Flag]) -> dict[str, Any]:
    """The keys that flags say; what a file has there is not read of words again."""
    keys = one.from_argv([*start, *(text for flag in flags for text in texts(flag.words))])
    last = {flag.key: flag.key_of_file for flag in flags if flag.name}
    for key in keys:
        section, _, name = key.rpartition(".")
        if section.startswith("train") and (of_file := last.get(name)) is not None:
            keys[key] = of_file.data
    return keys


def _tried(one: Any, start: Sequence[str], flags: Sequence[Flag]) -> dict[str, Any]:
    """The keys, with a stand-in for words that are not known; none where that is refused."""
    try:
        return _keys(one, start, flags)
    except ValueError:
        return {}


def _own(
    one: Any, start: Sequence[str], flags: Sequence[Flag], flag: Flag, whole: Mapping[str, Any]
) -> tuple[str, ...]:
    """The keys that one flag says: what is missing, or another, without it.

    Of a flag that cannot be left out, or that is given twice, the keys of its name.
    """
    without = _tried(one, start, [other for other in flags if other is not flag])
    own = tuple(k for k, value in whole.items() if k not in without or without[k] != value)
    if without and own:
        return own
    return tuple(key for key in whole if key.rpartition(".")[2] == flag.key)


def read_as_command(kind: str, words: Sequence[Value], before: int, why: str) -> Reading:
    """A launch that a plug-in could read, as a command of its own."""
    return replace(_command(kind, words, before), refused=why)


def flag_text(reading: Reading, names: Sequence[str]) -> str:
    """What is given to the last flag of some names, dashes aside; empty: nothing that is known."""
    said = [flag for flag in reading.flags if flag.key in names and len(flag.values) == 1]
    return (said[-1].values[0].known or "") if said else ""


def _command(kind: str, words: Sequence[Value], before: int) -> Reading:
    """A command of its own: its words are one key."""
    keys = plugin(kind, COMMAND).from_argv(texts(words, unknown="?"))
    head, rest = split(words, before)
    flags = tuple(parsed(rest))
    unknown = [(flag, tuple(keys)) for flag in flags if flag.unknowns]
    if any(word.unknowns for word in head):
        unknown.insert(0, (Flag("", head), tuple(keys)))
    if unknown:
        return Reading(kind, COMMAND, head, flags, unknown=tuple(unknown))
    return Reading(kind, COMMAND, head, flags, keys=keys, of_head=keys)
