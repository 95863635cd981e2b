"""What processes leave to be seen, as their plug-ins know it: data of the plan, see ``plan.py``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Counters:
    """Counters that a server shows over HTTP, in the text format of Prometheus.

    Attributes:
        path: of the URL, with its slash.
        metrics: names of metrics, by what people call them; of one with labels the sum counts.
        progress: what people call the one that grows while it generates; empty: none does.
    """

    path: str
    metrics: Mapping[str, str]
    progress: str = ""


@dataclass(frozen=True)
class Signs:
    """What tells from outside how a process is, as its engine or learner knows it.

    Attributes:
        alarms: text in its log that means that rollouts are stale, which nothing else would
            tell, and what it means.
        served: text that it logs for each batch of rollouts; empty: it logs none.
        vital: how the titles of the engine's own processes begin; where one of them
            ends, the engine is dead, whatever the server above it answers.
        moves: whether it serves on another port, without an error, where its own is busy.
        prefix: a regular expression: what its processes put before each line of a traceback;
            its last group, or all of it, names the process. Empty: nothing.
        wrappers: words in an exception that only tells that another process failed.
        access: a regular expression: lines of its log that only tell of a request. Empty: none.
        counters: that a server keeps of its work, or None.
    """

    alarms: Mapping[str, str] = field(default_factory=dict)
    served: str = ""
    vital: tuple[str, ...] = ()
    moves: bool = False
    prefix: str = ""
    wrappers: tuple[str, ...] = ()
    access: str = ""
    counters: Counters | None = None


@dataclass(frozen=True)
class Metrics:
    """Where a learner logs its steps: JSON lines, one object a logged step.

    Attributes:
        files: patterns of their paths below the output directory.
        step: the field with the optimizer steps so far; ``3/40`` says their number as well.
        max_steps: the field with their number; empty: ``step`` says both.
        reward, completion_length: the fields with their means; empty: it has none.
        loss: the field with the loss, which is shown of a training without rewards; empty: none is.
        step_time: the fields that may have the seconds of a step; the first that is there.
        elapsed: the field with the time since the start of this training, in seconds or as
            ``1 day, 2:03:04``; empty: none has.
        trained: the fields of which a row of the training has one, as against a row of an
            evaluation; empty: ``reward`` and ``loss``.
        reward_std, kl: the fields with the spread of the rewards and the KL divergence.
        each_reward: the fields with the mean of one reward function; ``*`` stands for its name.
    """

    files: tuple[str, ...]
    step: str
    reward: str = ""
    max_steps: str = ""
    completion_length: str = ""
    step_time: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    reward_std: str = ""
    kl: str = ""
    each_reward: str = ""
    loss: str = ""
    elapsed: str = ""

    def __post_init__(self) -> None:
        """``ValueError`` for a pattern that leads out of the directory, or is none."""
        _check_patterns("files", self.files)


@dataclass(frozen=True)
class CheckpointLayout:
    """How a learner's checkpoints lie below its output directory.

    Attributes:
        directories: patterns of their paths; each path ends in ``prefix`` and the step.
        prefix: of a checkpoint's name, before the step.
        state: the file that is written last; it is JSON.
        step: the field of ``state`` with the optimizer steps.
        weights: patterns of the files with weights.
        no_weights: names among them that hold something else.
        beside: names of files next to the checkpoints that belong to them.
        named_by: a regular expression (bytes of a log's line); its first group is the
            directory that the learner made for this start. Empty: it makes none.
    """

    directories: tuple[str, ...]
    prefix: str
    state: str
    step: str
    weights: tuple[str, ...]
    no_weights: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    named_by: str = ""

    def __post_init__(self) -> None:
        """``ValueError`` for a pattern that leads out of the directory, or is none."""
        _check_patterns("directories", self.directories)
        _check_patterns("weights", self.weights)
        try:
            re.compile(self.named_by)
        except re.error as error:
            raise ValueError(f"named_by: {error}") from None


def _check_patterns(field: str, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        if not pattern.strip("./") or pattern.startswith("/") or ".." in pattern.split("/"):
            raise ValueError(f"{field}: {pattern[:60]!r} is no pattern below a directory")
