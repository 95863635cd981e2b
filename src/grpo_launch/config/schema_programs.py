"""The nodes ``engine``, ``learner`` and ``runtime``: which programs run, and in which environment.

The annotations are no text, see ``config/schema.py``.
"""

from dataclasses import dataclass, field

from grpo_launch.config.choices import RuntimeKind

ENGINE = "swift"
"""The engine where nothing names one."""

LEARNER = "swift"
"""The learner where nothing names one."""

NO_PLUGIN = "none"
"""The engine of a learner alone, and the learner of a server alone."""


@dataclass
class Engine:
    """The program that serves rollouts (group ``engine``)."""

    name: str = ENGINE
    """The engine: which flags and which HTTP interface."""
    entry: list[str] = field(default_factory=list)
    """The command before the engine's own arguments, as a list; empty: the engine's usual one."""
    managed: bool = True
    """`false`: somebody else runs the servers; they are asked and watched, never started."""


@dataclass
class Learner:
    """The program that trains (group ``learner``)."""

    name: str = LEARNER
    """The learner: which arguments file and which entry script."""
    entry: list[str] = field(default_factory=list)
    """The command before the learner's own arguments, as a list; empty: the learner's usual one."""
    stage: str | None = None
    """What is trained, where the learner trains several things: `sft`, `pt`, `dpo`; unset: what the
    experiment's own arguments say, or the learner's usual one."""
    timeout_s: float | None = None
    """Seconds that the learner may take before it is ended; unset: as many as it needs."""
    debug: bool = False
    """Verbose distributed and NCCL logs, shell tracing in `scripts/train.sh`."""
    master_port: int | None = None
    """torchrun's rendezvous port; unset: a free one is chosen."""
    timing: bool = True
    """Write when it generates, syncs and learns into `timing.jsonl`, for `role=advise`."""


@dataclass
class HalfRuntime:
    """The environment of one half, where it has another one; what is unset is that of both."""

    kind: RuntimeKind | None = None
    """`current`, `venv` or `conda`."""
    path: str | None = None
    """`venv`: the environment's directory."""
    name: str | None = None
    """`conda`: the environment's name."""


@dataclass
class Runtime:
    """How the commands of both halves are entered (group ``runtime``)."""

    kind: RuntimeKind = RuntimeKind.current
    """`current`: PATH as it is; `venv`: a virtual environment; `conda`: `conda run`."""
    path: str | None = None
    """`venv`: the environment's directory; unset: the one that `scripts/setup_engine.sh` makes for
    the engine, and for the learner."""
    name: str | None = None
    """`conda`: the environment's name."""
    server: HalfRuntime = field(default_factory=HalfRuntime)
    """That of the rollout servers alone."""
    learner: HalfRuntime = field(default_factory=HalfRuntime)
    """That of the learner alone."""
