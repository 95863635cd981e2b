"""``engine=none``: there is no rollout server, the learner learns from what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grpo_launch.engines.base import ServeRequest
from grpo_launch.engines.never_started import NeverStarted
from grpo_launch.plan import HttpCheck


@dataclass
class NoSettings:
    """The node ``rollout_server``: nothing may be set."""


class NoEngine(NeverStarted):
    """There are no servers; see ``engines/base.py`` for what each name means."""

    product = "no engine"
    settings = NoSettings
    transfers = frozenset[str]()
    health_path = "/"
    rules = ()

    def checks(self, request: ServeRequest, health_path: str) -> tuple[HttpCheck, ...]:
        """Nobody is asked."""
        del request, health_path
        return ()

    def generation(self, request: ServeRequest) -> HttpCheck | None:
        """Nobody is asked."""
        del request

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """No command line is one of it."""
        raise ValueError(f"{' '.join(argv)!r} is the command line of an engine")


ENGINE = NoEngine()
