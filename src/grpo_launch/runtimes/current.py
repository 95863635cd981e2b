"""``runtime=current``: PATH as it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.runtimes.base import Entered

_SHEBANG = 4096


@dataclass(frozen=True)
class Current:
    """The caller's own environment."""

    name = "current"
    shown = "runtime=current"
    python_command = "python"
    path_is_known = True

    def enter(self, argv: Sequence[str], cwd: Path) -> Entered:
        """The command as it is."""
        del cwd
        return Entered(tuple(argv))

    def python(self, entry: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Path | None:
        """The command itself, ``python`` beside it, or what its first line names."""
        del cwd
        command = shutil.which(entry[0], path=environ.get("PATH")) if entry else None
        if command is None:
            return None
        path = Path(command)
        if path.name.startswith("python"):
            return path
        beside = path.with_name("python")
        return beside if beside.exists() else _shebang(path)

    def problem(self, environ: Mapping[str, str], cwd: Path) -> None:
        """It is always there."""
        del environ, cwd


def _shebang(script: Path) -> Path | None:
    """The interpreter that pip wrote into the first line of a console script."""
    try:
        with script.open("rb") as file:
            first = file.readline(_SHEBANG)
    except OSError:
        return None
    words = first.removeprefix(b"#!").decode("utf-8", "replace").split()
    if not first.startswith(b"#!") or not words:
        return None
    path = Path(words[0])
    return path if path.name.startswith("python") and path.exists() else None
