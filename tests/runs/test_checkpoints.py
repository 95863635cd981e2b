"""Which checkpoints a learner can go on from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.learners.swift.outputs import CHECKPOINTS
from grpo_launch.runs import checkpoints

HEADER = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def safetensors(header: object = HEADER, data: bytes = bytes(8)) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def make(path: Path, step: int, weights: bytes | None = None) -> Path:
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(safetensors() if weights is None else weights)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def steps(output: Path) -> list[int]:
    return [found.step for found in checkpoints.every(output, CHECKPOINTS)]


def test_those_of_all_starts_fewest_steps_first(tmp_path: Path) -> None:
    make(tmp_path / "v0-20260101" / "checkpoint-100", 100)
    make(tmp_path / "v0-20260101" / "checkpoint-20", 20)
    make(tmp_path / "v1-20260102" / "checkpoint-40", 40)
    make(tmp_path / "checkpoint-30", 30)
    assert steps(tmp_path) == [20, 30, 40, 100]


def test_of_two_with_the_same_step_the_newer_is_last(tmp_path: Path) -> None:
    new = make(tmp_path / "v0" / "checkpoint-10", 10)
    old = make(tmp_path / "v1" / "checkpoint-10", 10)
    os.utime(old / "trainer_state.json", (1, 1))
    assert checkpoints.every(tmp_path, CHECKPOINTS)[-1].path == new


def test_nothing_is_there(tmp_path: Path) -> None:
    assert checkpoints.every(tmp_path / "none", CHECKPOINTS) == []
    (tmp_path / "checkpoint-1").write_text("a file")
    assert checkpoints.every(tmp_path, CHECKPOINTS) == []


def test_the_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "v0" / "checkpoint-10", 10)
    monkeypatch.chdir(tmp_path)
    (found,) = checkpoints.every(Path(), CHECKPOINTS)
    assert found.path == tmp_path / "v0" / "checkpoint-10"


@given(st.integers(min_value=0, max_value=len(safetensors()) - 1))
def test_a_part_of_the_weights_is_no_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    part = safetensors()[:length]
    path = make(tmp_path_factory.mktemp("x") / "checkpoint-10", 10, part)
    assert checkpoints.complete(path, CHECKPOINTS) is None


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"\xff" * 20,
        safetensors([]),
        safetensors({"w": {}}),
        safetensors({"w": {"data_offsets": "ab"}}),
        safetensors(data=bytes(9)),
    ],
    ids=["empty", "no header", "a list", "no offsets", "odd offsets", "too long"],
)
def test_weights_that_are_none(tmp_path: Path, weights: bytes) -> None:
    assert checkpoints.complete(make(tmp_path / "checkpoint-10", 10, weights), CHECKPOINTS) is None


def test_metadata_alone_is_a_whole_file(tmp_path: Path) -> None:
    only = safetensors({"__metadata__": {"format": "pt"}}, b"")
    assert checkpoints.complete(make(tmp_path / "checkpoint-10", 10, only), CHECKPOINTS) is not None


@pytest.mark.parametrize("kept", ["optimizer.pt", "scheduler.pt", "training_args.bin"])
def test_an_optimizer_is_no_model(tmp_path: Path, kept: str) -> None:
    path = make(tmp_path / "checkpoint-10", 10)
    (path / "model.safetensors").rename(path / kept)
    assert checkpoints.complete(path, CHECKPOINTS) is None


def test_one_that_is_deleted_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "checkpoint-10", 10)
    monkeypatch.setattr(checkpoints, "fault", lambda *_: (path / "trainer_state.json").unlink())
    assert checkpoints.complete(path, CHECKPOINTS) is None


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write((50 << 30).to_bytes(8, "little"))
        file.truncate(51 << 30)


@pytest.mark.parametrize("file", ["trainer_state.json", "model.safetensors"])
@pytest.mark.parametrize(
    "replace",
    [
        os.mkfifo,
        Path.mkdir,
        sparse,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_bytes((10**5).to_bytes(8, "little") + b"[" * 10**5),
    ],
    ids=["FIFO", "directory", "50 GiB", "device", "deep", "deep header"],
)
def test_hostile_files_make_none_and_hold_nobody_up(
    tmp_path: Path, file: str, replace: Callable[[Path], object]
) -> None:
    bad = make(tmp_path / "checkpoint-20", 20)
    make(tmp_path / "checkpoint-10", 10)
    (bad / file).unlink()
    replace(bad / file)
    assert steps(tmp_path) == [10]
    assert checkpoints.fault(bad, CHECKPOINTS) is not None


@pytest.mark.parametrize("digits", ["\u00b2", "\u0968", "9" * 5000, "-1", ""])
def test_a_name_with_odd_digits_is_no_error(digits: str) -> None:
    number = checkpoints.number(Path(f"checkpoint-{digits}"), CHECKPOINTS)
    assert number is None or number == 2
