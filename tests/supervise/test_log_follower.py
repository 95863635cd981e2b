"""Following a log: nothing is shown twice, broken in the middle of a character, or without end."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.base.tailing import TextTail
from grpo_launch.supervise.alarm import LogAlarm


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_in_any_pieces_are_shown_once(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.log"
        follower = TextTail(path)
        shown = follower.read()
        with open(path, "ab", buffering=0) as log:
            for piece in pieces:
                log.write(piece)
                shown += follower.read()
            log.write(b"\n")
            shown += follower.read()
    assert shown == (b"".join(pieces) + b"\n").decode("utf-8", "replace")


def test_of_a_flood_only_the_end_is_shown_after_a_note(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"a" * 1_000_000 + b"the end")
    shown = TextTail(path).read()
    assert len(shown) < 300_000
    assert "bytes not shown" in shown
    assert shown.endswith("the end")


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    assert TextTail(tmp_path / "x.log").read() == ""


@given(st.integers(min_value=0, max_value=30))
def test_an_alarm_is_raised_once_wherever_a_read_cuts_its_text(cut: int) -> None:
    text = "fine\nMethod execution failed: x\n"
    alarm = LogAlarm({"Method execution failed": "stale"})
    found = [message for piece in (text[:cut], text[cut:], text) for message in alarm.heard(piece)]
    assert found == ["'Method execution failed': stale"]


def test_without_alarms_nothing_is_remembered() -> None:
    assert LogAlarm({}).heard("anything") == []


def test_a_log_that_somebody_emptied_is_followed_on(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"a long first part\n")
    follower = TextTail(path)
    follower.read()
    path.write_bytes(b"short\n")
    assert follower.read() == "short\n"


def test_binary_and_a_line_of_a_megabyte_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(bytes(range(256)) + b"x" * 2**20 + b"\nlast line\n")
    shown = TextTail(path).read()
    assert shown.endswith("x\nlast line\n")
    assert len(shown.encode()) < 300_000
