"""Files that anybody may have written: bounded, never waited for, one kind of error."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from grpo_launch.base import files

GIB = 1 << 30


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(50 * GIB)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "FIFO": (os.mkfifo, "is no regular file"),
    "directory": (Path.mkdir, "Is a directory"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
    "terminal": (lambda path: path.symlink_to("/dev/ptmx"), "is no regular file"),
    "socket": (listening, "is no regular file"),
    "50 GiB": (sparse, "has more than 67108864 bytes"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "Too many levels"),
    "nothing": (lambda path: None, "No such file"),
}


@pytest.mark.parametrize(("make", "said"), NO_FILES.values(), ids=NO_FILES)
def test_what_cannot_be_read_is_an_error_at_once(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "x")
    with pytest.raises(OSError, match=said):
        files.read(tmp_path / "x")


def test_a_file_whose_size_lies_is_read_to_the_limit() -> None:
    assert files.read("/proc/self/stat", 1 << 12).startswith(str(os.getpid()).encode())
    with pytest.raises(OSError, match="has more than 4 bytes"):
        files.read("/proc/self/stat", 4)


def test_the_limit_itself_is_no_more_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1234")
    assert files.read(path, 4) == b"1234"
    with pytest.raises(OSError, match="has more than 3 bytes"):
        files.read(path, 3)


def test_text_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="utf-8"):
        files.text(path)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 500 + "1" + "}" * 500, "", "{", "\0"],
    ids=["open", "closed", "objects", "empty", "cut", "zero"],
)
def test_json_that_is_none_or_too_deep_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|Expecting"):
        files.loads(text)


def test_json_of_usual_depth_and_any_size_is_read() -> None:
    value = {"a": [[{"b": list(range(100_000))}]], "c": "[" * 1000}
    assert files.loads(json.dumps(value)) == value
    deepest = "[" * files.DEEPEST + "]" * files.DEEPEST
    assert json.dumps(files.loads(deepest), indent=None) == deepest


def test_a_pipe_of_a_person_is_read_to_its_end(tmp_path: Path) -> None:
    """Also one whose writer comes later, and writes in parts."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(b"A=1\n")
            pipe.write(b"B=2\n")

    writer = threading.Thread(target=write)
    writer.start()
    assert files.from_person(path, 100, 30) == b"A=1\nB=2\n"
    writer.join()
    reading, writing = os.pipe()
    os.write(writing, b"C=3\n")
    os.close(writing)
    assert files.from_person(f"/dev/fd/{reading}", 100, 30) == b"C=3\n"
    os.close(reading)
    assert files.from_person("/dev/null", 100, 30) == b""


def test_a_pipe_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match=r"does not end within 0\.01 s"):
        files.from_person(path, 100, 0.01)
    with pytest.raises(OSError, match="has more than 100 bytes"):
        files.from_person("/dev/zero", 100, 30)
    with pytest.raises(OSError, match="Is a directory"):
        files.from_person(tmp_path, 100, 30)
