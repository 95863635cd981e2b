"""The flags of the two programs as facts for rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from grpo_launch.config.facts import Facts
from grpo_launch.config.problem import Problem
from grpo_launch.engines.asking import FlagAnswer
from grpo_launch.engines.flags import Flag


@dataclass(frozen=True)
class ServerFlags:
    """The flags of the rollout server's program.

    Attributes:
        product: what is installed, and its version, for messages.
        program: the command that takes them, for messages.
        flags: what each takes, by name without dashes.
        defaults: what the program takes where a flag is not given; see ``FlagTable``.
    """

    MISSING: ClassVar[str] = "the flags of the rollout server's program are not known"

    product: str
    program: str
    flags: Mapping[str, Flag]
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class LearnerFlags:
    """The flags of the learner's program; the attributes are those of :class:`ServerFlags`."""

    MISSING: ClassVar[str] = "the flags of the learner's program are not known"

    product: str
    program: str
    flags: Mapping[str, Flag]
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class FlagNotes:
    """Warnings where the flags that rules judge by are a guess."""

    problems: tuple[Problem, ...]


def flag_facts(server: FlagAnswer | None, learner: FlagAnswer | None) -> Facts:
    """Both, where they are known, and what is to be said of them."""
    facts: list[object] = []
    for kind, answer in ((ServerFlags, server), (LearnerFlags, learner)):
        if answer is not None:
            table = answer.table
            product = f"{table.product} {table.version}"
            facts.append(kind(product, table.program, table.flags, table.defaults))
    notes = (answer.note for answer in (server, learner) if answer is not None)
    return Facts.of(*facts, FlagNotes(tuple(dict.fromkeys(filter(None, notes)))))
