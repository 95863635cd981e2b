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

_STATE = "trainer_state.json"
_INDEX = "model.safetensors.index.json"
_PREFIX = "checkpoint-"
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "global_step*", "pytorch_model_fsdp*")


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
    found = [c for path in _candidates(output_dir) if (c := complete(path)) is not None]
    return sorted(found, key=lambda c: (c.step, c.written))


def complete(path: Path) -> Checkpoint | None:
    """The checkpoint at ``path``, or None where there is none or only a part of one."""
    try:
        state: dict[str, Any] = json.loads((path / _STATE).read_text(encoding="utf-8"))
        step = state["global_step"]
        written = (path / _STATE).stat().st_mtime
        whole = _has_weights(path) and all(_is_whole(f) for f in path.glob("*.safetensors"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    name = path.name.removeprefix(_PREFIX)
    if not whole or not isinstance(step, int) or (name.isdigit() and int(name) != step):
        return None
    return Checkpoint(Path(os.path.abspath(path)), step, written)


def _candidates(output_dir: Path) -> Iterator[Path]:
    yield from output_dir.glob(f"{_PREFIX}*")
    yield from output_dir.glob(f"*/{_PREFIX}*")


def _has_weights(path: Path) -> bool:
    index = path / _INDEX
    if index.exists():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return all((path / shard).is_file() for shard in shards)
    return any(True for pattern in _WEIGHTS for _ in path.glob(pattern))


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
