"""``runtime=conda``: a conda environment, by its name."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.base import files
from grpo_launch.runtimes.base import Entered, Missing


@dataclass(frozen=True)
class Conda:
    """A conda environment.

    Attributes:
        environment: its name.
    """

    environment: str

    name = "conda"
    path_is_known = False

    @property
    def shown(self) -> str:
        """Its name."""
        return f"conda environment {self.environment}"

    @property
    def python_command(self) -> str:
        """By ``conda run``."""
        return f"conda run -n {shlex.quote(self.environment)} python"

    def enter(self, argv: Sequence[str], cwd: Path) -> Entered:
        """The command by ``conda run``."""
        del cwd
        # Without --no-capture-output conda holds the log back until the command ends.
        return Entered(("conda", "run", "--no-capture-output", "-n", self.environment, *argv))

    def python(self, entry: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Path | None:
        """The environment's interpreter, whatever the command is."""
        del entry, cwd
        conda = _conda(environ)
        prefixes = _prefixes(conda, self.environment, environ) if conda else ()
        candidates = (prefix / "bin" / "python" for prefix in prefixes)
        return next((path for path in candidates if path.exists()), None)

    def problem(self, environ: Mapping[str, str], cwd: Path) -> Missing | None:
        """Conda must be on PATH, and a directory where it keeps environments must exist."""
        del cwd
        conda = _conda(environ)
        if conda is None:
            fix = "install or activate it, or use runtime=venv or runtime=current"
            return Missing("runtime.name", "conda is not on PATH", fix)
        if any(prefix.is_dir() for prefix in _prefixes(conda, self.environment, environ)):
            return None
        what = f"there is no conda environment {self.environment}"
        return Missing("runtime.name", what, "create it or set runtime.name=ENV")


def _conda(environ: Mapping[str, str]) -> str | None:
    return shutil.which("conda", path=environ.get("PATH"))


def _prefixes(conda: str, name: str, environ: Mapping[str, str]) -> Iterator[Path]:
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
        known = files.text(home / ".conda" / "environments.txt").splitlines()
    except OSError:
        return
    yield from (Path(line) for line in known if Path(line).name == name)
