"""What an attempt of a loop reads and writes in the loop's directory."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from grpo_launch.base import atomic, codec
from grpo_launch.errors import PreflightError
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import SERVING, LaunchPlan, Loop, Stage
from grpo_launch.planning import marks
from grpo_launch.runs import loop_state, plans
from grpo_launch.runs.loop_state import LoopState

_Value = TypeVar("_Value")

CURRENT = "models/current"
"""Below the directory of a loop: a link to the newest model, once there was an update."""

_AGAIN = "make room, then say resume=latest"


class LoopFiles:
    """The files of a loop, for one attempt.

    Args:
        around: what the attempts share.
        loop: of the plan.
        attempt: the name of the attempt's logs.
    """

    def __init__(self, around: Surroundings, loop: Loop, attempt: str) -> None:
        self._around = around
        self._loop = loop
        self._attempt = attempt
        self._directory = around.record.directory

    # The state

    def begin(self) -> LoopState:
        """The state that is there, bounded as the loop is.

        Raises:
            PreflightError: it is none, or cannot be read or written.
        """
        with self._kept():
            try:
                state = loop_state.read(self._directory).bounded(self._loop)
            except ValueError as error:
                fix = "restore it, or choose another loop.dir"
                raise PreflightError(str(self._directory), str(error), fix) from None
            loop_state.write(self._directory, state)
        return state

    def write(self, state: LoopState) -> None:
        """Write the state.

        Raises:
            PreflightError: it cannot be written.
        """
        with self._kept():
            loop_state.write(self._directory, state)

    def keep(self, state: LoopState) -> None:
        """Write the line of an iteration that has ended.

        Raises:
            PreflightError: it cannot be written.
        """
        with self._kept():
            loop_state.keep(self._directory, state)

    def note_servers(self, plan: LaunchPlan) -> None:
        """Keep the plan of the servers that run, for what asks them.

        Raises:
            PreflightError: it cannot be written.
        """
        path = self._directory / SERVING / plans.NAME
        with self._kept():
            path.parent.mkdir(exist_ok=True)
            atomic.write(path, plan.to_json())

    @contextlib.contextmanager
    def _kept(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            what = f"cannot be kept ({error.strerror})"
            where = str(self._directory / loop_state.NAME)
            raise PreflightError(where, what, _AGAIN) from None

    # Stages

    def filled(self, stage: Stage, state: LoopState) -> LaunchPlan:
        """The plan of a stage in the iteration of ``state``.

        Raises:
            PreflightError: the newest model is not there.
        """
        return self._filled(stage.plan, state)

    def _filled(self, value: _Value, state: LoopState) -> _Value:
        model = self._model(state)
        return marks.filled(value, state.iteration, state.version, model, sys.executable)

    def _model(self, state: LoopState) -> str:
        """The newest model, as it is served."""
        try:
            return os.path.realpath(self._directory / CURRENT, strict=True)
        except OSError as error:
            if state.version:
                what = f"leads nowhere ({error.strerror}) after {state.version} updates"
                where = str(self._directory / CURRENT)
                raise PreflightError(where, what, "let it lead to a model") from None
            return self._loop.model

    def prepare(self, plan: LaunchPlan) -> Path:
        """Write the files of a stage; the directory of its logs, absolute.

        Raises:
            PreflightError: they cannot be written.
        """
        logs = self._around.cwd / plan.run_dir / "logs" / self._attempt
        try:
            logs.mkdir(parents=True, exist_ok=True)
            for file in plan.files:
                path = self._around.cwd / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file.text, encoding="utf-8")
            for spec in plan.of_attempt:
                link = self._directory / "logs" / f"{spec.name}.log"
                atomic.point(link, os.path.relpath(logs / link.name, link.parent))
        except OSError as error:
            what = f"cannot be written ({error.strerror})"
            raise PreflightError(str(logs), what, _AGAIN) from None
        return logs

    def figures(self, stage: Stage, state: LoopState) -> Mapping[str, Any]:
        """The numbers that a stage has left.

        Raises:
            PreflightError: it should have, and has not.
        """
        if not stage.figures:
            return {}
        path = self._around.cwd / self._filled(stage.figures, state)
        try:
            body = codec.read(path)
        except (OSError, ValueError) as error:
            what = f"cannot be read ({error})"
            done = marks.directory(state.iteration)
            fix = f"remove iterations/{done}/{stage.name}.done, then say resume=latest"
            raise PreflightError(str(path), what, fix) from None
        return {name: value for name, value in body.items() if type(value) in (int, float)}
