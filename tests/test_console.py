"""The console against readers that do not read."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from grpo_launch.config.choices import ConsoleMode
from grpo_launch.execute.console import Console, tail


def test_a_full_pipe_holds_nothing_up_and_takes_text_again_once_it_is_read() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "w") as stream:
        console = Console(ConsoleMode.log, stream)
        for _ in range(20):
            console.log("x" * 100_000)
        console.say("the end")
        heard = b""
        while not heard.endswith(b"the end\n"):
            heard += reader.read(1 << 20)
        shown = heard.count(b"x")
        assert 1_000_000 <= shown < 1_200_000
        # Twice, if the pipe took its first part only after there was no room for more.
        notes = re.findall(rb"\n\[(\d+) bytes not shown\]\n", heard)
        assert shown + sum(map(int, notes)) == 2_000_000


def test_the_end_waits_a_moment_for_a_reader_and_not_for_ever() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0), open(writing, "w") as stream:
        console = Console(ConsoleMode.log, stream)
        console.log("x" * 100_000)
        console.drain()


def test_a_reader_that_is_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        console = Console(ConsoleMode.log, stream)
        console.say("heard")
        os.close(reading)
        console.say("lost")
        console.drain()


def test_where_no_thread_can_be_had_the_end_is_told_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "w") as stream:
        console = Console(ConsoleMode.log, stream)
        console.log("x" * 10_000)
        console.say("the end")
        console.drain()
        assert reader.read(1 << 20) == b"x" * 10_000 + b"the end\n"


def test_a_secret_across_the_cut_of_a_long_line_is_hidden_whole(tmp_path: Path) -> None:
    secret = "0123456789" * 4
    log = tmp_path / "x.log"
    log.write_text("x" * 370 + secret + "y" * 500 + "\n")
    assert "0123" not in tail(log, [secret])
    assert "0123" in tail(log)
