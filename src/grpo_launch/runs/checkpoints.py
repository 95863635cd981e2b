"""The checkpoints of a run, and which of them a learner can go on from.

``transformers`` writes ``checkpoint-<step>/`` in place: the weights first, then the
optimizer, last ``trainer_state.json`` (``Trainer._save_checkpoint``, transformers 5).
So a checkpoint is complete when its state is whole, says that step, and every file
of weights has the length that its header promises.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE = "trainer_state.json"
"""Written last."""
_INDEX = "model.safetensors.index.json"
PREFIX = "checkpoint-"
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "global_step*", "pytorch_model_fsdp*")
_NO_WEIGHTS = {"optimizer.bin", "optimizer.pt", "scheduler.pt", "training_args.bin"}


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


def every(output_dir: Path) -> list[Checkpoint]:
    """The complete checkpoints below a learner's output directory, fewest steps first.

    Args:
        output_dir: where a learner wrote; ms-swift makes ``v<N>-<time>/`` in it.
    """
    found = [c for path in candidates(output_dir) if (c := complete(path)) is not None]
    return sorted(found, key=lambda c: (c.step, c.written))


def complete(path: Path) -> Checkpoint | None:
    """The checkpoint at ``path``, or None where there is none or only a part of one."""
    if fault(path) is not None:
        return None
    try:
        return Checkpoint(Path(os.path.abspath(path)), _step(path), (path / STATE).stat().st_mtime)
    except (OSError, ValueError, KeyError, TypeError):  # it is being deleted
        return None


def fault(path: Path) -> str | None:
    """What keeps the directory ``path`` from being a complete checkpoint, or None."""
    if not (path / STATE).is_file():
        return f"{STATE} is missing, it was not written to its end"
    try:
        step = _step(path)
        name = path.name.removeprefix(PREFIX)
        if name.isdigit() and int(name) != step:
            return f"{STATE} says step {step}"
        if (missing := _missing_weights(path)) is not None:
            return missing
        parts = [file.name for file in sorted(path.glob("*.safetensors")) if not _is_whole(file)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not the format at all
        return "its files cannot be read"
    return f"{', '.join(parts)} is only a part of a file" if parts else None


def candidates(output_dir: Path) -> Iterator[Path]:
    """The directories below a learner's output directory that may be checkpoints."""
    for pattern in (f"{PREFIX}*", f"*/{PREFIX}*"):
        yield from (path for path in output_dir.glob(pattern) if path.is_dir())


def _step(path: Path) -> int:
    """The optimizer steps of a checkpoint.

    Raises:
        OSError, ValueError, KeyError, TypeError: its state cannot be read.
    """
    state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    step = state["global_step"]
    if not isinstance(step, int):
        raise TypeError(f"global_step is {step!r}")
    return step


def _missing_weights(path: Path) -> str | None:
    index = path / _INDEX
    if index.exists():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(shard for shard in shards if not (path / shard).is_file())
        return f"{', '.join(missing)} is missing" if missing else None
    found = {file.name for pattern in _WEIGHTS for file in path.glob(pattern)}
    return None if found - _NO_WEIGHTS else "it has no weights"


def _is_whole(file: Path) -> bool:
    """Whether a safetensors file is as long as its header says (the format's README)."""
    size = file.stat().st_size
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > size - 8:
            return False
        header: dict[str, Any] = json.loads(opened.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return size == 8 + length + max(ends, default=0)
