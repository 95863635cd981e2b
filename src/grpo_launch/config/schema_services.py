"""The node ``services``: what runs beside the rollout server and the learner.

Its keys are the names of the services, which the command line may add. OmegaConf adds no key to a
mapping of structured configs, so to Hydra the node is plain data, which ``config/services.py``
gives these types.

The annotations are no text, see ``config/schema.py``.
"""

from dataclasses import dataclass, field


@dataclass
class ServiceCheck:
    """When a service counts as ready."""

    url: str | None = None
    """Answers 200 once it is, `http://127.0.0.1:9000/health`; unset: nothing waits for it."""
    timeout_s: float = 300.0
    """Seconds until the run gives up."""


@dataclass
class Service:
    """A process beside the two halves: a judge, a teacher, a reward model, a server of tools.

    It belongs to the run that learns: `role=both` and `role=learner` start it, `role=server` does
    not. See [Services](../launching.md#services).
    """

    argv: list[str] = field(default_factory=list)
    """The command as a list, run as it is: no shell, no `runtime`, the caller's PATH."""
    devices: list[str] = field(default_factory=list)
    """Its devices, CUDA indices or UUIDs; the two halves do not get them. `[]`: it sees none."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables that it gets besides the caller's. Secrets belong in the caller's own."""
    check: ServiceCheck = field(default_factory=ServiceCheck)
