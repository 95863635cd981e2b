"""What every kind of runtime can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol


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


class Missing(NamedTuple):
    """Why an environment cannot be entered.

    Attributes:
        key: of the configuration that names it: ``runtime.path``.
        what: is wrong.
        fix: what to do about it.
    """

    key: str
    what: str
    fix: str


class Runtime(Protocol):
    """An environment in which the engine's and the learner's commands run."""

    @property
    def name(self) -> str:
        """The option of the group ``runtime``: ``venv``."""
        ...

    @property
    def shown(self) -> str:
        """The environment in a sentence: ``conda environment ms``."""
        ...

    @property
    def python_command(self) -> str:
        """The shell words that start its interpreter, for ``... -m pip install``."""
        ...

    @property
    def path_is_known(self) -> bool:
        """Whether its PATH is that of :meth:`enter`; conda's is known only inside it."""
        ...

    def enter(self, argv: Sequence[str], cwd: Path) -> Entered:
        """``argv`` in this environment.

        Args:
            argv: the command.
            cwd: what a relative path of the environment is relative to.
        """
        ...

    def python(self, entry: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Path | None:
        """The interpreter behind a command; nothing is run to find it.

        Args:
            entry: the command, ``["trainer"]`` or ``["python", "-m", "module"]``.
            environ: its environment, with the environment's own PATH where that is known.
            cwd: see :meth:`enter`.

        Returns:
            Its path, links not followed (those of a virtual environment lead out of it);
            None where it cannot be told.
        """
        ...

    def problem(self, environ: Mapping[str, str], cwd: Path) -> Missing | None:
        """Why there is no such environment on this machine, or None where there is one."""
        ...
