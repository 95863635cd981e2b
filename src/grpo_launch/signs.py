"""What plug-ins know of their processes: what they leave to be seen, and how one goes on.

It is data of the plan, see ``plan.py``.
"""

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


JSON = "json"
PAIRS = "pairs"
REGEX = "regex"


@dataclass(frozen=True)
class Metrics:
    """Where a learner logs its steps, one line a logged step or several.

    Attributes:
        files: patterns of their paths below the output directory; none: the log of the process.
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
        form: what a line is: :data:`JSON`, one object, a field of an object in it named by a
            dotted path; :data:`PAIRS`, ``step=3 loss=0.1``; :data:`REGEX`.
        patterns: regular expressions of :data:`REGEX`; their named groups are the fields.
        event, value: the fields with name and number where a line has one number alone.
        steps: the number of steps where no row says it; 0: not known.
        first_step: what the first step is called, 0 or 1.
        first_steps: the same for some of the names in ``event``, by pattern.
        merges: whether the lines of one step are one row. A line of a log without a step belongs
            to the step that was named last.
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
    form: str = JSON
    patterns: tuple[str, ...] = ()
    event: str = ""
    value: str = ""
    steps: int = 0
    first_step: int = 1
    first_steps: Mapping[str, int] = field(default_factory=dict)
    merges: bool = False

    def __post_init__(self) -> None:
        """``ValueError`` for a pattern that leads out of the directory, or is none."""
        _check_patterns("files", self.files)
        for pattern in self.patterns:
            _check_expression("patterns", pattern)


@dataclass(frozen=True)
class CheckpointLayout:
    """How a learner's checkpoints lie below its output directory.

    Attributes:
        directories: patterns of their paths; each path ends in ``prefix``, the step, ``suffix``.
        prefix: of a checkpoint's name, before the step.
        state: the file that is written last. Empty: there is none, and a checkpoint may be a
            file.
        step: the field of ``state``, which is JSON then, with the optimizer steps; empty: the
            name alone says them.
        weights: patterns of the files with weights; none: nobody looks for them.
        no_weights: names among them that hold something else.
        beside: names of files next to the checkpoints that belong to them.
        named_by: a regular expression (bytes of a log's line); its first group is the
            directory that the learner made for this start. Empty: it makes none.
        suffix: of a checkpoint's name, after the step.
        tracker: the name of a file beside the checkpoints that holds the newest complete step.
            Empty: there is none.
        ignored: patterns of names of what is still being written.
    """

    directories: tuple[str, ...]
    prefix: str
    state: str
    step: str
    weights: tuple[str, ...]
    no_weights: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    named_by: str = ""
    suffix: str = ""
    tracker: str = ""
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """``ValueError`` for a pattern that leads out of the directory, or is none."""
        _check_patterns("directories", self.directories)
        _check_patterns("weights", self.weights)
        _check_expression("named_by", self.named_by)


ARGUMENT = "argument"
CONFIG_KEY = "config_key"
DIRECTORY = "directory"
NONE = "none"


@dataclass(frozen=True)
class Resuming:
    """How a restart tells the job where to go on, where no line of an arguments file does.

    Attributes:
        by: :data:`ARGUMENT` or :data:`CONFIG_KEY`; :data:`DIRECTORY`: it finds the newest
            checkpoint below its output directory by itself; :data:`NONE`: it begins anew.
        words: of an argument, put into its command.
        behind: how many words of its command stand behind their place.
        present: how many of them stand there already.
        file, text: of a key, the file that is written again, and what it then holds.
        mark: what in ``words`` and ``text`` stands for the checkpoint's path.
    """

    by: str
    words: tuple[str, ...] = ()
    behind: int = 0
    present: int = 0
    file: str = ""
    text: str = ""
    mark: str = ""


def _check_patterns(field: str, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        if not pattern.strip("./") or pattern.startswith("/") or ".." in pattern.split("/"):
            raise ValueError(f"{field}: {pattern[:60]!r} is no pattern below a directory")


def _check_expression(field: str, expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{field}: {error}") from None
