"""The console against readers that do not read."""

from __future__ import annotations

import os
from pathlib import Path

from grpo_launch.config.choices import ConsoleMode
from grpo_launch.execute.console import Console, tail


def test_a_full_pipe_holds_nothing_up_and_takes_text_again_once_it_is_read() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "w") as stream:
        console = Console(ConsoleMode.log, stream)
        console.log("x" * 200_000)
        console.say("lost")
        full = len(reader.read(1 << 20))
        assert 4096 <= full < 200_000
        console.say("heard")
        assert reader.read(1 << 20) == b"heard\n"


def test_a_secret_across_the_cut_of_a_long_line_is_hidden_whole(tmp_path: Path) -> None:
    secret = "0123456789" * 4
    log = tmp_path / "x.log"
    log.write_text("x" * 370 + secret + "y" * 500 + "\n")
    assert "0123" not in tail(log, [secret])
    assert "0123" in tail(log)
