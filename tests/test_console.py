"""The console against readers that do not read."""

from __future__ import annotations

import os

from grpo_launch.choices import ConsoleMode
from grpo_launch.console import Console


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
