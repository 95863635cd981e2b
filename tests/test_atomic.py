"""Files that are replaced as a whole: old or new, never a part, and no rubbish beside them."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from grpo_launch.base import atomic


@pytest.mark.parametrize("durable", [False, True])
def test_the_new_content_takes_the_place_of_the_old(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "run.json"
    for text in ("old", "new and längere", ""):
        atomic.write(path, text, durable=durable)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    contents = {"a" * 100_000, "b" * 50_000}
    atomic.write(path, "a" * 100_000)
    done = threading.Event()

    def rewrite() -> None:
        for _ in range(100):
            for text in contents:
                atomic.write(path, text)
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen: set[str] = set()
    while not done.is_set():
        seen.add(path.read_text())
    writer.join()
    assert seen <= contents


def test_what_cannot_be_written_leaves_the_old_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    atomic.write(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic.write(path, "new", durable=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.write(tmp_path / "gone" / "run.json", "text")


def test_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atomic.write("run.json", "text", durable=True)
    assert (tmp_path / "run.json").read_text() == "text"


def test_the_umask_counts(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        atomic.write(tmp_path / "x", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600


def test_written_once(tmp_path: Path) -> None:
    path = tmp_path / "job.exit"
    atomic.write_once(path, "0\n")
    with pytest.raises(FileExistsError):
        atomic.write_once(path, "137\n")
    assert path.read_text() == "0\n"
    assert list(tmp_path.iterdir()) == [path]


def test_written_once_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "job.exit"
    atomic.write_once(path, "0\n")
    with pytest.raises(FileExistsError):
        atomic.write_once(path, "137\n")
    assert path.read_text() == "0\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_put_aside_is_used_for_the_last_content_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    atomic.write(path, "old")
    atomic.put_aside(path)
    atomic.put_aside(path)  # once more is harmless
    real = open

    def full(file: str, mode: str = "r", **more: str) -> object:
        if mode == "w":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, mode, **more)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    atomic.write(path, "the end", durable=True, last=True)
    assert path.read_text(encoding="utf-8") == "the end"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="No space"):
        atomic.write(path, "later", last=True)


def test_what_was_put_aside_goes_with_the_last_content(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    atomic.put_aside(path)
    atomic.write(path, "the end", last=True)
    assert list(tmp_path.iterdir()) == [path]
