"""Whatever a log holds, lines come out that a terminal can be shown."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.monitor.lines import LONGEST, LineSplitter, LogReader, clean


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\ttext", "plain\ttext"),
        ("  indented", "  indented"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\text", "text"),
        ("\x1b(B\x1b=text\x1bM", "text"),
        ("a\x1b[2Jb\x1b[Hc", "abc"),
        ("bell\x07 back\x08", "bell\\x07 back\\x08"),
        ("unfinished \x1b[", "unfinished \\x1b["),
        ("\x9b31mone", "\\x9b31mone"),
        ("right\u202eleft", "right\\u202eleft"),
        ("null\x00", "null\\x00"),
        ("10%\r50%\r100%", "100%"),
        ("dos line\r", "dos line"),
        ("größe 漢字 ▁", "größe 漢字 ▁"),
    ],
)
def test_nothing_acts_on_the_terminal(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_a_long_line_is_cut_and_says_so() -> None:
    shown = clean("x" * 1_000_000)
    assert shown == f"{'x' * LONGEST} [... a line of 1000000 characters]"


def test_a_secret_across_the_cut_of_a_long_line_is_hidden_whole() -> None:
    secret = "0123456789" * 4
    line = "x" * (LONGEST - 30) + secret + "y" * 50
    assert "0123" not in clean(line, hidden=[secret])
    assert "0123" in clean(line)


def test_an_endless_line_costs_no_memory_and_says_its_length() -> None:
    splitter = LineSplitter()
    for _ in range(40):
        assert splitter.feed(b"y" * 1_000_000) == []
    assert splitter.feed(b"\nnext\n") == [
        f"{'y' * LONGEST} [... a line of 40000000 bytes]",
        "next",
    ]


def test_a_progress_bar_shows_its_last_state() -> None:
    splitter = LineSplitter()
    for i in range(20_000):
        assert splitter.feed(f"step {i}/20000\r".encode()) == []
    assert splitter.feed(b"done\n") == ["done"]


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_the_cuts_between_reads_do_not_show(pieces: list[bytes]) -> None:
    whole, cut = LineSplitter(), LineSplitter()
    lines = [line for piece in pieces for line in cut.feed(piece)]
    assert lines == whole.feed(b"".join(pieces))
    assert cut.finish() == whole.finish()
    for line in lines:
        assert all(c.isprintable() or c == "\t" for c in line)


@given(st.lists(st.text("ab\n", max_size=8), max_size=12), st.integers(0, 9))
def test_the_last_lines_are_those_of_tail(pieces: list[str], count: int) -> None:
    text = "".join(pieces)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.log"
        path.write_text(text)
        reader = LogReader(path)
        reader.skip_to_last(count)
        shown = [*reader.read(), *reader.rest()]
    lines = text.split("\n")[: -1 if text.endswith("\n") or not text else None]
    assert shown == (lines[-count:] if count else [])


def test_last_lines_of_a_large_log_and_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"".join(b"%d " % i + b"z" * 100_000 + b"\n" for i in range(50)))
    reader = LogReader(path)
    reader.skip_to_last(30)
    assert [line.split()[0] for line in reader.read()] == [str(i) for i in range(20, 50)]
    with path.open("ab") as log:
        log.write(b"more\nbegun")
    assert [*reader.read()] == ["more"]
    assert reader.rest() == ["begun"]
    path.write_bytes(b"anew\n")  # cut off and begun again
    assert [*reader.read()] == ["anew"]


def test_a_log_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "x.log")
    reader.skip_to_last(5)
    assert [*reader.read(), *reader.rest()] == []
