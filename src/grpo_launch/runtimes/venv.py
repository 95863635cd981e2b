"""``runtime=venv``: a virtual environment, by its directory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.base import resources
from grpo_launch.config.formats import document
from grpo_launch.runtimes.base import Entered, Missing


@dataclass(frozen=True)
class Venv:
    """A virtual environment.

    Attributes:
        path: its directory, absolute or relative to the working directory.
    """

    path: str

    name = "venv"
    path_is_known = True

    @property
    def shown(self) -> str:
        """Its directory."""
        return self.path

    @property
    def python_command(self) -> str:
        """Its interpreter, quoted."""
        return shlex.quote(f"{self.path}/bin/python")

    def enter(self, argv: Sequence[str], cwd: Path) -> Entered:
        """The command with the environment's ``bin`` first on PATH, as ``activate`` does it."""
        root = cwd / self.path
        return Entered(tuple(argv), (str(root / "bin"),), {"VIRTUAL_ENV": str(root)})

    def python(self, entry: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Path | None:
        """The environment's interpreter, whatever the command is."""
        del entry, environ
        python = self._python(cwd)
        return python if python.exists() else None

    def problem(self, environ: Mapping[str, str], cwd: Path) -> Missing | None:
        """A directory with an interpreter counts."""
        del environ
        if self._python(cwd).exists():
            return None
        fix = f"make it with '{setup_command()}' or set runtime.path=DIR"
        return Missing("runtime.path", f"{self.path} is no virtual environment", fix)

    def _python(self, cwd: Path) -> Path:
        return cwd / self.path / "bin" / "python"


def setup_command() -> str:
    """The command that makes the CPU engine, in a clone and beside an installed wheel."""
    return f"bash {document.shown(resources.path('scripts/setup_engine.sh'))}"
