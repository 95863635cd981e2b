"""What rules know besides the configuration: facts, each looked up by its type.

A fact is any object, mostly a frozen dataclass; a plug-in brings types of its own. Facts are
gathered before validation (``checks/gather.py``), so that rules stay pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from grpo_launch.config.problem import Problem

Fact = TypeVar("Fact")


@dataclass(frozen=True)
class Facts:
    """Facts by type, at most one of each.

    Attributes:
        known: the facts.
        missing: why a fact is not known, as ``role=check`` prints it; a type that is in neither
            mapping says so itself, in its attribute ``MISSING``.
    """

    known: Mapping[type, Any] = field(default_factory=dict[type, Any])
    missing: Mapping[type, str] = field(default_factory=dict[type, str])

    @staticmethod
    def of(*facts: object, missing: Mapping[type, str] | None = None) -> Facts:
        """Facts by their own types."""
        return Facts({type(fact): fact for fact in facts}, missing or {})

    def get(self, kind: type[Fact]) -> Fact | None:
        """The fact of this type, or None where it is not known."""
        return self.known.get(kind)

    def why_missing(self, kind: type) -> str:
        """Why the fact of this type is not known."""
        default = getattr(kind, "MISSING", f"{kind.__name__} is not known")
        return self.missing.get(kind, default)

    def updated(self, other: Facts) -> Facts:
        """These facts, and those of ``other``, which win."""
        return Facts({**self.known, **other.known}, {**self.missing, **other.missing})


@dataclass(frozen=True)
class WorldSize:
    """Processes of the learner on all its nodes, one on each of their devices; at least 1."""

    MISSING: ClassVar[str] = "the devices of the learner are not known"

    processes: int


@dataclass(frozen=True)
class DeviceMemory:
    """Memory of the smallest device, in GiB."""

    MISSING: ClassVar[str] = "the memory of a device is not known (accelerator.memory_gib says it)"

    gib: float


@dataclass(frozen=True)
class MissingFiles:
    """Files that the learner or the server reads and this machine does not have.

    Preflight reports them, not a rule: the plan may be for another machine.
    """

    problems: tuple[Problem, ...]
