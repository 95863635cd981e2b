"""What to type instead of a word of the command line that means nothing here."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import redaction
from grpo_launch.cli import words
from grpo_launch.cli.words import Kind, Word
from grpo_launch.config import rollout, schema
from grpo_launch.config.formats import experiment, extends
from grpo_launch.config.hydra import hints, lookup, named, source
from grpo_launch.errors import ConfigError
from grpo_launch.plugins import LEARNERS

_ANY_SECTION = "training"
"""Where to put a flag of the learner that no experiment has; the section does not matter."""

_REMOVE = "remove one of them"


def check(arguments: Sequence[str]) -> None:
    """Refuse flags that Hydra does not have, and words that are no override.

    Args:
        arguments: the command line, without its short form.

    Raises:
        ConfigError: what is wrong with them, all of it.
    """
    split = words.split(arguments)
    unread = list(words.unread(split))
    if not unread:
        return
    overrides = [word.text for word in split if word.kind is Kind.OVERRIDE]
    with named.choosing(overrides):
        raise experiment.as_one(list(_answers(unread, overrides)))


def _answers(
    unread: Sequence[tuple[Word, str | None]], overrides: Sequence[str]
) -> Iterator[ConfigError]:
    said = {hints.key_of(item): item for item in overrides}
    for word, value in unread:
        if word.kind is Kind.FLAG:
            yield _of_flag(word.text, value, overrides)
        elif word.text.startswith("+"):
            what, fix = "has no value", f"write {word.text}=VALUE"
            yield ConfigError(hints.where(word.text), what, fix)
        elif key := _key(word.text, overrides):
            yield ConfigError(hints.where(word.text), "has no value", f"write {key.given(None)}")
        elif "role" not in said:
            yield _no_role(word.text)
            return  # what is behind it depends on the role
        elif word.text in words.roles():
            yield ConfigError(hints.where(word.text), f"{said['role']} is said already", _REMOVE)
            return
        else:
            yield _not_expected(word.text, said)


def _of_flag(flag: str, value: str | None, overrides: Sequence[str]) -> ConfigError:
    where = hints.where(flag)
    if flag in words.FLAGS:
        return _of_hydras_flag(where, words.FLAGS[flag], value)
    name = flag.lstrip("-").replace("-", "_")
    shown = "VALUE" if value is not None and redaction.is_secret_name(name) else value
    if key := _key(name, overrides):
        return ConfigError(where, "is a setting, not a flag", f"write {key.given(shown)}")
    if value is None and name in words.roles():
        return ConfigError(where, "is a role, not a flag", f"write role={name}")
    names = {name.replace("-", "_"): name for name in words.FLAGS}
    names |= {key: f"{key}=" for key in (*_top(), *_servers(), *_learners())}
    if near := difflib.get_close_matches(name, names, n=1, cutoff=0.75):
        meant = names[near[0]]
        if near_key := _key(near[0], overrides):
            meant = near_key.given(shown)
        return ConfigError(where, "no such flag", f"did you mean {meant}?")
    return ConfigError(where, "no such flag", "write KEY=VALUE for settings, see --help")


def _of_hydras_flag(where: str, choices: tuple[str, ...] | None, value: str | None) -> ConfigError:
    if choices is None:
        return ConfigError(where, "takes no value", "leave it out")
    fix = f"choose one of {', '.join(choices)}" if choices else "write it behind the flag"
    return ConfigError(where, "has no value" if value is None else f"{value!r} is unknown", fix)


def _no_role(word: str) -> ConfigError:
    roles = (*words.roles(), words.RUNS, words.IMPORT, words.HELP)
    if _is_experiment(word):
        fix = f"write check {word} or both {word} (all roles: {', '.join(roles)})"
        return ConfigError(hints.where(word), "is an experiment, not a role", fix)
    near = difflib.get_close_matches(word, roles, n=1)
    fix = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(roles)}"
    return ConfigError(hints.where(word), "no such role", fix)


def _not_expected(word: str, said: dict[str, str]) -> ConfigError:
    where = hints.where(word)
    role = said["role"].partition("=")[2]
    for key in words.meanings(role):
        if key not in said:
            return ConfigError(where, "has no value", f"write {key}={word}")
    last = said[words.meanings(role)[-1]]
    what = f"is one word too many behind {last}"
    return ConfigError(where, what, "write KEY=VALUE for a setting, or remove it")


@dataclass(frozen=True)
class _Key:
    """A setting that a word without its value names.

    Attributes:
        name: dotted.
        is_switch: it is true or false.
        is_list: it takes several values.
    """

    name: str
    is_switch: bool = False
    is_list: bool = False

    def given(self, value: str | None) -> str:
        """The override to type."""
        if value is None:
            value = "true" if self.is_switch else "VALUE"
        if self.is_list and not value.startswith("["):
            return f"'{self.name}=[{value}]'"
        return f"{self.name}={value}"


def _key(word: str, overrides: Sequence[str]) -> _Key | None:
    """The setting that a word names, with its section or without; None where it names none."""
    plain = word.removeprefix("train.")
    section, _, name = plain.rpartition(".")
    if word in ("config", "role", *schema.SERVER_GROUPS):
        return _Key(word)
    if (hint := hints.type_of(word)) is not None:
        return _Key(word, hint is bool or word == "dry_run")
    flag = _learners().get(name)
    kind = (False, False) if flag is None else (flag.kind == "bool", flag.is_list)
    if section in schema.SECTIONS:
        return _Key(f"train.{plain}", *kind)
    if section:
        return None
    if home := _section(name, overrides):
        return _Key(f"train.{home}.{name}", *kind)
    own = name in {field.name for field in fields(rollout.settings())}
    if own or (flag is None and name in _servers()):
        hint = hints.type_of(f"{rollout.NODE}.{name}")
        return _Key(f"{rollout.NODE}.{name}", hint in (bool, bool | None))
    if flag is not None or name in schema.LAUNCHER_FLAGS:
        return _Key(f"train.{_ANY_SECTION}.{name}", *kind)
    return None


def _section(name: str, overrides: Sequence[str]) -> str | None:
    """The section in which the chosen experiment has an argument, or else any that is there."""
    chosen = [hints.unquoted(o.partition("=")[2]) for o in overrides if hints.key_of(o) == "config"]
    bases = [lookup.Base(base, Path.cwd()) for base in source.bases()]
    names = [*chosen, *(name for base in bases for name in base.names())]
    for path in filter(None, (base.find(each) for each in names for base in bases)):
        try:
            data = extends.load(path).data
        except ConfigError:
            continue  # composing it says what is wrong
        train: Any = data.get("train") if source.is_native(path) else data
        for section in schema.SECTIONS if isinstance(train, dict) else ():
            block = cast("dict[Any, Any]", train).get(section)
            if isinstance(block, dict) and name in block:
                return section
    return None


def _is_experiment(word: str) -> bool:
    return any(lookup.Base(base, Path.cwd()).find(word) for base in source.bases())


def _top() -> tuple[str, ...]:
    """The settings that stand in no section."""
    return ("config", "role", *(field.name for field in fields(schema.Launch)))


def _servers() -> frozenset[str]:
    return frozenset((*(field.name for field in fields(rollout.settings())), *rollout.flags()))


def _learners() -> dict[str, Any]:
    """The flags of the usual learner; none where its own parser has to be asked."""
    question = LEARNERS.get(schema.LEARNER).flags
    return dict(question.shipped().table.flags) if question is not None else {}
