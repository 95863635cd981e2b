"""The typed nodes of a loop: rollouts, an update on the best of them, a new model, again."""

from dataclasses import dataclass, field
from typing import Any

from grpo_launch.config.choices import (
    DataFormat as DataFormat,
)
from grpo_launch.config.choices import (
    History as History,
)
from grpo_launch.config.choices import (
    PublishMode as PublishMode,
)
from grpo_launch.config.choices import (
    Selection as Selection,
)
from grpo_launch.config.choices import (
    Split as Split,
)
from grpo_launch.config.choices import (
    Swap as Swap,
)
from grpo_launch.config.schema_programs import HalfRuntime


@dataclass
class Loop:
    """How often a loop goes round, and how (`role=loop`, `rollout`, `update`)."""

    iterations: int | None = None
    """Iterations in all; unset: `role=loop` goes on until it is stopped, `role=rollout` and
    `role=update` make one pass."""
    eval_interval: int | None = None
    """Evaluate in every Nth iteration, the first included, before its update; unset: never."""
    split: Split = Split.train
    """`role=rollout`: the tasks, `train` or `eval`."""
    max_failures: int = 0
    """Failed updates that the loop survives: it goes on with the model that it has."""
    swap: Swap = Swap.restart
    """How servers get a new model: `restart` frees their devices for the training; `reload`
    lets them go on and load it, on devices of their own or on a CPU."""
    dir: str | None = None
    """Where it lives, and goes on if it is there; unset: a new run directory."""


@dataclass
class Collector:
    """How episodes are collected (`grpo_launch.rollout`)."""

    environment: str | None = None
    """The environment's name in the registry `envs`; unset: tasks are single prompts."""
    plugins: list[str] = field(default_factory=list)
    """Python files that register environments; those of a GRPO training serve here too."""
    env_config: Any = field(default_factory=dict)
    """What each environment is made with; a task's own `env_config` wins."""
    train_tasks: str | None = None
    """The tasks to train on: JSON lines with `messages`, or what the environment wants."""
    eval_tasks: str | None = None
    """The tasks of an evaluation."""
    train_tasks_rollout_size: int = 1
    """Episodes of each task."""
    eval_tasks_rollout_size: int = 1
    """Episodes of each task of an evaluation."""
    train_limit: int | None = None
    """Take the first N tasks; unset: all."""
    eval_limit: int | None = None
    """Take the first N tasks of an evaluation; unset: all."""
    server_size: int = 64
    """Episodes at once on each server."""
    environments: int | None = None
    """Environments at once; unset: one for each episode."""
    weights: list[float] | None = None
    """The share of each server, in their order; unset: as much as the others."""
    max_turns: int | None = None
    """Answers of the model in an episode; unset: until the environment is done."""
    sampling: Any = field(default_factory=dict)
    """What goes into each request as it is: `temperature`, `max_tokens`, ..."""
    token_ids: bool = True
    """Keep token ids and log-probabilities where the server gives them."""
    completion_threshold: float = 0.98
    """The share of episodes after which the rest is waited for only `grace_s`."""
    grace_s: float = 120.0
    """Seconds that episodes get after that."""
    episode_timeout_s: float = 1800.0
    """Seconds that an episode may take."""
    call_timeout_s: float = 300.0
    """Seconds that an answer of the model may take."""
    max_failed: float = 0.1
    """The share of failed episodes above which the rollout fails."""
    sync_s: float = 5.0
    """Seconds between two times that what was collected is synced to the disk."""
    max_tokens_spent: int | None = None
    """Generated and prompt tokens after which no more episodes are begun; unset: no limit."""
    model: str | None = None
    """The model's name in requests; unset: the first that the server names."""
    key: str | None = None
    """The environment variable that holds the API key; unset: none is sent."""
    seed: int = 0
    """Of the order of tasks and of the environments."""
    runtime: HalfRuntime = field(default_factory=HalfRuntime)
    """The environment that it runs in; unset: the launcher's own interpreter."""


@dataclass
class UpdateData:
    """What the learner's data looks like."""

    format: DataFormat = DataFormat.sharegpt
    """`sharegpt`, or plain `messages`."""
    history: History = History.all
    """`all`: a row is an episode; `last`: a row is a turn, with the message before it alone."""
    system: bool = True
    """Keep system prompts."""


@dataclass
class Update:
    """Which episodes the learner trains on."""

    select: Selection = Selection.success
    """`success`: what the environment calls one, else a reward of `threshold`; `threshold`: that
    reward; `top`: the best `share`; `best`: the best `per_task` of each task; `balanced`:
    successes, as many of one task as of another."""
    threshold: float = 1.0
    """The reward from which an episode counts."""
    share: float = 0.25
    """`select=top`: the share of the episodes."""
    per_task: int = 1
    """`select=best`: episodes of each task."""
    max_episodes: int | None = None
    """At most so many, the best; unset: all."""
    min_episodes: int = 1
    """With fewer the update is skipped and the model stays."""
    truncated: bool = False
    """Take episodes that were cut at a length as well."""
    data: UpdateData = field(default_factory=UpdateData)


@dataclass
class Publish:
    """How a trained model becomes the one that is served."""

    mode: PublishMode = PublishMode.copy
    """`copy`; `link`: hard links to the checkpoint's files; `none`: the checkpoint itself."""
    keep: int = 2
    """Published models that are kept; 0: all."""


@dataclass
class GpuWait:
    """Before servers and learner take the same GPUs one after the other."""

    below_gib: float = 10.0
    """GiB in use on each GPU below which it counts as free."""
    timeout_s: float = 360.0
    """Seconds until the stage fails."""
