"""How a learner is told to go on from a checkpoint: a line in its arguments file.

The file is a flat block mapping that the planner wrote, one key a line.
"""

from __future__ import annotations

import json

_CHECKPOINT = "resume_from_checkpoint"
_OUTPUT = "output_dir"


def from_checkpoint(text: str, path: str) -> str:
    """The arguments ``text``, going on from the checkpoint at ``path``."""
    return _with(text, _CHECKPOINT, path)


def in_directory(text: str, path: str) -> str:
    """The arguments ``text``, writing into ``path``."""
    return _with(text, _OUTPUT, path)


def _with(text: str, key: str, value: str) -> str:
    kept = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
    # A JSON string is a YAML string, whatever is in it.
    return "\n".join([*kept, f"{key}: {json.dumps(value, ensure_ascii=False)}"]) + "\n"
