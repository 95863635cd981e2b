"""The directory of a loop that goes on: the one that is named, or the newest of its experiment."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from grpo_launch.config import loops
from grpo_launch.config.formats import document
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rollout import NODE
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.plan import COLLECT, PUBLISH
from grpo_launch.planning.loop import first_model
from grpo_launch.plugins import LEARNERS
from grpo_launch.runs import find, loop_state, plans, reading

LATEST = "latest"
_LOCK = ".lock"


def directory(config: LaunchConfig, cwd: Path) -> Path | None:
    """Where a loop goes on, absolute; None: it begins in a new directory.

    Args:
        config: its role does stages of a loop.
        cwd: the working directory.

    Raises:
        ConfigError: ``resume`` names no loop.
        PreflightError: there is none to go on with, it is still going on, or began with another
            model.
    """
    found = _found(config, cwd)
    if found is None:
        return None
    where = config.where("resume" if config.resume else "loop.dir")
    try:
        known, _ = reading.read(found)
    except FileNotFoundError:  # the launcher was killed before it wrote one
        known = None
    except (OSError, ValueError) as error:
        what = f"the record of {document.shown(found)} cannot be read ({error})"
        raise PreflightError(where, what, "choose another loop.dir") from None
    if known is not None and known.is_supervised:
        raise _busy(found, where)
    if config.role == loops.UPDATE:
        _refuse_without_episodes(found)
    _refuse_another_model(found, config, cwd)
    return found


def taken(found: Path, config: LaunchConfig, tell: Callable[[str], None]) -> int:
    """Take a loop over from its last attempt, of which nothing is left then.

    Args:
        found: its directory, see :func:`directory`.
        config: that goes on.
        tell: gets a line where this takes a moment.

    Returns:
        A descriptor; while it is open nobody else goes on with the loop.

    Raises:
        PreflightError: somebody does, or something of the last attempt does not end.
    """
    from grpo_launch.supervise import remains

    where = config.where("resume" if config.resume else "loop.dir")
    try:
        lock = os.open(found / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        what = f"{document.shown(found)} cannot be written ({error.strerror})"
        raise PreflightError(where, what, "choose another loop.dir") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise _busy(found, where) from None
    except OSError:  # a file system without locks
        pass
    plan, _ = plans.known(found)
    specs = (*plan.of_attempt, *(spec for stage in plan.stages for spec in stage.plan.team))
    names = [spec.name for spec in specs]
    for run in dict.fromkeys((str(found), os.path.realpath(found))):
        if pids := remains.ended(run, names, plan.deadlines, tell):
            os.close(lock)
            said = ", ".join(map(str, pids))
            what = f"pid {said} of the last attempt of {document.shown(found)} does not end"
            raise PreflightError(where, what, "say grpo-runs stop --kill")
    return lock


def _busy(found: Path, where: str) -> PreflightError:
    what = f"{document.shown(found)} is still going on"
    return PreflightError(where, what, "stop it first, or wait for its end")


def in_directory(config: LaunchConfig, found: Path | None) -> LaunchConfig:
    """``config`` whose run is recorded where the loop lives."""
    place = str(found) if found is not None else config.loop.dir
    return config if place is None else replace(config, run=replace(config.run, dir=place))


def _found(config: LaunchConfig, cwd: Path) -> Path | None:
    if config.loop.dir is not None:
        named = cwd / config.loop.dir
        if (named / loop_state.NAME).is_file():
            return named
        where = config.where("loop.dir")
        if config.role == loops.UPDATE:
            raise PreflightError(
                where, f"{config.loop.dir} holds no loop", "say role=rollout first"
            )
        if config.resume is not None and not named.exists():
            fix = "correct it, or start without resume"
            raise PreflightError(where, f"{config.loop.dir} is not there to go on with", fix)
        return None
    if config.resume not in (None, LATEST):
        run = find.one(str(config.resume), cwd / find.ROOT, cwd).directory
        if not (run / loop_state.NAME).is_file():
            what = f"{config.resume} is no loop, it has no {loop_state.NAME}"
            raise ConfigError(config.where("resume"), what, f"say {LATEST}, or name a loop")
        return run
    if config.resume is None and config.role != loops.UPDATE:
        return None
    of_experiment = find.of_experiment(config.experiment, cwd / find.ROOT)
    newest = next((r for r in of_experiment if (r / loop_state.NAME).is_file()), None)
    if newest is None:
        what = f"no loop of {config.experiment} in {find.ROOT}/"
        fix = "start without it" if config.role != loops.UPDATE else "say role=rollout first"
        raise PreflightError(config.where("resume"), what, fix)
    return newest


def _refuse_another_model(found: Path, config: LaunchConfig, cwd: Path) -> None:
    """The newest model would get the tokenizer of a model that it was not made from.

    Raises:
        PreflightError: the loop has begun with another model, which is still there.
    """
    began = plans.known(found)[0].loop
    model = first_model(config, cwd)
    if began is None or os.path.realpath(began.model) == os.path.realpath(model):
        return
    if Path(began.model).is_absolute() and not Path(began.model).is_dir():
        return  # it was moved
    with contextlib.suppress(OSError, ValueError):
        state = loop_state.read(found)
        if state.iteration or state.done:
            key = LEARNERS.get(config.learner.name).model_key
            where = config.where(f"train.{key}" if key else f"{NODE}.model")
            what = f"is {model}, {document.shown(found)} began with {began.model}"
            raise PreflightError(where, what, "say that one, or begin in another loop.dir")


def _refuse_without_episodes(found: Path) -> None:
    where, fix = document.shown(found), "say role=rollout first"
    try:
        state = loop_state.read(found)
    except (OSError, ValueError) as error:
        raise PreflightError(str(where), str(error), "restore it") from None
    if COLLECT not in state.done:
        raise PreflightError(str(where), "holds no whole collection to train on", fix)
    if PUBLISH in state.done or state.row.update:
        what = f"the episodes of iteration {state.iteration} have had their update"
        raise PreflightError(str(where), what, fix)
