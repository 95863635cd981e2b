"""The values that a key of the configuration may be given by name."""

from __future__ import annotations

from enum import Enum


class HealthProbe(Enum):
    """What the gate asks of a rollout server before the learner starts."""

    http = "http"
    generate = "generate"


class RuntimeKind(Enum):
    """How an engine's command is entered."""

    current = "current"
    venv = "venv"
    conda = "conda"


class AcceleratorKind(Enum):
    """What the two halves compute on."""

    cuda = "cuda"
    cpu = "cpu"
    gpu = "cuda"  # noqa: PIE796  # another name of it: what is recorded says cuda


class FailurePolicy(Enum):
    """What happens when a process of a run fails."""

    stop = "stop"
    restart = "restart"


class StallPolicy(Enum):
    """What happens when a run makes no progress."""

    warn = "warn"
    stop = "stop"
    restart = "restart"


class AlarmPolicy(Enum):
    """What happens when a log tells that the rollouts are stale."""

    warn = "warn"
    stop = "stop"


class PortPolicy(Enum):
    """Where the ports of a run come from."""

    fixed = "fixed"
    auto = "auto"


class Compat(Enum):
    """Whether variables of the caller's environment become keys."""

    none = "none"
    env = "env"


class CgroupUse(Enum):
    """Whether the processes of a run get a control group."""

    auto = "auto"
    off = "off"


class ConsoleMode(Enum):
    """What the console shows while a learner runs."""

    auto = "auto"
    progress = "progress"
    log = "log"


class LoraPolicy(Enum):
    """Whether the rollout server may serve LoRA adapters."""

    forbid = "forbid"
    allow = "allow"


class Part(Enum):
    """Which half ``role=check`` judges."""

    both = "both"
    server = "server"
    learner = "learner"


class OutputFormat(Enum):
    """For whom ``role=check`` and ``role=explain`` print."""

    text = "text"
    json = "json"


class WandbMode(Enum):
    """Whether the W&B client talks to a server, keeps its files for later, or does nothing."""

    online = "online"
    offline = "offline"
    disabled = "disabled"


class Split(Enum):
    """Which tasks a rollout is made of."""

    train = "train"
    eval = "eval"


class Swap(Enum):
    """How rollout servers get a new model."""

    restart = "restart"
    reload = "reload"


class Selection(Enum):
    """Which episodes of a rollout are trained on."""

    success = "success"
    threshold = "threshold"
    top = "top"
    best = "best"
    balanced = "balanced"


class DataFormat(Enum):
    """The form of a row of training data."""

    sharegpt = "sharegpt"
    messages = "messages"


class History(Enum):
    """What of an episode is one row of training data."""

    all = "all"
    last = "last"


class PublishMode(Enum):
    """How a checkpoint becomes the model that is served."""

    copy = "copy"
    link = "link"
    none = "none"
