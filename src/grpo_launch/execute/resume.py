"""How a learner is told to go on from a checkpoint: a line in its arguments file.

The file is a flat block mapping that the planner wrote, one key a line.
"""

from __future__ import annotations


def with_argument(text: str, key: str, value: str) -> str:
    """The arguments ``text`` with ``value`` as its only ``key``."""
    kept = [line for line in text.split("\n") if line and not line.startswith(f"{key}:")]
    return "\n".join([*kept, f"{key}: {_quoted(value)}"]) + "\n"


def _quoted(value: str) -> str:
    """A double-quoted scalar of YAML 1.1, whatever is in ``value`` (a path may hold anything)."""
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain) + '"'
