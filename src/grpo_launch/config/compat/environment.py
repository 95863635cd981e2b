"""What variables of the environment say to a configuration, as data (``compat=env``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from grpo_launch.config import kinds
from grpo_launch.config.hydra import hints
from grpo_launch.errors import ConfigError

_UNQUOTED = re.compile(r"[A-Za-z_/][\w./-]*|\d+(\.\d+){3}|https?://[\w./:-]+", re.ASCII)


@dataclass(frozen=True)
class Taken:
    """A variable that sets a key.

    Attributes:
        variable: its name.
        source: the variable that was read: its own name, or that of its default.
        text: what the environment says.
        key: dotted.
        value: as plain data.
    """

    variable: str
    source: str
    text: str
    key: str
    value: Any

    @property
    def override(self) -> str:
        """What to type instead."""
        above = hints.type_of(self.key.rpartition(".")[0])
        added = "++" if kinds.is_mapping(above) else ""  # of a mapping with free keys, as env.set
        return f"{added}{self.key}={typed(self.value)}"

    @property
    def place(self) -> str:
        """The place that says the key, without the variable's name."""
        own = self.source == self.variable
        return "environment" if own else f"environment (from {self.source})"


@dataclass(frozen=True)
class Unread:
    """A variable that is set and does not count.

    Attributes:
        variable: its name.
        what: why not.
        fix: what to do.
        taken: what it would have set, where that is another role's; it is worth a word only
            if it differs from what the key is.
    """

    variable: str
    what: str
    fix: str
    taken: Taken | None = None


@dataclass(frozen=True)
class Wrong:
    """A variable whose text cannot be used; it is left out.

    Attributes:
        error: where, what, fix.
        key: that it would have set.
    """

    error: ConfigError
    key: str | None


@dataclass(frozen=True)
class FromEnvironment:
    """What the environment says to a configuration.

    Attributes:
        taken: what counts, in the order of the table.
        covered: what the command line says otherwise.
        unread: what is set and does not count.
        wrong: what cannot be used.
        processes: NPROC_PER_NODE, which has to equal the number of learner devices.
    """

    taken: tuple[Taken, ...] = ()
    covered: tuple[Taken, ...] = ()
    unread: tuple[Unread, ...] = ()
    wrong: tuple[Wrong, ...] = ()
    processes: Taken | None = None

    @property
    def overrides(self) -> list[str]:
        """What to type instead, one override a key."""
        return list({taken.key: taken.override for taken in reversed(self.taken)}.values())[::-1]

    def of(self, key: str) -> Taken | None:
        """What sets exactly this key."""
        return next((taken for taken in self.taken if taken.key == key), None)

    def typed_of(self, overrides: Sequence[str]) -> list[str]:
        """Those of ``overrides``, as Hydra composed them, that were typed.

        A key that the command line says is not taken from the environment, so the key tells.
        """
        keys = {taken.key for taken in self.taken}
        return [item for item in overrides if hints.key_of(item) not in keys]


NOTHING = FromEnvironment()


def typed(value: Any) -> str:
    """A value in Hydra's override grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{','.join(map(typed, cast('list[Any]', value)))}]"
    if isinstance(value, str):
        plain = _UNQUOTED.fullmatch(value) and not hints.NOT_A_STRING.fullmatch(value)
        return value if plain else hints.quoted(value)
    return repr(value)
