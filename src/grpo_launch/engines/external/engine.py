"""A server that somebody else runs, as an engine: asked and watched, never started or stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grpo_launch.engines import openai_api
from grpo_launch.engines.base import RELOAD, OwnPorts, ServeRequest, SizeKeys, Sizes
from grpo_launch.engines.external import serve
from grpo_launch.engines.external.settings import ExternalSettings
from grpo_launch.plan import HttpCheck, Signs

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context, Rule


class ExternalEngine:
    """Any API with the OpenAI interface; see ``engines/base.py`` for what each name means."""

    product = "the external server"
    entry = cpu_entry = ("true",)
    environment = ""
    cpu_overlay: Mapping[str, Any] = {}
    managed = False
    settings = ExternalSettings
    size_keys = SizeKeys()
    max_num_seqs = None
    signs = Signs()
    transfers = frozenset({RELOAD})
    health_path = f"{openai_api.BASE}/models"
    packages = ()
    flags = None

    @property
    def rules(self) -> Sequence[Rule]:
        """What it demands of a configuration."""
        from grpo_launch.engines.external.rules import RULES

        return RULES

    def sizes(self, settings: Mapping[str, Any]) -> Sizes:
        """Its own business."""
        del settings
        return Sizes(None, None, None)

    def own_ports(self, settings: Mapping[str, Any]) -> OwnPorts | None:
        """None is given to it here."""
        del settings

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """Nothing is known of it."""
        del context
        return {}

    def argv(self, request: ServeRequest) -> list[str]:
        """It is never started."""
        return [*request.entry]

    def env(self, request: ServeRequest) -> Mapping[str, str]:
        """It is never started."""
        del request
        return {}

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
