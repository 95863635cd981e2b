"""A server that somebody else runs, as an engine: asked and watched, never started or stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grpo_launch.engines import openai_api
from grpo_launch.engines.base import RELOAD, ServeRequest
from grpo_launch.engines.external import serve
from grpo_launch.engines.external.settings import ExternalSettings
from grpo_launch.engines.never_started import NeverStarted
from grpo_launch.plan import HttpCheck

if TYPE_CHECKING:
    from grpo_launch.config.rule import Rule


class ExternalEngine(NeverStarted):
    """Any API with the OpenAI interface; see ``engines/base.py`` for what each name means."""

    product = "the external server"
    settings = ExternalSettings
    transfers = frozenset({RELOAD})
    health_path = f"{openai_api.BASE}/models"

    @property
    def rules(self) -> Sequence[Rule]:
        """What it demands of a configuration."""
        from grpo_launch.engines.external.rules import RULES

        return RULES

    def checks(self, request: ServeRequest, health_path: str) -> tuple[HttpCheck, ...]:
        """See ``serve.checks``."""
        return serve.checks(request, health_path)

    def generation(self, request: ServeRequest) -> HttpCheck:
        """One token of the model."""
        return serve.generation(request)

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """No command line is one of it."""
        raise ValueError(f"{' '.join(argv)!r} starts no external server")


ENGINE = ExternalEngine()
