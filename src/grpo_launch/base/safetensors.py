"""Headers of safetensors files: names, shapes and types of tensors, without torch.

A file is the length of its header (8 bytes, little-endian), the header (JSON), and the tensors
one behind the other. Source: the format's README and ``SafeTensors::read_metadata`` of
huggingface/safetensors; what that refuses is refused here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import files

LONGEST_HEADER = 100_000_000
"""Bytes; safetensors itself reads no longer one (``MAX_HEADER_SIZE``)."""

_LENGTH = 8
"""Bytes before the header that say its length."""

_METADATA = "__metadata__"
_LARGEST = 2**63

_BITS = {
    **dict.fromkeys(("C64", "F64", "I64", "U64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


@dataclass(frozen=True)
class Tensor:
    """A tensor as a header describes it.

    Attributes:
        dtype: ``F32``, ``BF16``, ...
        shape: its sizes; none of a scalar.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """The header of one file.

    Attributes:
        tensors: by name.
        content: the header as it stands in the file.
    """

    tensors: Mapping[str, Tensor]
    content: bytes


def read(path: str | Path) -> Header:
    """The header of a file whose tensors are all there.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or no safetensors file; says how.
    """
    with files.opened(path) as opened:
        size = os.fstat(opened.fileno()).st_size
        length = int.from_bytes(opened.read(_LENGTH), "little")
        if size < _LENGTH:
            raise ValueError(f"has {size} bytes, which is no safetensors file")
        if length > LONGEST_HEADER:
            raise ValueError(f"says that its header has {length} bytes: no safetensors file")
        if length > size - _LENGTH:
            raise ValueError(_part(size, _LENGTH + length))
        content = opened.read(length)
    return Header(_tensors(content, size - _LENGTH - length), content)


def _tensors(content: bytes, there: int) -> dict[str, Tensor]:
    """The tensors of a header.

    Args:
        content: the header.
        there: bytes behind it.

    Raises:
        ValueError: it is damaged.
    """
    try:
        body = files.loads(content.decode("utf-8")) if content[:1] == b"{" else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ValueError("has a header that is not JSON: it is damaged, or no safetensors file")
    entries = cast("dict[str, Any]", body)
    tensors: dict[str, Tensor] = {}
    places: list[tuple[int, int, str]] = []
    for name, entry in entries.items():
        if name == _METADATA:
            continue
        tensors[name], (begin, end) = _entry(name, entry)
        places.append((begin, end, name))
    at = 0
    for begin, end, name in sorted(places):
        if begin != at:
            raise ValueError(f"is damaged: {name} begins at byte {begin}, not at {at}")
        at = end
    if at > there:
        raise ValueError(_part(there, at))
    if at < there:
        raise ValueError(f"is damaged: {there - at} bytes at its end belong to no tensor")
    return tensors


def _entry(name: str, entry: Any) -> tuple[Tensor, tuple[int, int]]:
    """A tensor, and where its bytes begin and end behind the header."""
    entry = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    dtype, shape, place = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not (isinstance(dtype, str) and _are_sizes(shape) and _are_sizes(place, 2)):
        raise ValueError(f"is damaged: {name} has no type, shape and place")
    begin, end = cast("list[int]", place)
    tensor = Tensor(dtype, tuple(cast("list[int]", shape)))
    if end < begin or _is_wrong(tensor, end - begin):
        raise ValueError(
            f"is damaged: {name} ({dtype}, {list(tensor.shape)}) cannot have {end - begin} bytes"
        )
    return tensor, (begin, end)


def _are_sizes(value: Any, count: int | None = None) -> bool:
    if not isinstance(value, list) or count not in (None, len(cast("list[Any]", value))):
        return False
    return all(type(size) is int and 0 <= size < _LARGEST for size in cast("list[Any]", value))


def _is_wrong(tensor: Tensor, size: int) -> bool:
    """Whether a tensor of a known type has another size in bytes."""
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        return False
    elements = 0 if 0 in tensor.shape else 1
    for length in tensor.shape:
        elements *= length
        if elements > _LARGEST:
            return True
    return elements * bits != size * 8


def _part(there: int, promised: int) -> str:
    return f"is only a part of a file: {there} of {promised} bytes"
