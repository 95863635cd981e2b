"""``resume=``: which checkpoint a run goes on from, and where it writes instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from grpo_launch.config.amend import amended
from grpo_launch.config.formats import document
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.learners.base import Learner, Resume, learner
from grpo_launch.plan import LEARNER, CheckpointLayout
from grpo_launch.runs import checkpoints, find, plans, reading, record
from grpo_launch.runs.checkpoints import Checkpoint
from grpo_launch.tracking import variables

LATEST = "latest"

_CLOCK_SKEW_S = 1.0
"""Seconds by which the clock of a file system may differ from ours."""


def settled(
    config: LaunchConfig,
    cwd: Path,
    environ: Mapping[str, str],
    run_id: str,
    parts: Sequence[str],
    say: Callable[[str], None],
) -> LaunchConfig:
    """``config`` with the checkpoint that ``resume`` means, and a directory without any.

    Args:
        config: as composed.
        cwd: the working directory.
        environ: the caller's environment; its WANDB_RUN_ID names the W&B run itself.
        run_id: of the run that is about to start.
        parts: the processes to start, of ``server`` and ``learner``.
        say: told what a person should know.

    Raises:
        ConfigError: ``resume`` names nothing that is there.
        PreflightError: there is no complete checkpoint.
    """
    where = config.where("resume")
    if LEARNER not in parts:
        if config.resume is not None:
            say(f"warning: {where}: means nothing to a server alone, give it to its learner")
        return config
    values: dict[str, Any] = {}
    trained = learner(config.learner.name)
    resume = trained.resume(config)
    if config.resume is not None and resume is None:
        what = f"{trained.product} cannot go on from a checkpoint"
        raise ConfigError(where, what, "remove it")
    if config.resume is not None and resume is not None:
        layout = trained.checkpoints(config)
        checkpoint, run = _found(config.resume, config.experiment, layout, cwd, where, say)
        values |= _told(trained, resume, layout, checkpoint, where)
        say(f"training goes on from {document.shown(checkpoint.path)}, step {checkpoint.step}")
        if not environ.get("WANDB_RUN_ID"):
            config = _in_the_same_wandb_run(config, run or _around(checkpoint.path), say)
    output_dir = config.get(trained.output_key) if trained.output_key else None
    if (
        isinstance(output_dir, str)
        and f"train.{trained.output_key}" not in values
        and not trained.is_versioned(config)
        and _holds(config, cwd / output_dir)
    ):
        # The learner would overwrite them, or delete the oldest (save_total_limit).
        values[f"train.{trained.output_key}"] = fresh = f"{output_dir}/{run_id}"
        say(f"{output_dir} holds checkpoints of another run, writing into {fresh}")
    return amended(config, values)


def _told(
    trained: Learner,
    resume: Resume,
    layout: CheckpointLayout | None,
    checkpoint: Checkpoint,
    where: str,
) -> dict[str, Any]:
    """The values that tell the learner of a checkpoint, by dotted key.

    Raises:
        PreflightError: it would find a newer one by itself.
    """
    if key := resume.checkpoint_key:
        return {".".join(filter(None, ("train", trained.section(key), key))): str(checkpoint.path)}
    assert layout is not None  # or there would be no checkpoint
    root = checkpoints.root(checkpoint.path, layout)
    if (newest := checkpoints.every(root, layout)[-1]).step > checkpoint.step:
        what = (
            f"the learner goes on from the newest checkpoint of its directory, step {newest.step}"
        )
        fix = f"name the run, or copy the earlier ones of {document.shown(root)} elsewhere"
        raise PreflightError(where, what, fix)
    return {f"train.{resume.output_key}": str(root)}


def resolve(
    said: str,
    experiment: str,
    layout: CheckpointLayout | None,
    cwd: Path,
    where: str,
    say: Callable[[str], None],
) -> Checkpoint:
    """The checkpoint that ``resume`` means.

    Args:
        said: ``latest``, a run, or the directory of a checkpoint.
        experiment: whose newest run ``latest`` is.
        layout: how the learner's checkpoints lie, which a path may name.
        cwd: the working directory.
        where: says ``resume``, for messages.
        say: told of an incomplete checkpoint that is passed over.

    Raises:
        ConfigError: nothing of that name is there.
        PreflightError: there is no complete checkpoint.
    """
    return _found(said, experiment, layout, cwd, where, say)[0]


def _found(
    said: str,
    experiment: str,
    layout: CheckpointLayout | None,
    cwd: Path,
    where: str,
    say: Callable[[str], None],
) -> tuple[Checkpoint, Path | None]:
    """The checkpoint that ``resume`` means, and the run that was named; see :func:`resolve`."""
    if said == LATEST:
        for run in find.of_experiment(experiment, cwd / find.ROOT):
            if (found := _newest(run, say)) is not None:
                _warn_of_a_living(run, say)
                return found, run
        what = f"no run of {experiment} in {find.ROOT}/ has a complete checkpoint"
        raise PreflightError(where, what, "start without it, or name a run or a checkpoint")
    try:
        run = find.one(said, cwd / find.ROOT, cwd).directory
    except ConfigError as error:
        return _named(said, layout, cwd, where, error), None
    try:
        reading.read(run)
    except (OSError, ValueError) as error:
        what = f"the record of the run {said} cannot be read ({error})"
        raise ConfigError(where, what, "name the checkpoint's own directory") from None
    if (found := _newest(run, say)) is None:
        what = f"the run {said} has no complete checkpoint"
        raise PreflightError(where, what, "name another run or a checkpoint")
    _warn_of_a_living(run, say)
    return found, run


def _in_the_same_wandb_run(
    config: LaunchConfig, run: Path | None, say: Callable[[str], None]
) -> LaunchConfig:
    """``config`` with the W&B run that an earlier run of ours wrote into."""
    wandb = config.tracking.wandb
    if run is None or wandb.id is not None or variables.WANDB not in variables.trackers(config):
        return config
    learner = plans.known(run)[0].main
    known = {**learner.env_defaults, **learner.env} if learner else {}
    if (number := known.get("WANDB_RUN_ID")) is None:
        return config
    say(f"the W&B run {number} goes on (tracking.wandb.id=ID begins another)")
    return replace(config, tracking=replace(config.tracking, wandb=replace(wandb, id=number)))


def _around(checkpoint: Path) -> Path | None:
    """The run whose directory holds a checkpoint, or None."""
    return next((path for path in checkpoint.parents if (path / record.NAME).is_file()), None)


def _named(
    said: str, layout: CheckpointLayout | None, cwd: Path, where: str, no_run: ConfigError
) -> Checkpoint:
    """The checkpoint at the path ``said``; ``no_run`` says why it is no run."""
    path = cwd / said
    fault = checkpoints.fault(path, layout) if layout and path.exists() else None
    named = layout is not None and path.name.startswith(layout.prefix or tuple("0123456789"))
    if not layout or not path.exists() or (fault and not named):
        what = f"{said} is neither a checkpoint nor a run ({no_run.where}: {no_run.what})"
        named = f", or the path of a directory {layout.prefix}N" if layout else ""
        raise ConfigError(where, what, f"say {LATEST}, EXPERIMENT/ID{named}")
    found = checkpoints.complete(path, layout)
    if found is None:
        what = f"the checkpoint {said} is incomplete: {fault}"
        raise PreflightError(where, what, "name an earlier one, or the run")
    return found


def _newest(run: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest complete checkpoint that a run wrote."""
    plan, _ = plans.known(run)
    output_dir, layout = plans.output_dir(run, plan), plan.checkpoints
    if layout is None:
        return None
    own = [c for c in checkpoints.every(output_dir, layout) if _is_of(run, output_dir, c)]
    newest = own[-1] if own else None
    for path in sorted(checkpoints.candidates(output_dir, layout)):
        newer = newest is None or (checkpoints.number(path, layout) or 0) > newest.step
        if newer and (fault := checkpoints.fault(path, layout)) is not None:
            say(f"warning: {document.shown(path)}: passed over, {fault}")
    return newest


def _is_of(run: Path, output_dir: Path, checkpoint: Checkpoint) -> bool:
    """Whether a run wrote a checkpoint: another may have the same ``training.output_dir``."""
    if output_dir.is_relative_to(run):
        return True
    known, _ = reading.read(run)
    return checkpoint.written >= known.started - _CLOCK_SKEW_S and (
        known.ended is None or checkpoint.written <= known.ended + _CLOCK_SKEW_S
    )


def _warn_of_a_living(run: Path, say: Callable[[str], None]) -> None:
    known, _ = reading.read(run)
    if known.ended is None and known.is_supervised:
        say(f"warning: {document.shown(run)} is still going on, and may delete the checkpoint")


def _holds(config: LaunchConfig, output_dir: Path) -> bool:
    layout = learner(config.learner.name).checkpoints(config)
    return layout is not None and any(True for _ in checkpoints.candidates(output_dir, layout))
