"""Any command as an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grpo_launch.config import placeholders
from grpo_launch.engines.base import (
    GROUP,
    RELOAD,
    RESTART,
    OwnPorts,
    ServeRequest,
    SizeKeys,
    Sizes,
)
from grpo_launch.engines.command import serve
from grpo_launch.engines.command.settings import CommandSettings
from grpo_launch.plan import HttpCheck, Signs

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context, Rule


class CommandEngine:
    """What an experiment says is a server; see ``engines/base.py`` for what each name means."""

    product = "the command"
    environment = ""
    managed = True
    cpu_overlay: Mapping[str, Any] = {}
    entry: tuple[str, ...] = ()
    cpu_entry: tuple[str, ...] = ()
    settings = CommandSettings
    size_keys = SizeKeys("tensor_parallel_size", "data_parallel_size", "max_num_seqs")
    max_num_seqs = None
    signs = Signs()
    transfers = frozenset({GROUP, RELOAD, RESTART})
    health_path = serve.HEALTH_PATH
    packages: tuple[str, ...] = ()
    flags = None

    @property
    def rules(self) -> Sequence[Rule]:
        """What it demands of a configuration."""
        from grpo_launch.engines.command.rules import RULES

        return RULES

    def signs_of(self, settings: Mapping[str, Any]) -> Signs:
        """See ``serve.signs``."""
        return serve.signs(settings)

    def sizes(self, settings: Mapping[str, Any]) -> Sizes:
        """One device unless more are said; the longest sequence, if it is said."""
        return Sizes(
            settings.get("tensor_parallel_size", 1),
            settings.get("data_parallel_size", 1),
            settings.get("max_model_len"),
        )

    def own_ports(self, settings: Mapping[str, Any]) -> OwnPorts | None:
        """Nobody knows."""
        del settings
        return None

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """Nothing is known of it but what the experiment says."""
        del context
        return {}

    def argv(self, request: ServeRequest) -> list[str]:
        """See ``serve.argv``."""
        return serve.argv(request)

    def env(self, request: ServeRequest) -> Mapping[str, str]:
        """See ``serve.env``."""
        return serve.env(request)

    def checks(self, request: ServeRequest, health_path: str) -> tuple[HttpCheck, ...]:
        """Health, then the checks of the experiment."""
        return tuple(serve.checks(request, health_path))

    def generation(self, request: ServeRequest) -> HttpCheck | None:
        """See ``serve.generation``."""
        return serve.generation(request)

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """Any command, its words as they are.

        Raises:
            ValueError: there is no word at all.
        """
        if not argv:
            raise ValueError("the command line is empty")
        return {"rollout_server.argv": [placeholders.literal(word) for word in argv]}


ENGINE = CommandEngine()
