"""``python -m grpo_launch.stages.publish``: what a training left becomes what servers load.

    MODELS/iter_3           a whole model: weights of the checkpoint, tokenizer of the base model
    MODELS/current          a link to the newest, replaced atomically

A directory is filled aside, synced and renamed, so one that has its name is whole, and a second
start after a kill has only the link left to do. A model that is being served is neither replaced
nor removed.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.learners.publication import WHOLE, Publication, sources
from grpo_launch.plan import CheckpointLayout
from grpo_launch.stages import aside, copying, program, trained, weights

CURRENT = "current"
COPY, LINK, NONE = "copy", "link", "none"
MODES = (COPY, LINK, NONE)

_NUMBERED = re.compile(r"iter_([0-9]{1,15})")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Publishing:
    """How models are published.

    Attributes:
        mode: ``copy``; ``link``, hard links to the weights, a copy on another file system; or
            ``none``, ``current`` is a link to the checkpoint itself.
        keep: how many published models stay; 0: all.
        base: the model that the training began with, a directory or a name on the Hugging Face
            hub whose files are in the cache; empty: nothing is taken from it.
        layout: how the learner's checkpoints lie; None: it makes none.
        checkpoint, base_files, needed: see ``learners.publication.Publication``.

    Raises:
        ValueError: there is no such mode, or ``keep`` is below 0.
    """

    mode: str = COPY
    keep: int = 2
    base: str | None = None
    layout: CheckpointLayout | None = None
    checkpoint: tuple[str, ...] = WHOLE.checkpoint
    base_files: tuple[str, ...] = WHOLE.base
    needed: tuple[str, ...] = WHOLE.needed

    def __post_init__(self) -> None:
        """``ValueError`` for a value that is none."""
        if self.mode not in MODES:
            raise ValueError(f"mode: {self.mode} is none of {', '.join(MODES)}")
        if self.keep < 0:
            raise ValueError(f"keep: {self.keep} is below 0")


def publish(
    how: Publishing, training: Path, name: str, models: Path, serving: Path | None = None
) -> Path:
    """Publish the newest model of a training.

    Args:
        how: the settings.
        training: the learner's output directory.
        name: of the new model: ``iter_3``.
        models: the directory of all of them.
        serving: what a server has loaded, the directory itself and not a link to it that has
            another meaning by now; it stays.

    Returns:
        What ``current`` leads to now.

    Raises:
        ConfigError: the training made an adapter, or the base model is not there.
        PreflightError: it left no whole model, or the disk is full.
        OSError: something cannot be read or written.
    """
    if not _NUMBERED.fullmatch(name):
        raise ConfigError("--name", f"{name} is no name of a model", "say iter_N")
    busy = [serving.resolve()] if serving else []  # before the link is another one
    with aside.held(models):
        aside.clear(models)
        target = models / name
        if how.mode == NONE:
            target = _newest(training, how)
        elif not target.is_dir():
            _make(target, how, _newest(training, how))
        _point(models / CURRENT, target)
        _prune(models, how.keep, [models / CURRENT, target, *busy])
    return target.resolve()


def _newest(training: Path, how: Publishing) -> Path:
    found = trained.newest(training, how.layout)
    for line in found.passed_over:
        program.say(f"warning: {line}; {found.directory} is published instead")
    return found.directory


def _make(target: Path, how: Publishing, checkpoint: Path) -> None:
    """Fill the directory of a model."""
    base = weights.located(how.base, Path.cwd(), os.environ) if how.base else None
    if base is not None and not base.is_dir():
        raise ConfigError(str(how.base), "the base model is not there", "name its directory")
    patterns = Publication(how.checkpoint, how.base_files, how.needed)
    try:
        names = sources(patterns, _files(checkpoint), _files(base) if base else ())
    except ValueError as error:
        fix = "let the training save the whole model"
        raise PreflightError(str(checkpoint), str(error), fix) from None
    of_base = {name: base / name for name, where in names.items() if base and where == "base"}
    of_training = {name: checkpoint / name for name in names if name not in of_base}
    place = copying.link if how.mode == LINK else copying.copy
    try:
        with aside.made(target) as fresh:
            for each, origin in of_base.items():
                copying.copy(origin, fresh / each)
            for each, origin in of_training.items():
                place(origin, fresh / each)
            trained.check(fresh)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        paths = (*of_base.values(), *of_training.values())
        size = sum(path.stat().st_size for path in paths) / 2**30
        what = f"no room for a model of {size:.1f} GiB"
        fix = "free some, or set publish.keep or publish.mode=link"
        raise PreflightError(str(target.parent), what, fix) from None


def _files(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.is_file()]


def _point(link: Path, target: Path) -> None:
    """Let ``current`` lead to ``target``; relative, so that a run may be moved."""
    to = os.path.relpath(target, link.parent)
    if link.is_symlink() and os.readlink(link) == to:
        return
    if link.is_dir() and not link.is_symlink():
        raise PreflightError(str(link), "is a directory where a link belongs", "move it away")
    aside.link(link, to)


def _prune(models: Path, keep: int, used: Sequence[Path]) -> None:
    """Remove all but the newest models."""
    if not keep:
        return
    busy = {path.resolve() for path in used}
    published = dict(_published(models))
    for number in sorted(published)[:-keep]:
        directory = published[number].resolve()
        if not any(path == directory or directory in path.parents for path in busy):
            aside.remove(published[number])


def _published(models: Path) -> Iterator[tuple[int, Path]]:
    for path in models.iterdir():
        match = _NUMBERED.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink():
            yield int(match[1]), path


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its status."""
    parser = program.Arguments(prog="publish", description=__doc__)
    parser.add_argument("settings", type=Path, help="publish.json")
    parser.add_argument("--training", type=Path, required=True, help="the learner's output_dir")
    parser.add_argument("--name", required=True, help="iter_N")
    parser.add_argument("--models", type=Path, required=True, help="where models are published")
    parser.add_argument("--serving", type=Path, help="what a server has loaded")
    return program.run(parser, argv, _run)


def _run(arguments: argparse.Namespace) -> int:
    how = program.settings(Publishing, arguments.settings)
    found = publish(how, arguments.training, arguments.name, arguments.models, arguments.serving)
    program.say(f"{arguments.models / CURRENT} is {found}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
