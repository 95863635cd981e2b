"""Headers of safetensors files, whole, damaged and hostile."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.base import safetensors
from grpo_launch.base.safetensors import Tensor
from tests.stages.made import SIZES, TENSORS, packed

SHAPES = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    max_size=5,
)


@given(tensors=SHAPES, dtype=st.sampled_from(sorted(SIZES)), metadata=st.booleans())
def test_what_is_packed_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    tensors: dict[str, tuple[int, ...]],
    dtype: str,
    metadata: bool,
) -> None:
    path = tmp_path_factory.mktemp("header") / "x.safetensors"
    path.write_bytes(packed(tensors, dtype, says=metadata))
    assert safetensors.read(path).tensors == {n: Tensor(dtype, s) for n, s in tensors.items()}


@given(data=st.data())
def test_mutated_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever a byte says, it is a header or one clear error."""
    content = bytearray(packed(TENSORS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 8))
        content[at : at + length] = data.draw(st.binary(max_size=8))
    path = tmp_path_factory.mktemp("mutated") / "x.safetensors"
    path.write_bytes(content)
    why = ""
    try:
        safetensors.read(path)
    except ValueError as error:
        why = str(error)
    assert not why or any(word in why for word in ("damaged", "part of a file", "no safetensors"))


def with_header(header: Any, behind: int = 0) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(behind)


def entry(dtype: Any = "F32", shape: Any = (1,), place: Any = (0, 4)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": place}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "0 bytes"),
        (b"\x07\0\0", "3 bytes"),
        (b"\xff" * 8, "its header has 18446744073709551615 bytes"),
        ((10**6).to_bytes(8, "little") + b"{}", "part of a file: 10 of 1000008 bytes"),
        (packed(TENSORS)[:-1], "part of a file"),
        (packed(TENSORS) + b"\0", "1 bytes at its end"),
        (with_header(b"[]"), "not JSON"),
        (with_header(b" {}"), "not JSON"),
        (with_header(b"{"), "not JSON"),
        (with_header("{}".encode("utf-16")), "not JSON"),
        (with_header(b'{"a":' * 200), "not JSON"),
        (with_header(b'{"a":' * 200 + b"1" + b"}" * 200), "not JSON"),
        (with_header({"a": 1}), "a has no type"),
        (with_header({"a": {}}), "a has no type"),
        (with_header(entry(dtype=1), 4), "a has no type"),
        (with_header(entry(shape=[-1]), 4), "a has no type"),
        (with_header(entry(shape=[True]), 4), "a has no type"),
        (with_header(entry(shape=[1.0]), 4), "a has no type"),
        (with_header(entry(shape="1"), 4), "a has no type"),
        (with_header(entry(shape=[10**30]), 4), "a has no type"),
        (with_header(entry(place=[0]), 4), "a has no type"),
        (with_header(entry(place=[4, 0]), 4), "cannot have -4 bytes"),
        (with_header(entry(shape=[2]), 4), "a (F32, [2]) cannot have 4 bytes"),
        (with_header(entry(shape=[2**62] * 50), 4), "cannot have 4 bytes"),
        (with_header(entry(place=[4, 8]), 8), "a begins at byte 4, not at 0"),
        (with_header({**entry(), "b": entry()["a"]}, 4), "b begins at byte 0, not at 4"),
    ],
)
def test_what_is_no_file_of_tensors(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(why)):
        safetensors.read(tmp_path / "x")


def test_types_of_another_version_are_no_damage(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(with_header(entry(dtype="F3", place=[0, 2]), 2))
    assert safetensors.read(tmp_path / "x").tensors == {"a": Tensor("F3", (1,))}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(OSError, match="no regular file"):
        safetensors.read(tmp_path / "x")
