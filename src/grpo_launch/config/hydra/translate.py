"""Turn Hydra's errors into one line that says what to type instead."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_launch.config import kinds, rollout, schema
from grpo_launch.config.formats import accelerated, lift, sorting
from grpo_launch.config.hydra import hints
from grpo_launch.errors import ConfigError
from grpo_launch.plugins import LEARNERS


@dataclass(frozen=True)
class CommandLine:
    """What the translation of an error may look at.

    Attributes:
        overrides: as typed.
        known: gives the dotted keys of the configuration without overridden values.
        options: from a group to the names that it offers.
        file: finds the file that a value of ``config=`` names, as it is shown.
        place: from an experiment and a dotted key to ``FILE: KEY`` as its files say it;
            None where no legacy file is found.
    """

    overrides: Sequence[str]
    known: Callable[[], Iterable[str]]
    options: Callable[[str], Sequence[str]]
    file: Callable[[str], str | None]
    place: Callable[[str, str], str | None]

    @functools.cached_property
    def keys(self) -> list[str]:
        """What ``known`` gives; it costs a composition, so only where it is needed."""
        return list(self.known())

    @functools.cached_property
    def experiment(self) -> str | None:
        """The experiment's file, or where it was said, or None where it was not."""
        override = self.find("config")
        return override and (self.file(hints.unquoted(override.partition("=")[2])) or override)

    def find(self, key: str) -> str | None:
        """The last override that says ``key`` or a mapping that contains it."""
        names = [(hints.key_of(item), item) for item in self.overrides]
        said = [item for name, item in names if key == name or key.startswith(name + ".")]
        return said[-1] if said else None

    def where(self, key: str) -> str:
        """``command line: KEY`` for a key that the command line says, else ``FILE: KEY``."""
        return hints.where(key) if self.find(key) else self.in_experiment(key)

    def in_experiment(self, key: str) -> str:
        """``FILE: KEY`` for a key that the experiment must have said."""
        if key and (override := self.find("config")):
            name = hints.unquoted(override.partition("=")[2])
            if place := self.place(name, key):
                return place
        return ": ".join(filter(None, (self.experiment, key))) or "command line"


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
    key, equals, value = hints.as_typed(override).partition("=")
    if not equals:
        return ConfigError(hints.where(override), "has no value", f"write {override}=VALUE")
    opened = [bracket for bracket in "[{" if value.startswith(bracket)]
    if opened and value.count(opened[0]) != value.count(_CLOSING[opened[0]]):
        what = f"{opened[0]} and {_CLOSING[opened[0]]} do not match in {value!r}"
        fix = f"write {key}={'[a,b]' if opened[0] == '[' else '{name:value}'}"
        return ConfigError(hints.where(hints.key_of(override)), what, fix + ", without spaces")
    return ConfigError(
        hints.where(hints.key_of(override)),
        f"Hydra cannot read {value!r}",
        f'type "{key}={hints.quoted(value)}", with both kinds of quotes, for a string',
    )


def _missing(error: Any, line: CommandLine) -> ConfigError:
    missing = str(error.missing_cfg_file or "")
    group, _, name = missing.partition("/")
    if group == "hydra" or missing.rpartition("/")[0] in schema.SERVER_GROUPS:
        group, _, name = missing.rpartition("/")
    if group == "config" and line.experiment != line.find("config"):  # it was found, not its parts
        where = line.in_experiment("defaults")
        return ConfigError(where, f"there is no config {name}", "correct the defaults list")
    what = "no such experiment" if group == "config" else "no such option"
    if group == lift.SERVER:  # its only option is the schema
        meant = kinds.nearest(name, line.options(schema.TOPOLOGY))
        fix = f"did you mean {schema.TOPOLOGY}={meant}?" if meant else _EACH_KEY
        return ConfigError(f"{line.where(group)}={name}", what, fix)
    names = list(error.options or ()) or list(line.options(group))
    names = [option for option in names if option not in schema.NO_OPTIONS]
    fix = _choice(name, names, 0.5)
    if line.find(group):
        return ConfigError(f"{line.where(group)}={name}", what, fix)
    return ConfigError(line.in_experiment(group), f"there is no option {name}", fix)


def _choice(name: str, names: Sequence[str], cutoff: float) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=cutoff)
    return f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(names)}"


def _unsaid_group(found: re.Match[str], _: Exception, line: CommandLine) -> ConfigError:
    group = found[1]
    names = ", ".join(line.options(group))
    return ConfigError("command line", f"{group}= is missing", f"say {group}=NAME, one of {names}")


