"""Which episodes are trained on, and what the data and their card say."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.errors import ConfigError
from grpo_launch.learners.llamafactory import datasets
from grpo_launch.stages import aside, choosing, episodes, select
from grpo_launch.stages.choosing import Selection
from grpo_launch.stages.episodes import Episode
from grpo_launch.stages.rows import Data

USER = {"role": "user", "content": "1 + 1?"}
SYSTEM = {"role": "system", "content": "Count."}


def answer(text: str = "2") -> dict[str, str]:
    return {"role": "assistant", "content": text}


def row(name: str = "a/0", reward: Any = 1.0, **changes: Any) -> dict[str, Any]:
    """A line of the collector."""
    task, _, sample = name.rpartition("/")
    return {
        "id": name,
        "task": task,
        "sample": int(sample),
        "messages": [USER, answer()],
        "images": [],
        "reward": reward,
        "turns": 1,
        "token_ids": [[1, 2, 3]],
        "finish_reason": "stop",
        "version": "0",
        "error": "",
        "success": None,
        **changes,
    }


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def made(
    tmp_path: Path, *rows: dict[str, Any] | str, **how: Any
) -> tuple[dict[str, Any], list[Any]]:
    """The card and the rows of a selection."""
    collected = write(tmp_path / "episodes.jsonl", *rows)
    card = select.select(Selection(**how), collected, tmp_path / "data")
    text = (tmp_path / "data" / select.DATA).read_text()
    assert json.loads((tmp_path / "data" / "card.json").read_text()) == card
    return card, [json.loads(line) for line in text.splitlines()]


REWARDS = {
    f"{task}/{sample}": reward
    for task, rewards in {"a": (1.0, 0.2, 1.0, 1.0), "b": (0.9, 0.1, 0.5, 2.0), "c": (0.0,)}.items()
    for sample, reward in enumerate(rewards)
}


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({}, "a/0 a/2 a/3 b/3"),
        ({"threshold": 0.9}, "a/0 a/2 a/3 b/0 b/3"),
        ({"select": "threshold", "threshold": 0.5}, "a/0 a/2 a/3 b/0 b/2 b/3"),
        ({"select": "top", "share": 1 / 9}, "b/3"),
        ({"select": "top", "share": 0.12}, "a/0 b/3"),
        ({"select": "top", "share": 1.0}, " ".join(REWARDS)),
        ({"select": "best"}, "a/0 b/3 c/0"),
        ({"select": "best", "per_task": 2}, "a/0 a/2 b/0 b/3 c/0"),
        ({"select": "balanced"}, "a/0 b/3"),
        ({"select": "balanced", "threshold": 0.5}, "a/0 a/2 a/3 b/0 b/2 b/3"),
        ({"select": "balanced", "per_task": 2}, "a/0 a/2 b/3"),
        ({"max_episodes": 2}, "a/0 b/3"),
        ({"min_episodes": 4}, "a/0 a/2 a/3 b/3"),
        ({"min_episodes": 5}, ""),
        ({"threshold": 3}, ""),
    ],
)
def test_what_is_selected(tmp_path: Path, how: dict[str, Any], kept: str) -> None:
    rows = [row(name, reward) for name, reward in REWARDS.items()]
    card, data = made(tmp_path, *rows, **how)
    assert " ".join(each["id"] for each in data) == kept
    assert (card["kept"], card["unselected"]) == (len(data), len(REWARDS) - len(data))


def test_success_is_what_the_environment_says_of_it(tmp_path: Path) -> None:
    rows = [row("a/0", 1.0, success=False), row("a/1", 0.0, success=True), row("a/2", 1.0)]
    _, data = made(tmp_path, *rows)
    assert [each["id"] for each in data] == ["a/1", "a/2"]


@given(st.permutations([*REWARDS]), st.sampled_from(choosing.RULES))
def test_the_order_of_the_episodes_does_not_count(order: list[str], rule: str) -> None:
    def some(names: list[str]) -> list[Episode]:
        return [
            Episode(name, name[0], int(name[2:]), 0, REWARDS[name] > 0.5, None, 1, 1, None)
            for name in names
        ]

    how = Selection(select=rule, max_episodes=3, share=0.5)
    assert choosing.chosen(some(order), how) == choosing.chosen(some([*REWARDS]), how)


HOSTILE: list[tuple[dict[str, Any] | str, str]] = [
    (row("b/0", error="timeout"), "failed"),
    (row("b/0", messages=[USER, answer(" \n")]), "empty"),
    (row("b/0", messages=[USER]), "empty"),
    (row("b/0", messages=[]), "empty"),
    (row("b/0", messages=[USER, {"role": "assistant", "content": None}]), "empty"),
    (row("b/0", finish_reason="length"), "truncated"),
    (row("b/0", float("nan")), "unrewarded"),
    (row("b/0", float("-inf")), "unrewarded"),
    (row("b/0", None), "unrewarded"),
    (row("b/0", "1.0"), "unrewarded"),
    (row("b/0", True), "unrewarded"),
    (row("b/0", 10**400), "unrewarded"),
    (row("a/0", 5.0), "repeated"),
    (row("b/0", messages="hello"), "damaged"),
    (row("b/0", messages=["hello"]), "damaged"),
    ('{"id": "b/0", "messages": [{"role": "us', "damaged"),
    ("[1]", "damaged"),
    ("[" * 100_000, "damaged"),
    ('{"id": "b/0", "reward": ' + "9" * 5000 + "}", "damaged"),
    (row("b/0", messages=[USER, USER, answer()]), "unsuitable"),
    (row("b/0", messages=[answer()]), "unsuitable"),
    (row("b/0", messages=[SYSTEM, answer()]), "unsuitable"),
    (row("b/0", messages=[USER, SYSTEM, answer()]), "unsuitable"),
    (row("b/0", messages=[USER, {"role": "tool", "content": "x"}, answer()]), "unsuitable"),
    (row("b/0", messages=[{"role": "user", "content": [1]}, answer()]), "unsuitable"),
    (row("b/0", messages=[{"role": 1, "content": "x"}, answer()]), "unsuitable"),
    (row("b/0", messages=[USER, {**answer(), "tool_calls": [{}]}]), "unsuitable"),
    (row("b/0", messages=[USER, answer("<image>")]), "unsuitable"),
    (row("b/0", images=["files/none.png"]), "unsuitable"),
]


@pytest.mark.parametrize(("line", "reason"), HOSTILE, ids=lambda value: str(value)[:40])
def test_what_is_left_out_and_counted(
    tmp_path: Path, line: dict[str, Any] | str, reason: str
) -> None:
    card, data = made(tmp_path, row("a/0"), line)
    assert [each["id"] for each in data] == ["a/0"]
    counted = {name: card[name] for name in (*episodes.REASONS, "unselected") if card[name]}
    assert counted == {reason: 1}
    assert card["episodes"] == (1 if reason in ("damaged", "repeated") else 2)
    assert card["examples"][reason].startswith("line 2")


def test_what_is_cut_at_a_length_may_be_kept(tmp_path: Path) -> None:
    _, data = made(tmp_path, row(finish_reason="length"), truncated=True)
    assert len(data) == 1


def test_a_failed_episode_that_was_played_again(tmp_path: Path) -> None:
    card, data = made(tmp_path, row(error="timeout"), row())
    assert len(data) == 1
    assert (card["episodes"], card["failed"], card["repeated"]) == (1, 0, 0)


def test_a_line_that_is_longer_than_any_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(episodes.files, "AT_MOST", 1000)
    rows = [row("a/0"), json.dumps(row("a/1", x="x" * 2500)), row("a/2"), "{}" + " " * 3000]
    card, data = made(tmp_path, *rows)
    assert [each["id"] for each in data] == ["a/0", "a/2"]
    assert card["damaged"] == 2


SPOKEN = [SYSTEM, USER, answer("1"), USER, answer("  "), USER, answer("2"), USER]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, [SPOKEN[:-1]]),
        ({"system": False}, [SPOKEN[1:-1]]),
        ({"history": "last"}, [[SYSTEM, USER, answer("1")], [SYSTEM, USER, answer("2")]]),
        ({"history": "last", "system": False}, [[USER, answer("1")], [USER, answer("2")]]),
    ],
)
@pytest.mark.parametrize("form", ["messages", "sharegpt"])
def test_rows(tmp_path: Path, form: str, data: dict[str, Any], expected: list[Any]) -> None:
    how = Data(format=form, **data)
    card, rows = made(tmp_path, row(messages=SPOKEN), data=how)
    assert [each["messages"] for each in rows] == expected
    assert (card["kept"], card["rows"]) == (1, len(expected))
    names = ["a/0"] if how.history == "all" else ["a/0/0", "a/0/1"]
    assert [each["id"] for each in rows] == names


def test_messages_need_not_take_turns(tmp_path: Path) -> None:
    said = [USER, USER, answer()]
    _, rows = made(tmp_path, row(messages=said), data=Data(format="messages"))
    assert rows[0]["messages"] == said


def test_images_are_files_with_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "files" / name).write_bytes(b"x")
    see = {"role": "user", "content": "see <image>"}
    line = row(messages=[see, answer(), see, answer()], images=["files/1.png", "files/2.png"])
    _, rows = made(tmp_path, line, row("b/0"))
    paths = [str(tmp_path / "files" / name) for name in ("1.png", "2.png")]
    assert [each["images"] for each in rows] == [paths, []]
    info = json.loads((tmp_path / "data" / "dataset_info.json").read_text())
    assert info["trajectories"]["columns"] == {"messages": "messages", "images": "images"}
    (tmp_path / "data" / "card.json").unlink()
    _, rows = made(tmp_path, line, data=Data(history="last"))
    assert [each["images"] for each in rows] == [[path] for path in paths]


def test_a_learner_is_told_what_its_own_module_says_of_such_a_file(tmp_path: Path) -> None:
    made(tmp_path, row())
    info = json.loads((tmp_path / "data" / "dataset_info.json").read_text())
    own = datasets.entry(select.DATA, {}, "sft", Path())
    assert info == {"trajectories": own}


def test_the_card(tmp_path: Path) -> None:
    rows = [row("a/0", 1.0), row("b/0", 0.5, messages=[USER, answer("10")], version="1")]
    card, _ = made(tmp_path, *rows, row("b/1", 0.0, finish_reason="length", token_ids=[]))
    assert card["reward"] == {
        "before": {"mean": 0.5, "std": pytest.approx((0.5 / 3) ** 0.5), "min": 0.0, "max": 1.0},
        "after": {"mean": 1.0, "std": 0.0, "min": 1.0, "max": 1.0},
    }
    assert card["tasks"] == {"before": 2, "after": 1}
    assert card["characters"]["before"]["max"] == 2
    assert card["tokens"]["before"] == {"mean": 3.0, "std": 0.0, "min": 3, "max": 3}
    assert card["versions"] == ["0", "1"]
    assert card["select"]["threshold"] == 1.0
    (tmp_path / "none").mkdir()
    card, _ = made(tmp_path / "none")
    assert card["reward"]["before"] == {"mean": None, "std": None, "min": None, "max": None}


def test_rewards_that_are_nearly_infinite(tmp_path: Path) -> None:
    card, _ = made(tmp_path, *[row(f"a/{k}", 1.7e308) for k in range(3)])
    assert card["reward"]["after"]["mean"] == pytest.approx(1.7e308)


def test_the_same_again_is_left_as_it_is(tmp_path: Path) -> None:
    made(tmp_path, row("a/0"))
    before = (tmp_path / "data").stat().st_ino
    made(tmp_path, row("a/0"))
    assert (tmp_path / "data").stat().st_ino == before
    _, rows = made(tmp_path, row("a/0"), threshold=2.0)
    assert rows == []
    _, rows = made(tmp_path, row("a/0"), row("a/1"))
    assert len(rows) == 2
    (tmp_path / "data" / "card.json").unlink()
    (tmp_path / ".data.17").mkdir()
    made(tmp_path, row("a/0"), row("a/1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "data", "episodes.jsonl"]


def test_there_is_nothing_to_select_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.jsonl: does not exist, collect episodes first"):
        select.select(Selection(), tmp_path / "none.jsonl", tmp_path / "data")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"select": "all"}, "select: all is none of success, threshold, top, best, balanced"),
        ({"share": 0}, "share: 0.0 is not above 0 and at most 1"),
        ({"per_task": 0}, "per_task: 0 is below 1"),
        ({"max_episodes": 0}, "max_episodes: 0 is below 1"),
        ({"data": {"format": "alpaca"}}, "data.format: alpaca is none of messages, sharegpt"),
        ({"data": {"history": "none"}}, "data.history: none is none of all, last"),
        ({"truncated": "yes"}, "truncated: 'yes' is no bool"),
    ],
)
def test_settings_that_are_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: Any, message: str
) -> None:
    (tmp_path / "select.json").write_text(json.dumps(body))
    words = [str(tmp_path / "select.json"), "--episodes", "x", "--output", "y"]
    assert select.main(words) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/select.json: {message}, correct it\n"


@pytest.mark.slow
def test_as_a_program_in_little_memory(tmp_path: Path) -> None:
    """A file with many token ids does not fill the memory."""
    line = json.dumps({**row("@/0"), "token_ids": [[100_000] * 20_000]})
    with open(tmp_path / "episodes.jsonl", "w") as file:
        file.writelines(line.replace("@", f"{number}") + "\n" for number in range(400))
        file.write('{"id": "cut')
    assert (tmp_path / "episodes.jsonl").stat().st_size > 60_000_000
    (tmp_path / "select.json").write_text("{}")
    words = ["--episodes", str(tmp_path / "episodes.jsonl"), "--output", str(tmp_path / "data")]
    code = (
        "import sys; from grpo_launch.stages.select import main; status = main();"
        "print(open('/proc/self/status').read()); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "select.json"), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stderr.splitlines()
    assert lines == [
        "kept 400 of 400 episodes, mean reward 1 -> 1; left out: 1 damaged",
        f"warning: {tmp_path}/episodes.jsonl: 1 damaged: line 401",
    ]
    highest = next(line for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    assert int(highest.split()[1]) < 100_000  # KiB


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again(tmp_path: Path) -> None:
    chance = random.Random(14)
    collected = write(tmp_path / "episodes.jsonl", *[row(f"a/{k}") for k in range(2000)])

    def attempt(how: Selection) -> int:
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                select.select(how, collected, tmp_path / "data")
                os._exit(0)
            os._exit(1)
        return pid

    started = time.monotonic()
    assert os.waitpid(attempt(Selection()), 0)[1] == 0
    usual = time.monotonic() - started
    kills = 0
    for number in range(1, 9):
        how = Selection(max_episodes=number * 100)
        for longest in (0.0, usual, usual):
            pid = attempt(how)
            time.sleep(chance.uniform(0, longest))
            os.kill(pid, signal.SIGKILL)
            kills += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
            if (tmp_path / "data").exists():  # the old or the new one, and whole
                card = json.loads((tmp_path / "data" / "card.json").read_text())
                lines = (tmp_path / "data" / select.DATA).read_bytes().splitlines()
                assert (
                    len(lines) == card["rows"] == min(card["select"]["max_episodes"] or 2000, 2000)
                )
        assert os.waitpid(attempt(how), 0)[1] == 0
        card = json.loads((tmp_path / "data" / "card.json").read_text())
        assert card["kept"] == number * 100
        there = sorted(path.name for path in tmp_path.iterdir())
        assert there == [".lock", "data", "episodes.jsonl"]
    assert kills >= 8


@pytest.mark.slow
def test_it_waits_for_another_one_and_ends_at_a_signal(tmp_path: Path) -> None:
    write(tmp_path / "episodes.jsonl", row())
    (tmp_path / "select.json").write_text("{}")
    program = [sys.executable, "-m", "grpo_launch.stages.select", str(tmp_path / "select.json")]
    words = ["--episodes", str(tmp_path / "episodes.jsonl"), "--output", str(tmp_path / "data")]
    with aside.held(tmp_path), subprocess.Popen([*program, *words]) as process:
        wait_until(lambda: waits(process.pid))
        process.terminate()
        assert process.wait(2) == 128 + signal.SIGTERM
    assert not (tmp_path / "data").exists()
    assert subprocess.run([*program, *words], check=False).returncode == 0


def waits(pid: int) -> bool:
    """Whether a process waits for a lock (proc(5), /proc/locks)."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line for line in lines)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
