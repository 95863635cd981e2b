"""Settings that name the environment variable with a key, instead of holding the key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from grpo_launch.base import redaction
from grpo_launch.config.problem import Problem

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def problems(where: str, name: Any) -> Iterator[Problem]:
    """What is wrong with such a name.

    What is masked is known by its variable's name (``base/redaction.py``). The value of a wrong
    one is not repeated: it may be a key.

    Args:
        where: it was set.
        name: its value.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        fix = "export the key, and write its variable's name here: OPENAI_API_KEY"
        yield Problem(where, "is not the name of a variable", fix)
    elif not redaction.is_secret_name(name):
        fix = f"call it {name.upper().removesuffix('_KEY')}_API_KEY"
        yield Problem(where, f"{name} is no name of a secret, so it would not be masked", fix)
