"""The table of ``scripts/run.sh``: what each option and each old key becomes.

The data is ``conf/compat/run_sh.yaml``, whose head says what each field means.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from grpo_launch.base import resources

TABLE = "conf/compat/run_sh.yaml"
"""The table, below the directory of what ships with the launcher."""

Overrides = Mapping[str, Any]
"""Overrides by key; None takes an earlier one away."""


@dataclass(frozen=True)
class Option:
    """One option of the old command line; the fields are described in the table.

    Attributes:
        name: with its dashes.
        required: the phases that need it; empty: none.
    """

    name: str
    help: str
    takes: str = ""
    required: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    read: str = ""
    choices: Mapping[str, str] = field(default_factory=dict[str, str])
    sets: Overrides = field(default_factory=dict[str, Any])
    why: str = ""


@dataclass(frozen=True)
class Found:
    """What a file below the log directory says."""

    path: str
    note: str
    sets: Overrides = field(default_factory=dict[str, Any])
    goes_on: bool = False


@dataclass(frozen=True)
class Key:
    """One key of the old configuration; the fields are described in the table."""

    name: str
    keys: tuple[str, ...] = ()
    read: str = ""
    values: Mapping[str, Overrides] = field(default_factory=dict[str, Overrides])
    brings: str = ""
    only: tuple[str, ...] = ()
    why: str = ""
    needs: str = ""
    note: str = ""


@dataclass(frozen=True)
class RunTable:
    """The whole table.

    Attributes:
        options: by name, with its dashes, in the order in which they are judged.
    """

    options: Mapping[str, Option]
    always: Overrides
    profiles: Mapping[str, Overrides]
    phases: Mapping[str, Overrides]
    nodes: Mapping[str, Overrides]
    found: tuple[Found, ...]
    brings: Mapping[str, Overrides]
    keys: Mapping[str, Key]
    below: Mapping[str, str]
    added: Mapping[str, str]
    ignored: Mapping[str, str]
    refused: Mapping[str, str]

    @property
    def nodes_of_keys(self) -> tuple[str, ...]:
        """The old nodes that hold keys, in the order of the table."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in (*self.keys, *self.below)))

    @property
    def roots(self) -> frozenset[str]:
        """The old nodes."""
        names = (*self.keys, *self.below, *self.ignored, *self.refused)
        return frozenset(name.partition(".")[0] for name in names)


@functools.cache
def load() -> RunTable:
    """The shipped table; it does not change while a process runs."""
    data = yaml.safe_load(resources.path(TABLE).read_text(encoding="utf-8"))
    phases = tuple(data["phases"])
    options = {
        f"--{name}": _option(f"--{name}", fields, phases)
        for name, fields in data.pop("options").items()
    }
    keys = {name: Key(name, **_tuples(fields)) for name, fields in data.pop("keys").items()}
    found = tuple(Found(**fields) for fields in data.pop("found"))
    return RunTable(options=options, keys=keys, found=found, **data)


def _option(name: str, fields: dict[str, Any], phases: tuple[str, ...]) -> Option:
    required = fields.pop("required", ())
    return Option(name, required=phases if required is True else tuple(required), **_tuples(fields))


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
