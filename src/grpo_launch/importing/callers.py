"""Variables of the caller, which the experiment takes from the environment: ``${oc.env:X}``.

A word of which nothing else is unknown goes through the import as a known text, with a mark for
each variable. The experiment is planned with these marks as the values of the variables (or with
numbers, where a flag takes one): the comparison shows whether each arrives where it should.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from grpo_launch.base import redaction
from grpo_launch.bash.script import Kind, Unknown, Value, joined
from grpo_launch.bash.state import ALWAYS_EXPORTED
from grpo_launch.importing.flags import Flag, parsed
from grpo_launch.importing.launches import Launch
from grpo_launch.importing.parts import DEVICES, is_address
from grpo_launch.importing.reading import COMMAND, ENGINE, fact, split
from grpo_launch.planning.nodes import PROCESSES

_MARK = re.compile("\ue000([A-Za-z_][A-Za-z0-9_]*)\ue001")
"""Characters of private use, which no script has a reason to hold."""

_NUMBER = re.compile("\ue002([A-Za-z_][A-Za-z0-9_]*)\ue001")
"""The same where the variable is a number, the whole value of a key."""

_SHOWN = re.compile(r"(?:\ue000|\ue002|\\ue000|\\ue002)(\w+?)(?:\ue001|\\ue001)(?=(\w?))")
"""Either of them in a message, where Python may have escaped it."""

_COUNTED = (DEVICES, PROCESSES, "MASTER_PORT")
"""Variables that become keys of their own, which the plan counts with."""

_TEXTS = ("str", "any")
_NUMBERS = ("int", "float", "size")
_COUNTED_FLAGS = re.compile(r"tp|dp|pp|(tp|dp|pp)_size|\w*_parallel_size|\w*(port|host|base_url)")
"""Flags that the plan counts with: how many devices are needed, and where a server is asked."""

_MORE = re.compile(r"(^|_)(args?|argv|opts?|options|flags?|extras?|overrides)($|_)", re.IGNORECASE)

_FIRST_NUMBER = 7310001
"""Numbers that no script says stand for variables that are numbers."""

_OTHER_NUMBER = 2


def marked(launch: Launch, is_command: bool) -> Launch:
    """A launch with marks for those of its variables that the experiment can take itself.

    Args:
        launch: as it was read.
        is_command: whether its words become one key; they stay as they are unless all are known.
    """
    before = len(launch.bare.before)
    head, rest = split(launch.words, before)
    words = [_alone(word) for word in head]
    for flag in parsed(rest):
        words += _of_flag(launch, flag, is_command)
    if is_command and any(word.unknowns for word in words):
        words = [*launch.words]
    bare = replace(
        launch.bare,
        before=tuple(words[:before]),
        words=tuple(words[before:]),
        environ=marked_variables(launch.bare.environ),
    )
    return replace(
        launch,
        bare=bare,
        call=replace(launch.call, environ=marked_variables(launch.call.environ)),
        environment=replace(launch.environment, name=marked_value(launch.environment.name)),
    )


def marked_variables(values: Mapping[str, Value]) -> dict[str, Value]:
    """Variables with marks, but for those that a key of their own says or that are passed on."""
    return {
        name: value if name in _COUNTED or _is_passed_on(name, value) else marked_value(value)
        for name, value in values.items()
    }


def _is_passed_on(name: str, value: Value) -> bool:
    """Whether a variable is exported as the caller has it: processes get it anyway."""
    return len(value.parts) == 1 and [one.name for one in value.unknowns] == [name]


def _of_flag(launch: Launch, flag: Flag, is_command: bool) -> Sequence[Value]:
    if not flag.name:
        return [_alone(word) for word in flag.words]
    if _is_counted(launch, flag):
        return flag.words
    if not is_command and not _is_text(launch, flag) and not is_number(launch, flag):
        return flag.words
    if any(map(_may_be_flags, flag.values)):
        return flag.words
    others = marked_value if _takes_several(launch, flag) else _alone
    values = (*map(marked_value, flag.values[:1]), *map(others, flag.values[1:]))
    return replace(flag, values=values).words


def _may_be_flags(word: Value) -> bool:
    """Whether a word is a variable without quotes that sounds like more flags."""
    is_alone = len(word.parts) == 1 and word.unknowns and not word.unknowns[0].quoted
    return bool(is_alone and _MORE.search(word.unknowns[0].name))


def _takes_several(launch: Launch, flag: Flag) -> bool:
    known = fact(launch.kind, launch.name, flag)
    return known is not None and known.is_list


def _is_counted(launch: Launch, flag: Flag) -> bool:
    """Whether the launcher plans with what a flag takes: devices, ports, where to ask."""
    if launch.kind == ENGINE and is_address(flag.key):
        return True
    planned = launch.name != COMMAND or launch.kind == ENGINE
    return planned and _COUNTED_FLAGS.fullmatch(flag.key) is not None


def _kind(launch: Launch, flag: Flag) -> str:
    """What a word of a flag is read as; a flag that nobody knows may take any text."""
    known = fact(launch.kind, launch.name, flag)
    return known.kind if known is not None else "any"


def _is_text(launch: Launch, flag: Flag) -> bool:
    return _kind(launch, flag) in _TEXTS


def is_number(launch: Launch, flag: Flag) -> bool:
    """Whether a flag takes one number that does not decide what is planned."""
    is_whole = len(flag.values) == 1 and len(flag.values[0].parts) == 1
    return is_whole and _kind(launch, flag) in _NUMBERS


def _alone(word: Value) -> Value:
    """A word that belongs to no flag: one that may be several words stays unknown."""
    is_one = len(word.parts) > 1 or all(unknown.quoted for unknown in word.unknowns)
    return marked_value(word) if is_one else word


def marked_value(value: Value) -> Value:
    """A value with marks, where all that is unknown of it are variables of the caller."""
    if not value.unknowns or not all(map(_is_plain, value.unknowns)):
        return value
    made = joined(*(p if isinstance(p, str) else f"\ue000{p.name}\ue001" for p in value.parts))
    return value if redaction.in_urls(str(made)) else made


def _is_plain(unknown: Unknown) -> bool:
    """Whether it is all of a variable of the caller, and no secret."""
    name, text = unknown.name, unknown.text
    if unknown.kind is not Kind.VARIABLE or not name.isidentifier():
        return False
    whole = text in (f"${name}", f"${{{name}}}") or (text, name) == ("~", "HOME")
    demanded = re.match(r"\$\{" + name + r":?\?", text) is not None
    return (whole or demanded) and not redaction.is_secret_name(name)


def names(value: Any) -> list[str]:
    """The variables whose marks plain data, words or flags hold, each once."""
    return [*dict.fromkeys(_names(value))]


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (found[1] for found in _any_mark(value))
    elif isinstance(value, Value):
        yield from _names([*value.parts])
    elif isinstance(value, Mapping):
        yield from _names([*cast("Mapping[Any, Any]", value).values()])
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[Any]", value):
            yield from _names(item)


def _any_mark(text: str) -> Iterator[re.Match[str]]:
    return itertools.chain(_MARK.finditer(text), _NUMBER.finditer(text))


def shown(text: str) -> str:
    """A text for people: ``$X`` for a mark."""
    return _SHOWN.sub(lambda found: f"${{{found[1]}}}" if found[2] else f"${found[1]}", text)


def to_export(value: Any) -> list[str]:
    """Those of the variables in plain data, words or flags that not every environment has."""
    return [name for name in names(value) if name not in ALWAYS_EXPORTED]


def what(text: str, variables: Iterable[str]) -> str:
    """What is to be said of words that hold variables of the caller."""
    exported = f"exported as {' and '.join(variables)} when the experiment starts"
    return f"{text} is known only when the script runs: {exported}"


def number(value: Any) -> Any:
    """The value of a flag that takes a number: a mark becomes one of a number."""
    found = _MARK.fullmatch(value) if isinstance(value, str) else None
    return f"\ue002{found[1]}\ue001" if found else value


def interpolated(key: str, value: Any) -> Any:
    """Plain data as OmegaConf takes it: interpolations for marks, and no others.

    Args:
        key: of a variable, its name: where it is put before or behind what it was, nothing is too.
        value: plain data.
    """
    if isinstance(value, dict):
        return {k: interpolated(k, item) for k, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [interpolated(key, item) for item in cast("list[Any]", value)]
    if not isinstance(value, str):
        return value
    if found := _NUMBER.fullmatch(value):
        return f"${{oc.decode:${{oc.env:{found[1]}}}}}"
    texts = _MARK.split(value)  # every second one is a name
    made = ""
    for at, text in enumerate(texts):
        usual = ",''" if text == key and len(texts) > 1 else ""
        made += f"${{oc.env:{text}{usual}}}" if at % 2 else _literal(text, at + 1 < len(texts))
    return made


def _literal(text: str, is_before: bool) -> str:
    """A text in which ``${`` stands for itself, also before an interpolation."""
    text = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)
    return re.sub(r"\\+$", lambda found: found[0] * 2, text) if is_before else text


def stand_ins(values: Iterable[Any], other: bool = False) -> dict[str, str]:
    """By variable what it holds while the experiment is planned: its mark, or a number.

    Args:
        values: plain data with marks.
        other: other texts and numbers, for what must not depend on them.
    """
    every = [*values]
    counting = itertools.count(_OTHER_NUMBER if other else _FIRST_NUMBER)
    texts = {name: f"\ue000{name}{'_' * other}\ue001" for name in names(every)}
    whole = [found[1] for value in every if isinstance(value, str)
             for found in _NUMBER.finditer(value)]  # fmt: skip
    return texts | {name: str(next(counting)) for name in dict.fromkeys(whole)}


def back(environ: Mapping[str, str]) -> Callable[[str], str]:
    """Turns texts of a plan into those of the scripts: marks for numbers that stand for them."""
    numbers = {value: name for name, value in environ.items() if value.isdecimal()}
    if not numbers:
        return lambda text: text
    pattern = re.compile(rf"({'|'.join(numbers)})(\.0\b)?")
    return lambda text: pattern.sub(lambda found: f"\ue000{numbers[found[1]]}\ue001", text)


@contextlib.contextmanager
def exported(environ: Mapping[str, str]) -> Generator[None]:
    """Let ``${oc.env:X}`` find these variables in the block; the process's own stay as they are."""
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    def env(key: str, *default: Any) -> Any:
        return environ[key] if key in environ else oc.env(key, *default)

    OmegaConf.register_new_resolver("oc.env", env, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
