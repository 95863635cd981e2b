"""The backends: who executes a prepared run, and where."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from grpo_launch.backends.prepared import Prepared
from grpo_launch.config.choices import Backend

_MODULES: Mapping[Backend, str] = {
    Backend.foreground: "foreground",
    Backend.detached: "detached",
    Backend.nohup: "nohup",
    Backend.tmux: "tmux",
}
"""Each has ``start(prepared) -> status``, and ``check(prepared)`` where it can refuse."""


def check(backend: Backend, prepared: Prepared) -> None:
    """Check that ``backend`` can start the run; nothing of the run exists yet.

    Raises:
        LaunchError: it cannot.
    """
    if backend in (Backend.nohup, Backend.tmux):
        _module(backend).check(prepared)


def start(backend: Backend, prepared: Prepared) -> int:
    """Start a run whose directory is made.

    Returns:
        The exit status: of the run where it is executed here, else 0 once its
        supervisor has taken over.

    Raises:
        LaunchError: the run failed, or could not be started.
    """
    return _module(backend).start(prepared)


def _module(backend: Backend) -> ModuleType:
    """The backend's module; the others are not loaded."""
    return import_module(f"grpo_launch.launch.{_MODULES[backend]}")
