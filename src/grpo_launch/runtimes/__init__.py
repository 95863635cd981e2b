"""How a command is entered: as it is, in a virtual environment, by conda.

``of(settings)`` is the one place that tells the kinds apart; a kind is a module with one class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from grpo_launch.config import schema
from grpo_launch.runtimes.base import Entered, Missing, Runtime
from grpo_launch.runtimes.conda import Conda
from grpo_launch.runtimes.current import Current
from grpo_launch.runtimes.venv import Venv

__all__ = ["Entered", "Missing", "Runtime", "of"]

_KINDS: Mapping[schema.RuntimeKind, Callable[[schema.Runtime], Runtime]] = {
    schema.RuntimeKind.current: lambda _: Current(),
    schema.RuntimeKind.venv: lambda settings: Venv(settings.path or ""),
    schema.RuntimeKind.conda: lambda settings: Conda(settings.name or ""),
}


def of(settings: schema.Runtime) -> Runtime:
    """The runtime that the node ``runtime`` describes; complete (``runtime_is_complete``)."""
    return _KINDS[settings.kind](settings)
