"""How an engine's command is entered: as it is, in a virtual environment, or by conda."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grpo_launch import schema


@dataclass(frozen=True)
class Entered:
    """A command inside its environment.

    Attributes:
        argv: the whole command.
        path: directories to put before the caller's PATH.
        env: variables that the environment itself sets.
    """

    argv: tuple[str, ...]
    path: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


def enter(runtime: schema.Runtime, argv: Sequence[str], cwd: Path) -> Entered:
    """``argv`` as the runtime enters it.

    Args:
        runtime: a complete runtime (see ``validate.rules.runtime_is_complete``).
        argv: the command.
        cwd: what a relative ``runtime.path`` is relative to.
    """
    if runtime.kind is schema.RuntimeKind.venv:
        root = cwd / (runtime.path or "")
        return Entered(tuple(argv), (str(root / "bin"),), {"VIRTUAL_ENV": str(root)})
    if runtime.kind is schema.RuntimeKind.conda:
        # Without --no-capture-output conda holds the log back until the command ends.
        return Entered(("conda", "run", "--no-capture-output", "-n", runtime.name or "", *argv))
    return Entered(tuple(argv))
