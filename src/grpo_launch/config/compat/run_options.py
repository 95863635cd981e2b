"""The options of ``scripts/run.sh``, read and judged in the order of the table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from grpo_launch.config import kinds
from grpo_launch.config.compat.run_table import Option, RunTable
from grpo_launch.errors import ConfigError

PHASE, NODES, WEIGHTS = "--rl-phase", "--num-nodes", "--rank-weights"
MASTER, WORKER = "--master", "--worker"

RANKS = ("RANK", "NODE_RANK")
"""Variables with the number of this machine, the first that is set counts."""


@dataclass(frozen=True)
class Typed:
    """A command line, taken apart.

    Attributes:
        options: the text of each option, empty for one that takes none.
        overrides: everything else, as typed.
        errors: words that are neither, and options without their value.
    """

    options: Mapping[str, str]
    overrides: tuple[str, ...]
    errors: tuple[ConfigError, ...]

    @property
    def phase(self) -> str:
        """What ``--rl-phase`` says, right or wrong."""
        return self.options.get(PHASE, "")


def take_apart(arguments: Sequence[str], table: RunTable) -> Typed:
    """The options, ``--name VALUE`` or ``--name=VALUE``, and the overrides; nothing is judged."""
    options: dict[str, str] = {}
    overrides: list[str] = []
    errors: list[ConfigError] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        option = table.options.get(name)
        if not word.startswith("-"):
            if _is_said(word):
                overrides.append(word)
            else:
                what = "is neither an option nor an override"
                errors.append(
                    ConfigError(word.strip() or "''", what, "write KEY=VALUE, or quote the words")
                )
            continue
        if option is None:
            meant = kinds.nearest(name, table.options)
            fix = f"did you mean {meant}?" if meant else "see --help"
            errors.append(ConfigError(name, "unknown option", fix))
            if rest and not equals and not _is_said(rest[0]):
                rest.pop(0)  # its value
            continue
        if option.takes and not equals:
            if not rest or rest[0].startswith("--"):
                what = "has no value"
                errors.append(ConfigError(name, what, f"write {name} {option.takes}"))
                options[name] = ""
                continue
            value = rest.pop(0)
        elif equals and not option.takes:
            errors.append(ConfigError(name, "takes no value", f"write {name} alone"))
        if options.get(name, value) != value:
            errors.append(ConfigError(name, f"is {options[name]} and {value}", "say it once"))
        options[name] = value
    return Typed(options, tuple(overrides), tuple(errors))


def errors_of(
    typed: Typed, table: RunTable, environ: Mapping[str, str], is_directory: Callable[[str], bool]
) -> list[ConfigError]:
    """What is wrong with the options, in the order of the table.

    Args:
        typed: the command line.
        table: the options.
        environ: the caller's environment, for the number of this machine.
        is_directory: whether a path is one.
    """
    valueless = {error.where for error in typed.errors}
    judged = [option for name, option in table.options.items() if name not in valueless]
    return [
        *typed.errors,
        *(error for option in judged for error in _of_option(option, typed, is_directory)),
        *_of_nodes(typed, environ),
    ]


def warnings_of(typed: Typed, table: RunTable) -> Iterator[str]:
    """Warnings of options that say nothing in this phase."""
    for name in typed.options:
        if typed.phase in table.options[name].unused:
            yield f"{name}: has no meaning with {PHASE} {typed.phase}"
    if nodes(typed) == 1:
        for name in (WEIGHTS, MASTER):
            if name in typed.options:
                yield f"{name}: has no meaning with one node"


def nodes(typed: Typed) -> int:
    """The number of nodes, 1 where it is not said or wrong."""
    said = typed.options.get(NODES, "")
    return int(said) if _is_integer(said) else 1


def rank(typed: Typed, environ: Mapping[str, str]) -> str | None:
    """The number of this machine, as text; None where nobody says it."""
    if MASTER in typed.options:
        return "0"
    if WORKER in typed.options:
        return typed.options[WORKER]
    return next((environ[name] for name in RANKS if environ.get(name, "").strip()), None)


def _of_option(
    option: Option, typed: Typed, is_directory: Callable[[str], bool]
) -> Iterator[ConfigError]:
    name, phase = option.name, typed.phase
    if name not in typed.options:
        everywhere = name == PHASE or len(option.required) > 2
        if everywhere or phase in option.required:
            what = "is missing" if everywhere else f"is required by {PHASE} {phase}"
            yield ConfigError(name, what, f"add {name} {_values(option)}")
        return
    value = typed.options[name]
    if option.only and phase and phase not in option.only:
        what = f"is not for {PHASE} {phase}"
        yield ConfigError(name, what, option.why or f"remove it, or say {PHASE} {option.only[0]}")
    elif option.choices and value not in option.choices:
        what = f"{value!r} is none of its values"
        yield ConfigError(name, what, f"write {name} {_values(option)}")
    elif option.read in ("path", "directory") and not value.strip():
        yield ConfigError(name, "is empty", "name a directory")
    elif option.read == "directory" and not is_directory(value):
        yield ConfigError(name, f"{value} is no directory", "correct the path")
    elif option.read == "integer" and not _is_integer(value):
        yield ConfigError(name, f"{value!r} is not an integer from 1", "correct it")


def _of_nodes(typed: Typed, environ: Mapping[str, str]) -> Iterator[ConfigError]:
    count, options = nodes(typed), typed.options
    if MASTER in options and WORKER in options:
        yield ConfigError(WORKER, f"stands beside {MASTER}", "say one of them")
        return
    if count == 1:
        if WORKER in options:
            yield ConfigError(WORKER, "there is one node, which is the master", f"add {NODES} N")
        return
    weights = options.get(WEIGHTS, "").split(",")
    if WEIGHTS not in options:
        ones = ",".join("1" * min(count, 8))
        what = f"is required by {NODES} {count}"
        yield ConfigError(WEIGHTS, what, f"add {WEIGHTS} {ones} for equal servers")
    elif len(weights) != count:
        what = f"names {kinds.counted(len(weights), 'weight')} for {count} nodes"
        yield ConfigError(WEIGHTS, what, "give one for each node")
    elif wrong := [weight for weight in weights if not _is_integer(weight)]:
        yield ConfigError(WEIGHTS, f"{wrong[0]!r} is not an integer from 1", "correct it")
    number = rank(typed, environ)
    if number is None:
        yield ConfigError(
            NODES,
            "nothing says which node this is",
            f"add {MASTER} or {WORKER} RANK, or export RANK",
        )
    elif (WORKER in options or number != "0") and not (_is_integer(number) and int(number) < count):
        where = WORKER if WORKER in options else f"environment: {_variable(environ)}"
        what = f"{number!r} is not the number of a worker of {count} nodes"
        yield ConfigError(where, what, f"use 1 to {count - 1}, or {MASTER} for the first")


def _is_said(word: str) -> bool:
    """Whether a word is an option or an override, as the old script told them."""
    return "=" in word or word[:1] in ("+", "~", "-")


def _variable(environ: Mapping[str, str]) -> str:
    return next(name for name in RANKS if environ.get(name, "").strip())


def _values(option: Option) -> str:
    *others, last = option.choices or (option.takes,)
    return f"{', '.join(others)} or {last}" if others else last


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"0*[1-9]\d{0,8}", text, re.ASCII) is not None
