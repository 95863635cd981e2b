"""``engine=none``: there is no rollout server, the learner learns from what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grpo_launch.engines.base import OwnPorts, ServeRequest, SizeKeys, Sizes
from grpo_launch.plan import HttpCheck, Signs

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context


@dataclass
class NoSettings:
    """The node ``rollout_server``: nothing may be set."""


class NoEngine:
    """See ``engines/base.py`` for what each name means; nothing of it is ever started."""

    product = "no engine"
    entry = cpu_entry = ("true",)
    environment = ""
    cpu_overlay: Mapping[str, Any] = {}
    managed = False
    settings = NoSettings
    size_keys = SizeKeys()
    max_num_seqs = None
    signs = Signs()
    transfers = frozenset[str]()
    health_path = "/"
    packages = ()
    rules = ()
    flags = None

    def sizes(self, settings: Mapping[str, Any]) -> Sizes:
        """It has none."""
        del settings
        return Sizes(None, None, None)

    def own_ports(self, settings: Mapping[str, Any]) -> OwnPorts | None:
        """It takes none."""
        del settings

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """Nothing to tell."""
        del context
        return {}

    def argv(self, request: ServeRequest) -> list[str]:
        """A command that does nothing."""
        return [*request.entry]

    def env(self, request: ServeRequest) -> Mapping[str, str]:
        """It needs none."""
        del request
        return {}

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
