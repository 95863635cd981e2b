"""``learner=none``: nothing is trained, there are servers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grpo_launch.base.host import Host
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.learners.base import TrainRequest
from grpo_launch.learners.batches import Sizes
from grpo_launch.plan import PlannedFile, Signs

if TYPE_CHECKING:
    from grpo_launch.config.rule import Context


class NoLearner:
    """See ``learners/base.py`` for what each name means; nothing of it is ever started."""

    product = "no learner"
    entry = cpu_entry = ("true",)
    environment = ""
    cpu_overlay: Mapping[str, Any] = {}
    sections = ()
    own_keys = ()
    model_key = output_key = ""
    stages = ()
    transfers = frozenset[str]()
    packages = ()
    rules = ()
    flags = None

    def needs_servers(self, config: LaunchConfig) -> bool:
        """It asks nobody."""
        del config
        return False

    def demands(self, config: LaunchConfig) -> Mapping[str, Any]:
        """Nothing."""
        del config
        return {}

    def flags_of(self, config: LaunchConfig) -> None:
        """It has none."""
        del config

    def metrics(self, config: LaunchConfig) -> None:
        """It logs nothing."""
        del config

    def checkpoints(self, config: LaunchConfig) -> None:
        """It makes none."""
        del config

    def signs(self, config: LaunchConfig) -> Signs:
        """It gives none."""
        del config
        return Signs()

    def resume(self, config: LaunchConfig) -> None:
        """It cannot."""
        del config

    def facts(self, config: LaunchConfig, host: Host) -> Iterable[object]:
        """It reads nothing."""
        del config, host
        return ()

    def batches(self, arguments: Mapping[str, Any], world_size: int) -> Sizes | None:
        """It has none."""
        del arguments, world_size

    def summary(self, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """Nothing to tell."""
        del context
        return {}

    def output_dir(self, config: LaunchConfig, default: str) -> str:
        """It writes nowhere."""
        del config
        return default

    def is_versioned(self, config: LaunchConfig) -> bool:
        """It makes no directory."""
        del config
        return False

    def arguments(self, request: TrainRequest) -> dict[str, Any]:
        """It has none."""
        del request
        return {}

    def files(self, request: TrainRequest) -> tuple[PlannedFile, ...]:
        """It reads none."""
        del request
        return ()

    def argv(self, request: TrainRequest) -> list[str]:
        """A command that does nothing."""
        return [*request.config.learner.entry]

    def env(self, request: TrainRequest) -> Mapping[str, str]:
        """It needs none."""
        del request
        return {}

    def rehearsal(self, request: TrainRequest, max_model_len: int | None) -> list[str]:
        """There is nothing to try."""
        del request, max_model_len
        return []

    def section(self, argument: str) -> str:
        """It has none."""
        del argument
        return ""

    def command(self, entry: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
        """A command that does nothing."""
        del arguments
        return [*entry]

    def from_argv(self, argv: Sequence[str]) -> dict[str, Any]:
        """No command line is one of it."""
        raise ValueError(f"{' '.join(argv)!r} is the command line of a learner")


LEARNER = NoLearner()
