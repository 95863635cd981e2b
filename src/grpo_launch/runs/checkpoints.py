"""The checkpoints of a run, and which of them a learner can go on from.

A learner writes a checkpoint in place, and its state last (``CheckpointLayout.state``). So one
is complete when its state is whole, says the step that its name says, and every file of
weights has the length that its header promises. Others count the complete ones in a file beside
them (``tracker``), or rename them when they are (``ignored``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any, cast

from grpo_launch.base import files
from grpo_launch.plan import CheckpointLayout

_INDEX = "model.safetensors.index.json"
"""Names the files that the weights are spread over (``transformers``, ``save_pretrained``)."""

_LONGEST_HEADER = 100_000_000
"""Bytes; safetensors itself reads no longer one (``MAX_HEADER_SIZE``)."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        path: its directory, or the file that it is, absolute.
        step: optimizer steps that it has seen.
        written: when its state was written, seconds since the epoch.
    """

    path: Path
    step: int
    written: float


def every(output_dir: Path, layout: CheckpointLayout | None) -> list[Checkpoint]:
    """The complete checkpoints below a learner's output directory, fewest steps first.

    Args:
        output_dir: where a learner wrote.
        layout: how its checkpoints lie; None: it makes none.
    """
    if layout is None:
        return []
    found = [c for p in candidates(output_dir, layout) if (c := complete(p, layout)) is not None]
    return sorted(found, key=lambda c: (c.step, c.written))


def complete(path: Path, layout: CheckpointLayout) -> Checkpoint | None:
    """The checkpoint at ``path``, or None where there is none or only a part of one."""
    if fault(path, layout) is not None:
        return None
    try:
        written = (path / layout.state if layout.state else path).stat().st_mtime
        return Checkpoint(Path(os.path.abspath(path)), _step(path, layout), written)
    except (OSError, ValueError, KeyError, TypeError):  # it is being deleted
        return None


def fault(path: Path, layout: CheckpointLayout) -> str | None:
    """What keeps ``path`` from being a complete checkpoint, or None."""
    if any(fnmatch(path.name, pattern) for pattern in layout.ignored):
        return "it was not written to its end"
    if layout.state and not (path / layout.state).is_file():
        return f"{layout.state} is missing, it was not written to its end"
    if not layout.step and number(path, layout) is None:
        return "its name says no step"
    try:
        step = _step(path, layout)
        if number(path, layout) not in (None, step):
            return f"{layout.state} says step {step}"
        if layout.tracker and (newest := _tracked(path.parent / layout.tracker)) < step:
            return f"{layout.tracker} says that step {newest} is the newest"
        if (missing := _missing_weights(path, layout)) is not None:
            return missing
        parts = [file.name for file in sorted(path.glob("*.safetensors")) if not _is_whole(file)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not the format at all
        return "its files cannot be read"
    return f"{', '.join(parts)} is only a part of a file" if parts else None


def candidates(output_dir: Path, layout: CheckpointLayout) -> Iterator[Path]:
    """What lies below a learner's output directory and may be a checkpoint."""
    for pattern in layout.directories:
        found = output_dir.glob(pattern)
        yield from (p for p in found if p.is_dir() or (not layout.state and p.is_file()))


def number(path: Path, layout: CheckpointLayout) -> int | None:
    """The step in the name of a checkpoint, or None where it has no such name."""
    name, prefix, suffix = path.name, layout.prefix, layout.suffix
    digits = name[len(prefix) : len(name) - len(suffix)]
    is_one = name.startswith(prefix) and name.endswith(suffix)
    return int(digits) if is_one and digits.isdecimal() and len(digits) < 16 else None


def is_named(path: PurePath, layout: CheckpointLayout) -> bool:
    """Whether a path, wherever it begins, ends as that of a checkpoint does."""
    named = any(path.match(pattern) for pattern in layout.directories)
    return named and number(Path(path), layout) is not None


def root(checkpoint: Path, layout: CheckpointLayout) -> Path:
    """The output directory that a checkpoint lies below."""
    matching = (pattern for pattern in layout.directories if checkpoint.match(pattern))
    depth = max((len(PurePath(pattern).parts) for pattern in matching), default=1)
    return checkpoint.parents[depth - 1]


def _step(path: Path, layout: CheckpointLayout) -> int:
    """The optimizer steps of a checkpoint.

    Raises:
        OSError, ValueError, KeyError, TypeError: its state cannot be read.
    """
    if not layout.step:
        return cast("int", number(path, layout))
    state: dict[str, Any] = files.loads(files.read(path / layout.state))
    step = state[layout.step]
    if not isinstance(step, int):
        raise TypeError(f"{layout.step} is {step!r}")
    return step


def _tracked(tracker: Path) -> int:
    """The newest complete step, -1 where none is.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    return int(files.text(tracker)) if tracker.exists() else -1


def _missing_weights(path: Path, layout: CheckpointLayout) -> str | None:
    index = path / _INDEX
    if index.exists():
        shards = set(files.loads(files.read(index))["weight_map"].values())
        missing = sorted(shard for shard in shards if not (path / shard).is_file())
        return f"{', '.join(missing)} is missing" if missing else None
    if not layout.weights:
        return None
    found = {file.name for pattern in layout.weights for file in path.glob(pattern)}
    return None if found.difference(layout.no_weights) else "it has no weights"


def _is_whole(file: Path) -> bool:
    """Whether a safetensors file is as long as its header says (the format's README)."""
    with files.opened(file) as opened:
        size = os.fstat(opened.fileno()).st_size
        length = int.from_bytes(opened.read(8), "little")
        if length > size - 8:
            return False
        if length > _LONGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        header: dict[str, Any] = files.loads(opened.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return size == 8 + length + max(ends, default=0)
