"""The checkpoints of a run, and which of them a learner can go on from.

A learner writes a checkpoint in place, and its state last (``CheckpointLayout.state``). So one
is complete when its state is whole, says the step that its name says, and every file of
weights has the length that its header promises.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        path: its directory, absolute.
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
        written = (path / layout.state).stat().st_mtime
        return Checkpoint(Path(os.path.abspath(path)), _step(path, layout), written)
    except (OSError, ValueError, KeyError, TypeError):  # it is being deleted
        return None


def fault(path: Path, layout: CheckpointLayout) -> str | None:
    """What keeps the directory ``path`` from being a complete checkpoint, or None."""
    if not (path / layout.state).is_file():
        return f"{layout.state} is missing, it was not written to its end"
    try:
        step = _step(path, layout)
        if number(path, layout) not in (None, step):
            return f"{layout.state} says step {step}"
        if (missing := _missing_weights(path, layout)) is not None:
            return missing
        parts = [file.name for file in sorted(path.glob("*.safetensors")) if not _is_whole(file)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not the format at all
        return "its files cannot be read"
    return f"{', '.join(parts)} is only a part of a file" if parts else None


def candidates(output_dir: Path, layout: CheckpointLayout) -> Iterator[Path]:
    """The directories below a learner's output directory that may be checkpoints."""
    for pattern in layout.directories:
        yield from (path for path in output_dir.glob(pattern) if path.is_dir())


def number(path: Path, layout: CheckpointLayout) -> int | None:
    """The step in the name of a checkpoint's directory, or None where it has no such name."""
    digits = path.name.removeprefix(layout.prefix)
    is_one = path.name.startswith(layout.prefix) and digits.isdecimal() and len(digits) < 16
    return int(digits) if is_one else None


def _step(path: Path, layout: CheckpointLayout) -> int:
    """The optimizer steps of a checkpoint.

    Raises:
        OSError, ValueError, KeyError, TypeError: its state cannot be read.
    """
    state: dict[str, Any] = files.loads(files.read(path / layout.state))
    step = state[layout.step]
    if not isinstance(step, int):
        raise TypeError(f"{layout.step} is {step!r}")
    return step


def _missing_weights(path: Path, layout: CheckpointLayout) -> str | None:
    index = path / _INDEX
    if index.exists():
        shards = set(files.loads(files.read(index))["weight_map"].values())
        missing = sorted(shard for shard in shards if not (path / shard).is_file())
        return f"{', '.join(missing)} is missing" if missing else None
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
