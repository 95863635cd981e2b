"""What a plan says of failures: when processes are ended, what is watched, what follows.

Part of ``plan.py``, which says what may be imported.
"""

from __future__ import annotations

from dataclasses import dataclass

from grpo_launch.signs import Resuming


@dataclass(frozen=True)
class Deadlines:
    """Seconds of a teardown's two stages (see ``shutdown`` in the schema)."""

    term_s: float
    kill_s: float


@dataclass(frozen=True)
class Recovery:
    """What follows a failure (see ``on_failure`` and ``restart`` in the schema).

    Attributes:
        on_failure: ``stop`` or ``restart``.
        restarts: how many restarts the run may have, those after a stall included.
        backoff_s, max_backoff_s: seconds before the first restart, and at most.
        arguments_file: the learner's arguments, YAML with one key a line; a restart writes
            into it where to go on.
        checkpoint_key, output_key: its keys for the checkpoint and the output directory.
        versioned: whether each start of the learner writes into a directory of its own.
        resumed_from: the checkpoint that the run itself goes on from, or None.
        resuming: how else the learner is told where to go on; None: in its arguments file.
    """

    on_failure: str
    restarts: int
    backoff_s: float
    max_backoff_s: float
    arguments_file: str | None
    versioned: bool
    checkpoint_key: str = ""
    output_key: str = ""
    resumed_from: str | None = None
    resuming: Resuming | None = None


@dataclass(frozen=True)
class Watchdog:
    """What watches a training run (see ``watchdog`` in the schema).

    Attributes:
        health_s, probe_s, stall_s: seconds; 0 turns a check off.
        on_stall: ``warn``, ``stop`` or ``restart``.
        on_alarm: ``warn`` or ``stop``, see ``Signs.alarms``.
        silence_s: seconds without progress before the first step, where they are more than
            ``stall_s``.
    """

    health_s: float
    probe_s: float
    stall_s: float
    on_stall: str
    on_alarm: str = "stop"
    silence_s: float = 0.0
