"""How a learner is told to go on from a checkpoint: a line in its arguments file.

The file is a flat block mapping that the planner wrote, one key a line.
"""

from __future__ import annotations

_CHECKPOINT = "resume_from_checkpoint"
_OUTPUT = "output_dir"


def from_checkpoint(text: str, path: str) -> str:
    """The arguments ``text``, going on from the checkpoint at ``path``."""
    return _with(text, _CHECKPOINT, path)


def in_directory(text: str, path: str) -> str:
    """The arguments ``text``, writing into ``path``."""
    return _with(text, _OUTPUT, path)


def _with(text: str, key: str, value: str) -> str:
    kept = [line for line in text.split("\n") if line and not line.startswith(f"{key}:")]
    return "\n".join([*kept, f"{key}: {_quoted(value)}"]) + "\n"


def _quoted(value: str) -> str:
    """A double-quoted scalar of YAML 1.1, whatever is in ``value`` (a path may hold anything)."""
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain) + '"'
