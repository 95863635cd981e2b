"""The settings of a server that is any command: the schema of ``rollout_server``."""

from dataclasses import dataclass
from typing import Any


@dataclass
class CommandSettings:
    """The node ``rollout_server`` of the engine ``command``; the rules say what fits where."""

    argv: Any = None
    """The command as a list, with `{model}`, `{host}`, `{port}`, `{devices}`, `{run_dir}`."""
    model: Any = None
    """What is served; unset: what the learner trains."""
    host: Any = None
    """Where it listens, one or a list; unset: this machine."""
    port: Any = None
    """Its port, one or a list, a server each."""
    group_port: Any = None
    """The port of its weight-sync channel, one or a list; unset: it has none."""
    env: Any = None
    """Variables of the process; the values may have placeholders."""
    checks: Any = None
    """Asked after `health.path`, in order: a list of `{path, name, body, field, value}`."""
    generation: Any = None
    """A request that makes it generate, `{path, body, tokens}`; unset: nobody asks for a token."""
    served: Any = None
    """Text that it logs for each batch of rollouts, as a sign of progress."""
    alarms: Any = None
    """Text in its log that means stale rollouts, and what it means."""
    vital: Any = None
    """How the titles of those of its processes begin without which it is dead."""
    moves: Any = None
    """Whether it serves on another port, without an error, where its own is busy."""
    transfers: Any = None
    """How it takes new weights, a list of `group`, `reload`, `restart`; unset: any of them."""
    tensor_parallel_size: int | None = None
    """Devices that one replica of the model is split over; unset: 1."""
    data_parallel_size: int | None = None
    """Replicas of the model; unset: 1."""
    max_model_len: int | None = None
    """Tokens of prompt and completion together, at most; unset: not known."""
    max_num_seqs: int | None = None
    """Sequences that one replica decodes at a time; unset: not known."""
