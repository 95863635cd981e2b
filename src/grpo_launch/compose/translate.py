"""Turn Hydra's errors into one line that says what to type instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_launch.compose import hints, lift
from grpo_launch.errors import ConfigError


@dataclass(frozen=True)
class CommandLine:
    """What the translation of an error may look at.

    Attributes:
        overrides: as typed.
        keys: the dotted keys of the configuration without the overrides of values.
        options: from a group to the names that it offers.
    """

    overrides: Sequence[str]
    keys: Sequence[str]
    options: Callable[[str], Sequence[str]]

    def find(self, key: str) -> str | None:
        """The last override that says ``key`` or a mapping that contains it."""
        names = [(hints.key_of(item), item) for item in self.overrides]
        said = [item for name, item in names if key == name or key.startswith(name + ".")]
        return said[-1] if said else None

    def where(self, key: str) -> str:
        """``command line: KEY`` for a key that the command line says, else ``KEY``."""
        return hints.where(key) if self.find(key) else key


def translate(error: Exception, line: CommandLine) -> ConfigError:
    """The one-line form of an error that Hydra or OmegaConf raised while composing."""
    from hydra.errors import MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(error, MissingConfigException):
        return _missing(error, line)
    text = " ".join(str(error).split())
    for pattern, answer in _ANSWERS:
        if found := re.search(pattern, text):
            return answer(found, error, line)
    return _of_omegaconf(error.__cause__ or error, line)


def _unreadable(override: str) -> ConfigError:
    key, equals, value = override.partition("=")
    if not equals:
        return ConfigError(hints.where(override), "has no value", f"write {override}=VALUE")
    if not key.lstrip("+~"):
        return ConfigError(hints.where(override), "names no key", "write KEY=VALUE")
    return ConfigError(
        hints.where(hints.key_of(override)),
        f"Hydra cannot read {value!r}",
        f'type "{key}={hints.quoted(value)}", with both kinds of quotes, for a string',
    )


def _missing(error: Any, line: CommandLine) -> ConfigError:
    group, _, name = str(error.missing_cfg_file or "").partition("/")
    if group == "hydra":
        inner, _, name = name.rpartition("/")
        group = f"hydra/{inner}"
    what = "no such experiment" if group == "config" else "no such option"
    where = line.where(group)
    if where == group and (experiment := line.find("config")):
        where = f"{experiment}: {group}"
    names = list(error.options or ()) or list(line.options(group))
    return ConfigError(f"{where}={name}", what, _choice(name, names, 0.5))


def _choice(name: str, names: Sequence[str], cutoff: float) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=cutoff)
    return f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(names)}"


def _unsaid_group(found: re.Match[str], _: Exception, line: CommandLine) -> ConfigError:
    group = found[1]
    names = ", ".join(line.options(group))
    return ConfigError("command line", f"{group}= is missing", f"say {group}=NAME, one of {names}")


def _no_option_name(_: re.Match[str], __: Exception, line: CommandLine) -> ConfigError:
    for override in line.overrides:
        key, _, value = override.partition("=")
        if not key.strip("+~"):
            return _unreadable(override)
        names = line.options(key)
        if key == "rollout_server":
            return ConfigError(hints.where(key), f"{value!r} is not a mapping", _BELOW.format(key))
        if names and (hints.NOT_A_STRING.fullmatch(value) or value.startswith("{")):
            fix = f"choose one of {', '.join(names)}"
            return ConfigError(hints.where(key), f"{value!r} is not the name of an option", fix)
    return ConfigError("command line", "a group's option is not a name", "quote it: \"k='v'\"")


_BELOW = "override keys below it, {0}.KEY=VALUE"


def _sweep(found: re.Match[str], _: Exception, __: CommandLine) -> ConfigError:
    key, _, value = found[1].partition("=")
    where = hints.where(hints.key_of(key))
    if key == "config":
        return ConfigError(where, f"{value!r} is more than one experiment", "add --multirun")
    return ConfigError(
        where,
        f"{value!r} is a sweep",
        f"write {key}=[{value}] for a list, or add --multirun",
    )


def _given_twice(found: re.Match[str], _: Exception, line: CommandLine) -> ConfigError:
    group = found[1]
    said = next((o for o in line.overrides if o.startswith(f"+{group}=")), f"{group}=NAME")
    return ConfigError(hints.where(group), "the group has a choice already", f"write {said[1:]}")


def _no_group(found: re.Match[str], _: Exception, __: CommandLine) -> ConfigError:
    key, equals, value = found[1].partition("=")
    dotted = key.replace("/", ".") + equals + value
    return ConfigError(hints.where(hints.key_of(key)), "no such group", f"write {dotted} for a key")


def _forced_group(found: re.Match[str], _: Exception, __: CommandLine) -> ConfigError:
    plain = found[1].lstrip("+")
    return ConfigError(hints.where(hints.key_of(plain)), "is a group", f"write {plain}")


def _not_to_delete(found: re.Match[str], _: Exception, line: CommandLine) -> ConfigError:
    key = found[1]
    near = difflib.get_close_matches(key, line.keys, n=1, cutoff=0.75)
    fix = f"did you mean ~{near[0]}?" if near else "remove the override"
    return ConfigError(hints.where(key), "there is nothing to delete", fix)


def _other_value(found: re.Match[str], _: Exception, __: CommandLine) -> ConfigError:
    return ConfigError(hints.where(found[1]), f"is {found[2]}, not {found[3]}", f"write ~{found[1]}")


def _present(found: re.Match[str], _: Exception, line: CommandLine) -> ConfigError:
    said = (line.find(found[1]) or found[1]).lstrip("+")
    return ConfigError(hints.where(found[1]), "is set already", f"write {said}")


def _unmatched(found: re.Match[str], error: Exception, line: CommandLine) -> ConfigError:
    key = found[1]
    where, cause = hints.where(key), error.__cause__
    if "@" in key:
        plain = key.partition("@")[0]
        return ConfigError(where, "no such choice of a group", f"write {plain}=NAME")
    if cause is not None and type(cause).__name__ == "ValidationError":
        return _of_omegaconf(cause, line)
    parent = key.rpartition(".")[0]
    if lift.is_mapping(hints.type_of(parent)):
        return ConfigError(where, "is not set yet", f"write +{key}=... to add it")
    if f"train.{key}" in line.keys or (parent and f"train.{parent}" in line.keys):
        return ConfigError(where, "unknown key", f"did you mean train.{key}?")
    if near := difflib.get_close_matches(key, line.keys, n=1, cutoff=0.75):
        extra = f" (or +{key}=... to add it)" if key.startswith("train.") else ""
        return ConfigError(where, "unknown key", f"did you mean {near[0]}?{extra}")
    if key.startswith("train."):
        return ConfigError(where, "the experiment does not set it", f"write +{key}=... to add it")
    return ConfigError(where, "unknown key", "see docs/training/REFERENCE.md for the keys")


def _of_omegaconf(error: BaseException, line: CommandLine) -> ConfigError:
    key = str(getattr(error, "full_key", None) or "")
    what = str(error).split("\n", 1)[0]
    override = line.find(key) if key else None
    hint = hints.type_of(key)
    if override is None or type(error).__name__.startswith("Interpolation"):
        fix = "correct it, or write \\${...} for the text itself" if "nterpol" in what else _CORRECT
        return ConfigError(line.where(key) if key else "configuration", what, fix)
    value = override.partition("=")[2]
    if hint is None or hints.key_of(override) != key:
        return ConfigError(hints.where(hints.key_of(override)), what, _CORRECT)
    if value == "null":
        return ConfigError(hints.where(key), "cannot be null", f"give it {lift.describe(hint)}")
    return lift.wrong_type(hints.where(key), hint, value.strip("'\""))


_CORRECT = "correct the value"

_ANSWERS: Sequence[
    tuple[str, Callable[[re.Match[str], Exception, CommandLine], ConfigError]]
] = (
    (r"You must specify '([^']+)'", _unsaid_group),
    (r"Config group override must be a string or a list", _no_option_name),
    (r"Ambiguous value for argument '(.*)' 1\.", _sweep),
    (r"Sweep parameters '(.*)' requires", _sweep),
    (r"Multiple values for ([^. ]+)\.", _given_twice),
    (r"Override (\S+) looks like a config group", _no_group),
    (r"force-add of config groups is not supported: '(.*)'", _forced_group),
    (r"Could not delete from config\. '(.*)' does not exist", _not_to_delete),
    (r"Could not delete '([^'=]*)", _not_to_delete),
    (r"Could not delete from config\. The value of '(.*)' is (.*) and not (.*)\.$", _other_value),
    (r"An item is already at '(.*?)'", _present),
    (r"Could not override '([^']+)'", _unmatched),
)
"""Hydra's messages (1.3) and their answers."""
