"""Where a loop is, in ``loop.json`` of its directory: what is done already is not done again.

It is written as a whole, and synced, whenever a stage has ended. What a stage leaves is there by
then, and each stage can be begun again after it was killed anywhere, so the loop goes on exactly
where it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grpo_launch.base import atomic, codec
from grpo_launch.plan import COLLECT, COLLECT_EVAL, LEARNER, PUBLISH, SELECT, Loop, Stage

NAME = "loop.json"

ROWS = "iterations.jsonl"
"""In the directory of a loop: a line for each iteration that has ended."""

FORMAT = 1

DONE = "done"
SKIPPED = "skipped"
"""No episode was good enough to train on."""
FAILED = "failed"


@dataclass(frozen=True)
class Row:
    """What became of an iteration.

    Attributes:
        iteration: from 0.
        version: how many updates had made the model that was served.
        update: what became of its update: :data:`DONE`, :data:`SKIPPED`, :data:`FAILED`; empty:
            there was none yet.
        reason: why it was skipped or failed.
        seconds: that each stage took, by name, all attempts together.
        figures: of the stages that tell some, by name: ``reward``, ``episodes``, ``kept``, ...
    """

    iteration: int
    version: int
    update: str = ""
    reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def figure(self, stage: str, name: str) -> float | None:
        """A number that a stage told; None: it did not."""
        value = self.figures.get(stage, {}).get(name)
        return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class LoopState:
    """Where a loop is.

    Attributes:
        row: of the iteration that is under way, or has just ended.
        done: the stages of it that are done.
        version: how many updates made the model that is served next.
        failures: updates that failed, in all.
        until: the iteration before which the loop ends; None: it goes on until it is stopped.
    """

    row: Row = Row(0, 0)
    done: tuple[str, ...] = ()
    version: int = 0
    failures: int = 0
    until: int | None = None

    @property
    def iteration(self) -> int:
        """The number of the iteration under way, from 0."""
        return self.row.iteration

    def bounded(self, loop: Loop) -> LoopState:
        """The state at the start of a loop that may have been here before.

        What counts passes keeps its bound until that is reached. An update has the episodes that
        are there, and no others.
        """
        if not loop.passes:
            return replace(self, until=loop.iterations)
        if not any(stage.serves for stage in loop.stages):
            return replace(self, until=self.iteration + 1)
        if self.until is not None and self.next(loop) is not None:
            return self
        begun = self.iteration + (1 if self.has_ended(loop) else 0)
        return replace(self, until=begun + (1 if loop.iterations is None else loop.iterations))

    def next(self, loop: Loop) -> tuple[LoopState, Stage] | None:
        """What is to be done next, and the state in which it is; None: nothing is left."""
        state = self
        if self.has_ended(loop):
            state = replace(self, row=Row(self.iteration + 1, self.version), done=())
        if state.until is not None and state.iteration >= state.until:
            return None
        return state, next(s for s in stages_of(loop, state.iteration) if s.name not in state.done)

    def after(
        self, stage: str, seconds: float, figures: Mapping[str, Any] | None = None
    ) -> LoopState:
        """The state once a stage is done.

        Args:
            stage: its name.
            seconds: that it took this time.
            figures: that it told.
        """
        state = replace(self.spent(stage, seconds), done=(*self.done, stage))
        row = state.row
        if figures:
            row = replace(row, figures={**row.figures, stage: dict(figures)})
        if stage == COLLECT:
            row = replace(row, version=state.version)
        if stage == PUBLISH:
            row = replace(row, update=DONE)
            state = replace(state, version=state.version + 1)
        return replace(state, row=row)

    def without_update(self, how: str, reason: str) -> LoopState:
        """The state once the update of this iteration was given up.

        Args:
            how: :data:`SKIPPED` or :data:`FAILED`.
            reason: why.
        """
        left = [name for name in (SELECT, LEARNER, PUBLISH) if name not in self.done]
        failures = self.failures + (how == FAILED)
        row = replace(self.row, update=how, reason=reason)
        return replace(self, row=row, done=(*self.done, *left), failures=failures)

    def spent(self, stage: str, seconds: float) -> LoopState:
        """The state once time was spent, also on what is not done by that."""
        taken = {**self.row.seconds}
        taken[stage] = round(taken.get(stage, 0.0) + seconds, 3)
        return replace(self, row=replace(self.row, seconds=taken))

    def has_ended(self, loop: Loop) -> bool:
        """Whether nothing is left to do of the iteration; after its update nothing ever is."""
        return bool(self.row.update) or all(
            stage.name in self.done for stage in stages_of(loop, self.iteration)
        )


def stages_of(loop: Loop, iteration: int) -> list[Stage]:
    """The stages of one iteration, in their order."""
    every = loop.eval_interval
    evaluates = every is None or iteration % every == 0
    return [stage for stage in loop.stages if evaluates or stage.name != COLLECT_EVAL]


def read(directory: Path) -> LoopState:
    """The state in a directory; that of a new loop where there is none yet.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none.
    """
    try:
        body = codec.read(directory / NAME)
    except FileNotFoundError:
        return LoopState()
    if body.pop("format", None) != FORMAT:
        raise ValueError(f"{NAME}: not the state of a loop that this launcher knows")
    notes: list[str] = []
    state = codec.decode(LoopState, body, notes)
    if notes:
        raise ValueError(f"{NAME}: {notes[0]}")
    return state


def write(directory: Path, state: LoopState) -> None:
    """Write the state as a whole; a power cut does not take it back.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    body = {"format": FORMAT, **dataclasses.asdict(state)}
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    atomic.write(directory / NAME, text, durable=True)


def told(row: Row, until: int | None) -> dict[str, Any]:
    """The line of an iteration in :data:`ROWS`: the names are those of the plan's ``metrics``."""
    return {
        "step": row.iteration + 1,
        "max_steps": until,
        "version": row.version,
        "reward": row.figure(COLLECT, "reward"),
        "eval_reward": row.figure(COLLECT_EVAL, "reward"),
        "episodes": row.figure(COLLECT, "step"),
        "kept": row.figure(SELECT, "kept"),
        "update": row.update,
        "reason": row.reason,
        "step_time": round(sum(row.seconds.values()), 3),
        "seconds": dict(row.seconds),
    }


def keep(directory: Path, state: LoopState) -> None:
    """Add the line of the iteration of ``state``.

    One of it that is there already is replaced, as is a line that was cut off: what one role has
    ended another may go on with.

    Raises:
        OSError: it cannot be written.
    """
    path = directory / ROWS
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(last)["step"] == state.iteration + 1:
                whole = whole.removesuffix(last)
        line = json.dumps(told(state.row, state.until), ensure_ascii=False)
        file.seek(len(whole))
        file.truncate()
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def rows(directory: Path) -> list[dict[str, Any]]:
    """The lines of all iterations that have ended, the first first.

    Raises:
        OSError: they cannot be read.
    """
    found: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
        for line in (directory / ROWS).read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                found.append(codec.parse(line.decode("utf-8", "replace")))
    return found