def _no_option_name(_: re.Match[str], __: Exception, line: CommandLine) -> ConfigError:
    for override in line.overrides:
        key, value = override.partition("=")[::2]
        if line.options(key) and hints.NOT_A_STRING.fullmatch(value):
            return _not_an_option(key, value, line)
    return ConfigError("command line", "a group's option is not a name", "quote it: \"k='v'\"")


def _not_an_option(group: str, value: str, line: CommandLine) -> ConfigError:
    what = f"{value!r} is not the name of an option"
    if group == lift.SERVER:
        return ConfigError(hints.where(group), what, _EACH_KEY)
    fix = f"choose one of {', '.join(line.options(group))}"
    return ConfigError(hints.where(group), what, fix)


def _sweep(found: re.Match[str], _: Exception, __: CommandLine) -> ConfigError:
    key, value = hints.as_typed(found[1]).partition("=")[::2]
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
    key = hints.key_of(found[1])
    fix = f"write {key.replace('/', '.')}=... for a key"
    if meant := difflib.get_close_matches(key, schema.SERVER_GROUPS, 1):
        fix = f"did you mean {meant[0]}?"
    return ConfigError(hints.where(key), "no such group", fix)


def _forced_group(found: re.Match[str], _: Exception, __: CommandLine) -> ConfigError:
    plain = found[1].lstrip("+")
    return ConfigError(hints.where(hints.key_of(plain)), "is a group", f"write {plain}")


def _not_to_delete(found: re.Match[str], _: Exception, line: CommandLine) -> ConfigError:
    key = found[1]
    near = difflib.get_close_matches(key, line.keys, n=1, cutoff=0.75)
    fix = f"did you mean ~{near[0]}?" if near else "remove the override"
    return ConfigError(hints.where(key), "there is nothing to delete", fix)


def _other_value(found: re.Match[str], _: Exception, __: CommandLine) -> ConfigError:
    return ConfigError(
        hints.where(found[1]), f"is {found[2]}, not {found[3]}", f"write ~{found[1]}"
    )


def _present(found: re.Match[str], _: Exception, line: CommandLine) -> ConfigError:
    said = (line.find(found[1]) or found[1]).lstrip("+")
    return ConfigError(hints.where(found[1]), "is set already", f"write {said}")


def _unmatched(found: re.Match[str], error: Exception, line: CommandLine) -> ConfigError:
    key, cause = found[1], error.__cause__
    if line.options(key):
        return _not_an_option(key, (line.find(key) or "").partition("=")[2], line)
    inner = str(getattr(cause, "full_key", None))
    if inner.startswith(key + "."):  # a key of a mapping that was given whole
        key = inner
    where = hints.where(key)
    if "/" in key:
        return _no_group(found, error, line)
    if "@" in key:
        plain = key.partition("@")[0]
        return ConfigError(where, "no such choice of a group", f"write {plain}=NAME")
    if cause is not None and type(cause).__name__ == "ValidationError":
        return _of_omegaconf(cause, line)
    if meant := _place_meant(key):
        return ConfigError(where, "unknown key", f"did you mean {meant}?")
    parent = key.rpartition(".")[0]
    if kinds.is_mapping(hints.type_of(parent)) or f"{parent}.".startswith(_FREE):
        return ConfigError(where, "is not set yet", f"write +{key}=... to add it")
    if meant := _flag_meant(key, line):
        return ConfigError(where, "unknown key", f"did you mean {meant}?")
    if f"train.{key}" in line.keys or (
        parent and (parent in schema.SECTIONS or f"train.{parent}" in line.keys)
    ):
        return ConfigError(where, "unknown key", f"did you mean train.{key}?")
    flag = key.removeprefix("train.")
    if meant := _flag_of_learner(flag):
        return ConfigError(where, "unknown key", f"did you mean {meant}?")
    if near := difflib.get_close_matches(key, set(line.keys) - {key}, n=1, cutoff=0.75):
        extra = f" (or +{key}=... to add it)" if key.startswith("train.") else ""
        return ConfigError(where, "unknown key", f"did you mean {near[0]}?{extra}")
    if key.startswith("train.") and flag.partition(".")[0] in _OF_TRAIN:
        return ConfigError(where, "the experiment does not set it", f"write +{key}=... to add it")
    reference = "see docs/training/REFERENCE.md for the keys"
    if flag.isidentifier():  # a flag's section does not matter, see Arguments
        reference += f", or write train.training.{flag}=... for a flag of the learner"
    return ConfigError(where, "unknown key", reference)


