"""What validation knows beside the configuration, gathered before it."""

from __future__ import annotations

from dataclasses import dataclass, field

from grpo_launch.engines.flags import EngineFlags, snapshot
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.learners.swift.episodes import GymFacts
from grpo_launch.planning.devices import Devices


@dataclass(frozen=True)
class Facts:
    """Facts about the engine, the model and the devices; None where they are not known.

    Attributes:
        flags: what the engine's programs take; by default the pinned version's.
        devices: the split of the devices.
        shape: the model's shape, where its ``config.json`` is local.
        gpu_memory_gib: memory of one device.
        gym: the files of an experiment that plays episodes.
    """

    flags: EngineFlags = field(default_factory=snapshot)
    devices: Devices | None = None
    shape: ModelShape | None = None
    gpu_memory_gib: float | None = None
    gym: GymFacts = field(default_factory=GymFacts)

    @property
    def world_size(self) -> int:
        """Processes of the learner; 0 where the split is not known."""
        return len(self.devices.learner) if self.devices else 0
