"""What is written survives, and what an attempt before has left is taken up."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.errors import ConfigError, LaunchError
from grpo_launch.rollout.trajectories import EPISODES, Trajectories


def row(task: str, sample: int = 0, error: str = "", text: str = "hi") -> dict[str, Any]:
    return {
        "task": task,
        "sample": sample,
        "error": error,
        "turns": 1,
        "reward": 1.0,
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "messages": [{"role": "user", "content": text}],
        "finish_reason": "stop",
    }


ROWS = [row("a"), row("b", 1, text="x\u2028y ü \ud800"), row("c", error="broken"), row("d")]


def written(directory: Path, rows: list[dict[str, Any]]) -> bytes:
    trajectories = Trajectories(directory)
    trajectories.resume(lambda _: None)
    for each in rows:
        trajectories.append(each)
    trajectories.sync()
    trajectories.close()
    return (directory / EPISODES).read_bytes()


def tasks_in(directory: Path) -> list[str]:
    lines = (directory / EPISODES).read_bytes().split(b"\n")
    return [json.loads(line)["task"] for line in lines if line]


def resumed(directory: Path) -> tuple[set[tuple[str, int]], list[str], list[str]]:
    counted: list[str] = []
    trajectories = Trajectories(directory)
    finished, notes = trajectories.resume(lambda each: counted.append(each["task"]))
    trajectories.close()
    return finished, notes, counted


def test_finished_episodes_are_taken_up_and_failed_ones_are_not(tmp_path: Path) -> None:
    written(tmp_path, [*ROWS, row("a")])
    finished, notes, counted = resumed(tmp_path)
    assert finished == {("a", 0), ("b", 1), ("d", 0)}
    assert counted == ["a", "b", "d"]
    assert notes == [f"{tmp_path / EPISODES}: 1 failed episode(s) are played again"]
    assert tasks_in(tmp_path) == ["a", "b", "d"]


@given(data=st.data())
def test_a_file_that_was_cut_anywhere(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("cut")
    whole = written(directory, ROWS)
    cut = data.draw(st.integers(0, len(whole)))
    (directory / EPISODES).write_bytes(whole[:cut])
    finished, notes, _ = resumed(directory)
    # A line is an episode as soon as its object is whole, with or without its new line.
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    complete = sum(cut >= end - 1 for end in ends)
    kept = [each for each in ROWS[:complete] if not each["error"]]
    assert finished == {(each["task"], each["sample"]) for each in kept}
    is_damaged = cut not in {0, *ends, *(end - 1 for end in ends)}
    assert any("1 damaged line(s) dropped" in note for note in notes) == is_damaged
    # What is missing is played and appended: each is there once.
    missing = [each for each in ROWS if (each["task"], each["sample"]) not in finished]
    written(directory, [{**each, "error": ""} for each in missing])
    assert sorted(tasks_in(directory)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "line", [b"\0" * 64, b"\xff\n", b"[]\n", b"{}\n", b"3\n", b"[" * 10_000 + b"\n", b"\n"]
)
def test_a_damaged_line_in_the_middle(line: bytes, tmp_path: Path) -> None:
    whole = written(tmp_path, [row("a"), row("b")]).splitlines(keepends=True)
    separator = b"" if line.endswith(b"\n") else b"\n"
    (tmp_path / EPISODES).write_bytes(whole[0] + line + separator + whole[1])
    finished, notes, _ = resumed(tmp_path)
    assert finished == {("a", 0), ("b", 0)}
    assert "1 damaged line(s) dropped" in notes[0]


@pytest.mark.parametrize(
    "change", [{"task": ["a"]}, {"turns": "1"}, {"reward": "high"}, {"messages": None}]
)
def test_a_line_with_a_value_of_another_type_is_damaged(
    change: dict[str, Any], tmp_path: Path
) -> None:
    written(tmp_path, [{**row("a"), **change}, row("b")])
    finished, notes, _ = resumed(tmp_path)
    assert finished == {("b", 0)}
    assert "1 damaged line(s) dropped" in notes[0]


def test_a_line_of_progress_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    for _ in range(2):
        trajectories = Trajectories(tmp_path)
        trajectories.resume(lambda _: None)
        trajectories.progress({"tokens_spent": 7})
        with (tmp_path / "progress.jsonl").open("ab") as file:
            file.write(b'{"tokens_spent": 1')
        assert trajectories.spent() == 7
        trajectories.close()
    text = (tmp_path / "progress.jsonl").read_text()
    assert text.count('{"tokens_spent": 7}\n') == 2


def test_two_collectors_do_not_write_the_same(tmp_path: Path) -> None:
    first = Trajectories(tmp_path)
    with pytest.raises(ConfigError, match="another collector"):
        Trajectories(tmp_path)
    first.close()
    Trajectories(tmp_path).close()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trajectories = Trajectories(tmp_path)
    trajectories.resume(lambda _: None)
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(trajectories, "_episodes", full)
    with pytest.raises(LaunchError, match="No space left on device, make room"):
        trajectories.append(row("a"))
    trajectories.close()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LaunchError, match="make it writable"):
        Trajectories(tmp_path / "file" / "below")


def test_images_go_beside_the_file_once(tmp_path: Path) -> None:
    trajectories = Trajectories(tmp_path)
    data = "data:image/png;base64," + base64.b64encode(b"pixels").decode()
    part = {"type": "image_url", "image_url": {"url": data}}
    text, names = trajectories.save([{"type": "text", "text": "look: "}, part, part])
    assert text == "look: <image><image>"
    assert names == [names[0]] * 2
    assert (tmp_path / names[0]).read_bytes() == b"pixels"
    assert [path.suffix for path in (tmp_path / "files").iterdir()] == [".png"]
    other = [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]
    assert trajectories.save(other) == ("<image>", ["https://a/b.png"])
    trajectories.close()


@pytest.mark.parametrize(
    ("content", "text"),
    [("a", "a"), (None, ""), ({"a": 1}, '{"a": 1}'), (["a", {"text": "b"}], "ab")],
)
def test_other_content_is_text(content: Any, text: str, tmp_path: Path) -> None:
    trajectories = Trajectories(tmp_path)
    assert trajectories.save(content) == (text, [])
    trajectories.close()
