"""What engines have in common whose servers the launcher never starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpo_launch.engines.base import OwnPorts, ServeRequest, SizeKeys, Sizes
from grpo_launch.plan import Signs

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context


class NeverStarted:
    """What an engine has of which nothing is started here; see ``engines/base.py``."""

    entry = cpu_entry = ("true",)
    environment = ""
    cpu_overlay: Mapping[str, Any] = {}
    managed = False
    size_keys = SizeKeys()
    max_num_seqs = None
    signs = Signs()
    packages = ()
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
