"""What a training left: the newest whole model in its output directory."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.base import codec
from grpo_launch.errors import ConfigError, LaunchError, PreflightError
from grpo_launch.plan import CheckpointLayout
from grpo_launch.runs import checkpoints
from grpo_launch.stages import weights

_ADAPTER = "adapter_config.json"
_PICKLED = "pytorch_model*.bin"
_PICKLED_INDEX = "pytorch_model.bin.index.json"


@dataclass(frozen=True)
class Trained:
    """A whole model that a training left.

    Attributes:
        directory: absolute.
        step: optimizer steps that it has seen; None: not known.
        passed_over: newer checkpoints that are none, a line each.
    """

    directory: Path
    step: int | None
    passed_over: tuple[str, ...] = ()


def newest(output_dir: Path, layout: CheckpointLayout | None) -> Trained:
    """The newest whole model below a learner's output directory, or that directory itself.

    Args:
        output_dir: where one training wrote.
        layout: how its checkpoints lie; None: it makes none.

    Raises:
        ConfigError: what is there is an adapter.
        PreflightError: there is no whole model.
    """
    if not output_dir.is_dir():
        raise PreflightError(str(output_dir), "is no directory", "name what a training wrote")
    faults: list[str] = []
    for path, step in _candidates(output_dir, layout, faults):
        try:
            check(path)
        except PreflightError as error:
            faults.append(str(error))
            continue
        return Trained(path, step, tuple(faults))
    if faults:
        raise PreflightError(str(output_dir), f"has no whole model: {faults[0]}", "train again")
    raise PreflightError(str(output_dir), "has no checkpoint", "look at the log of the training")


def check(directory: Path) -> None:
    """See whether a server can load what is in ``directory``, as far as its headers tell.

    Raises:
        ConfigError: it is an adapter.
        PreflightError: it is a part of a model, or none.
    """
    pickled = sorted(directory.glob(_PICKLED))
    is_whole_model = any(directory.glob("model*.safetensors")) or bool(pickled)
    if (directory / _ADAPTER).is_file() and not is_whole_model:
        fix = "train the whole model, or merge the adapter into its model and publish that"
        raise ConfigError(str(directory), f"is an adapter ({_ADAPTER}), not a whole model", fix)
    try:
        if pickled and not any(directory.glob("*.safetensors")):
            _check_pickled(directory, pickled)
        else:
            weights.read(directory)
    except LaunchError as error:
        raise PreflightError(error.where, error.what, error.fix) from None


def _candidates(
    output_dir: Path, layout: CheckpointLayout | None, faults: list[str]
) -> list[tuple[Path, int | None]]:
    """What may be the newest model, newest first, and why newer ones are none.

    The directory itself comes first only where its state says more steps than any checkpoint.
    """
    found = checkpoints.every(output_dir, layout)
    if layout is None:
        return [(output_dir, None)] if _is_model(output_dir) else []
    final = checkpoints.complete(output_dir, layout) if layout.state else None
    steps = [checkpoint.step for checkpoint in found]
    there = {checkpoint.path for checkpoint in found}
    for path in checkpoints.candidates(output_dir, layout):
        number = checkpoints.number(path, layout)
        is_newer = number is not None and number > max(steps, default=-1)
        why = checkpoints.fault(path, layout)
        if path.absolute() not in there and is_newer and why is not None:
            faults.append(f"{path}: {why}")
    ordered: list[tuple[Path, int | None]] = [(c.path, c.step) for c in reversed(found)]
    if not _is_model(output_dir):
        return ordered
    itself = (output_dir.absolute(), final.step if final else None)
    if final is not None and final.step > max(steps, default=-1):
        return [itself, *ordered]
    return [*ordered, itself]


def _is_model(directory: Path) -> bool:
    return (directory / weights.CONFIG).is_file() or (directory / _ADAPTER).is_file()


def _check_pickled(directory: Path, there: list[Path]) -> None:
    """See whether files that torch.save wrote are all there, and have their ends.

    Raises:
        PreflightError: they are not.
    """
    index = directory / _PICKLED_INDEX
    fix = "save the model again"
    if index.exists():
        try:
            named = {str(name) for name in codec.read(index)["weight_map"].values()}
        except (OSError, ValueError, KeyError, AttributeError):
            raise PreflightError(str(index), "cannot be read", fix) from None
        if missing := sorted(named - {path.name for path in there}):
            raise PreflightError(str(index), f"{missing[0]} is not there", fix)
    for path in there:
        if not zipfile.is_zipfile(path):  # its table of contents is at its end
            raise PreflightError(str(path), "is only a part of a file", fix)
