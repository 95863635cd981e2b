"""What is wrong with an experiment, found while it is loaded.

The loader leaves a wrong key out and goes on, so that one look reports everything:
mistakes travel with the configuration, and validation adds what it finds itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grpo_launch.errors import ConfigError

KeyPath = tuple[Any, ...]
"""The keys of a legacy tree that lead to a value, outermost first."""


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with an experiment.

    Attributes:
        error: what is wrong: where, what, fix.
        unread: the keys that have no value, or a doubtful one, because of it; what
            other checks say of them follows from this mistake. No key, ``()``, is all of it.
    """

    error: ConfigError
    unread: tuple[KeyPath, ...] = ()
