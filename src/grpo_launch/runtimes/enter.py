"""How an engine's command is entered: as it is, in a virtual environment, or by conda."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grpo_launch.config import schema


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


def conda_environments(conda: str, name: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Where a conda environment may be; asking conda itself takes a second.

    Args:
        conda: the conda executable.
        name: of the environment.
        environ: the caller's environment, for CONDA_ENVS_PATH and HOME.
    """
    root = Path(conda).resolve().parents[1]
    if name == "base":
        yield root
    yield root / "envs" / name
    home = Path(environ.get("HOME", "/"))
    yield home / ".conda" / "envs" / name
    for variable in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS"):
        for entry in filter(None, environ.get(variable, "").split(os.pathsep)):
            yield Path(entry) / name
    try:
        known = (home / ".conda" / "environments.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    yield from (Path(line) for line in known if Path(line).name == name)