def _place_meant(key: str) -> str | None:
    """The key whose first part, or section below ``train``, is misspelled."""
    first, *rest = key.split(".")
    above = "train." if first == "train" else ""
    if above and rest:
        first, *rest = rest
    if not rest or first in (_OF_TRAIN if above else hints.ROOTS):
        return None
    meant = kinds.nearest(first, _OF_TRAIN if above else (*hints.ROOTS, *_OF_TRAIN))
    if meant is None:
        return None
    above = "train." if meant in _OF_TRAIN else ""
    return ".".join((above + meant, *rest))


def _flag_of_learner(name: str) -> str | None:
    """The key of an argument of the chosen learner that was written without its section."""
    learner = LEARNERS.get(sorting.chosen())
    if learner.flags is None or name not in learner.flags.shipped().table.flags:
        return None
    return ".".join(filter(None, ("train", learner.section(name), name)))


def _flag_meant(key: str, line: CommandLine) -> str | None:
    """The key of the experiment that a key, without a section or in one, misspells."""
    *above, name = key.removeprefix("train.").split(".")
    if len(above) > 1 or not set(above) <= {*schema.SECTIONS}:
        return None
    if not above and (near := difflib.get_close_matches(name, line.keys, n=1, cutoff=0.75)):
        return near[0]
    home = above[0] if above else "training"
    known = {flag: f"train.{home}.{flag}" for flag in schema.LAUNCHER_FLAGS}
    said = (dotted.split(".") for dotted in line.keys)
    known |= {k[2]: ".".join(k) for k in said if len(k) == 3 and k[1] in schema.SECTIONS}
    if not above:  # the server's flags have a node of their own
        known |= {k.rpartition(".")[2]: k for k in line.keys if k.startswith("rollout_server.")}
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return known[near[0]] if near and known[near[0]] != key else None


def _in_a_file(found: re.Match[str], error: Exception, line: CommandLine) -> ConfigError:
    what = str(error).split("\n")[1]
    key = re.search(r"full_key: (\S+)", str(error))
    group, _, rest = found[1].partition("/")
    if group == accelerated.GROUP:
        if what == _LIST_OVER_MAPPING:
            what = "a list cannot stand for a mapping of the experiment"
        names = (lift.ACCELERATORS, rest.partition("/")[0], key and key[1])
        return ConfigError(line.in_experiment(".".join(filter(None, names))), what, _CORRECT)
    file = line.experiment if found[1].startswith("config/") else None
    where = ": ".join(filter(None, (file or found[1], key and key[1])))
    if key and key[1].startswith(f"{rollout.NODE}.") and what.startswith("Key "):
        return rollout.unknown(where, key[1].partition(".")[2], prefix=f"{rollout.NODE}.")
    if key and what.startswith("Key "):
        *above, name = key[1].split(".")
        if known := hints.keys_below(above):
            return kinds.unknown_key(where, name, known, ".".join((*above, "")))
    return ConfigError(where, what, _CORRECT)


_VARIABLE = re.compile(r"Environment variable '(.*)' not found")
"""What ``oc.env`` of OmegaConf raises."""


def _of_omegaconf(error: BaseException, line: CommandLine) -> ConfigError:
    key = str(getattr(error, "full_key", None) or "")
    what = str(error).split("\n", 1)[0]
    override = line.find(key) if key else None
    hint = hints.type_of(key)
    if variable := _VARIABLE.search(what):
        what = f"needs the environment variable {variable[1]}, which is not set"
        return ConfigError(line.where(key), what, f"export {variable[1]}")
    if type(error).__name__.startswith(("Interpolation", "Grammar")):
        fix = "correct it, or write \\${ for the text itself"
        return ConfigError(line.where(key), what, fix)
    if override is None:
        return ConfigError(line.in_experiment(key), what, _CORRECT)
    value = override.partition("=")[2]
    if hint is None or hints.key_of(override) != key:
        return ConfigError(hints.where(hints.key_of(override)), what, _CORRECT)
    if value == "null":
        return ConfigError(hints.where(key), "cannot be null", f"give it {kinds.describe(hint)}")
    return kinds.wrong_type(hints.where(key), hint, value.strip("'\""))


_FREE = ("collector.env_config.", "collector.sampling.")
"""Mappings whose keys are those of an environment, and of a request."""

_OF_TRAIN = (*schema.SECTIONS, *schema.BESIDE_SECTIONS)
_EACH_KEY = f"set {lift.SERVER}.KEY=VALUE for each key"
_CORRECT = "correct the value"
_CLOSING = {"[": "]", "{": "}"}
_LIST_OVER_MAPPING = "Cannot merge DictConfig with ListConfig"

_ANSWERS: Sequence[tuple[str, Callable[[re.Match[str], Exception, CommandLine], ConfigError]]] = (
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
    (r"^In '([^']+)': \S+ raised while composing config:", _in_a_file),
)
"""Hydra's messages (1.3) and their answers."""
