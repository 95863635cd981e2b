"""The keys of the old configuration (``env_config.*`` and the like) as ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpo_launch.base import redaction
from grpo_launch.config import kinds
from grpo_launch.config.compat.environment import typed as as_text
from grpo_launch.config.compat.run_table import Key, RunTable
from grpo_launch.config.hydra import hints
from grpo_launch.errors import ConfigError


@dataclass
class Translated:
    """What old overrides become.

    Attributes:
        types: overrides of a value that stands for several, weaker than all others.
        brought: overrides that come with a key, weaker than those of keys.
        overrides: those of keys, as text of Hydra's grammar by key; a key may have ``+`` before it.
        errors: keys that there are not, or values that cannot be.
        warnings: keys without a meaning here.
    """

    types: dict[str, Any] = field(default_factory=dict[str, Any])
    brought: dict[str, Any] = field(default_factory=dict[str, Any])
    overrides: dict[str, str] = field(default_factory=dict[str, str])
    errors: list[ConfigError] = field(default_factory=list[ConfigError])
    warnings: list[str] = field(default_factory=list[str])


class Unfit(ValueError):  # noqa: N818  # never leaves this module
    """A value that a key does not take; the message says what and what to do."""


@dataclass(frozen=True)
class Reader:
    """Reads old overrides with the table.

    Attributes:
        table: which key becomes which.
        phase: ``rollout``, ``update`` or ``both``.
        options: names of the options that were typed.
        data: the data directory, absolute.
    """

    table: RunTable
    phase: str
    options: frozenset[str]
    data: Path

    def read(self, overrides: Sequence[str]) -> Translated:
        """What the overrides of old nodes become, all problems included."""
        result = Translated()
        names = {hints.key_of(override) for override in overrides}
        for override in overrides:
            result.errors += self._one(override, names, result)
        return result

    def _one(self, override: str, names: set[str], result: Translated) -> list[ConfigError]:
        try:
            self._translate(override, names, result)
        except ConfigError as error:
            return [error]
        return []

    def _translate(self, override: str, names: set[str], result: Translated) -> None:
        name, said = hints.key_of(override), override.partition("=")
        if override.startswith("~"):
            raise ConfigError(name, "cannot be deleted here", "leave it out, or give it a value")
        if redaction.is_secret_place(name) and name not in self.table.keys:
            fix = "export it, and give the NAME of the variable (openai_config.api_key_env)"
            raise ConfigError(name, "is a secret and does not belong on a command line", fix)
        if not said[1]:
            raise ConfigError(name, "has no value", f"write {name}=VALUE")
        if why := _entry(self.table.refused, name):
            raise ConfigError(name, "is not here any more", why)
        if key := self.table.keys.get(name):
            self._known(key, said[2], names, result)
        elif why := _entry(self.table.ignored, name):
            result.warnings.append(f"{name}: is not read here: {why}")
        elif (node := name.partition(".")[0]) in self.table.below and "." in name:
            result.overrides[f"{self.table.below[node]}.{name.partition('.')[2]}"] = said[2]
        elif override.startswith("+") and node in self.table.added and "." in name:
            result.overrides[f"++{self.table.added[node]}.{name.partition('.')[2]}"] = said[2]
        else:
            raise self._unknown(name)

    def _known(self, key: Key, text: str, names: set[str], result: Translated) -> None:
        if key.only and self.phase not in key.only:
            raise ConfigError(key.name, f"is not for --rl-phase {self.phase}", key.why)
        if key.needs and key.needs not in names and f"--{key.needs}" not in self.options:
            needed = key.needs if "." in key.needs else f"--{key.needs}"
            raise ConfigError(key.name, f"says nothing without {needed}", f"add {needed}")
        if key.values:
            value = hints.unquoted(text)
            if value not in key.values:
                choices = ", ".join(key.values)
                raise ConfigError(key.name, f"{value!r} is not known", f"use one of {choices}")
            result.types |= key.values[value]
            return
        if key.brings:
            result.brought |= self.table.brings[key.brings]
        try:
            value = self._value(key, text)
        except Unfit as error:
            raise ConfigError(key.name, *error.args) from None
        result.overrides |= dict.fromkeys(key.keys, value)

    def _value(self, key: Key, text: str) -> str:
        """The value in Hydra's grammar.

        Raises:
            Unfit: with what is wrong, and what to do.
        """
        plain = hints.unquoted(text)
        if key.read == "tasks":
            if not plain:
                raise Unfit("names no file", "give the path of a JSONL file")
            return as_text(str(self.data / plain))
        if key.read == "count":
            if not re.fullmatch(r"-1|0*[1-9]\d{0,8}", plain, re.ASCII):
                raise Unfit(
                    f"{plain!r} is no number of tasks", "use an integer from 1, or -1 for all"
                )
            return "null" if plain == "-1" else str(int(plain))
        if key.read == "minutes":
            if not re.fullmatch(r"\d{1,9}(\.\d+)?", plain, re.ASCII) or not float(plain):
                raise Unfit(f"{plain!r} is no number of minutes", "correct it")
            return f"{float(plain) * 60:g}"
        if key.read == "variable" and not (
            plain.isidentifier() and redaction.is_secret_name(plain)
        ):
            # What stands there may be the key itself, so it is not shown.
            what = "is not the name of a variable that holds a key"
            raise Unfit(what, "write its NAME, for example OPENAI_API_KEY")
        return text

    def _unknown(self, name: str) -> ConfigError:
        node, _, key = name.partition(".")
        if not key:
            return ConfigError(name, "is a group of keys", f"write {name}.KEY=VALUE for each")
        known = (*self.table.keys, *self.table.ignored, *self.table.refused)
        keys = sorted(k.removeprefix(f"{node}.") for k in known if k.startswith(f"{node}."))
        meant = kinds.nearest(key, keys)
        fix = f"did you mean {node}.{meant}?" if meant else f"use one of {', '.join(keys)}"
        if node in self.table.added:
            fix += f" For a key of your own environment write +{name}=VALUE"
        return ConfigError(name, "unknown key", fix)


def _entry(entries: Mapping[str, str], name: str) -> str | None:
    """What a table says of a key, or of a node above it."""
    return next((s for key, s in entries.items() if f"{name}.".startswith(f"{key}.")), None)
