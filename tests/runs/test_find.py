"""Which run a word means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.errors import ConfigError
from grpo_launch.runs import find
from tests.monitor.made import make_run

NAMES = [
    "a/20261120-090000-00aa",
    "b/20261121-100000-11bb",
    "a/20261121-100000-22cc",
    "a/20261121-113000-33dd",
]


def meaning(word: str, latest: str | None = None) -> str:
    return find.meaning(word, NAMES, lambda: latest, "runs")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("latest", NAMES[-1]),
        ("a", NAMES[3]),
        ("b", NAMES[1]),
        ("20261120-090000-00aa", NAMES[0]),
        ("20261120", NAMES[0]),
        ("20261121-11", NAMES[3]),
        ("a/20261121-100000-22cc", NAMES[2]),
        ("a/20261121-10", NAMES[2]),
        ("b/2", NAMES[1]),
    ],
)
def test_a_word_means_one_run(word: str, name: str) -> None:
    assert meaning(word) == name


def test_latest_is_what_the_link_says_unless_that_is_gone() -> None:
    assert meaning("latest", NAMES[1]) == NAMES[1]
    assert meaning("latest", "a/gone") == NAMES[-1]


@pytest.mark.parametrize("word", ["2", "20261121", "20261121-100000", "a/2026"])
def test_several_runs_are_named_newest_first(word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        meaning(word)
    names = [name for name in reversed(NAMES) if name in str(caught.value)]
    assert f"say {' or '.join(names)}" in str(caught.value)
    assert len(names) > 1


@pytest.mark.parametrize("word", ["", "c", "a/", "/", "a/x", "../a", "c/2026", "1"])
def test_what_means_nothing_is_told_the_choices(word: str) -> None:
    with pytest.raises(ConfigError, match="is no run below runs, choose a/20261121-113000-33dd"):
        meaning(word)


def test_many_candidates_are_counted() -> None:
    names = [f"a/20261121-10{i:02d}00-0000" for i in range(30)]
    with pytest.raises(ConfigError, match=r"means 30 runs, say .* \(and 25 older\)"):
        find.meaning("2026", names, lambda: None, "runs")


IDS = st.builds("2026112{}-10000{}-{:04x}".format, *[st.integers(0, 9)] * 2, st.integers(0, 65535))
EXPERIMENTS = st.text("ab.-_0", min_size=1, max_size=3)
RUNS = st.lists(st.builds("{}/{}".format, EXPERIMENTS, IDS), min_size=1, max_size=8, unique=True)


@given(RUNS, st.data())
def test_whatever_is_found_begins_as_the_word_does(names: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names))
    word = data.draw(st.sampled_from([name, name.partition("/")[2]]))
    word = word[: data.draw(st.integers(0, len(word)))]
    try:
        found = find.meaning(word, names, lambda: None, "runs")
    except ConfigError:
        assert word != name
        return
    experiment, _, run = found.partition("/")
    assert word == experiment or run.startswith(word) or found.startswith(word)


@given(RUNS)
def test_a_full_name_always_means_its_run(names: list[str]) -> None:
    for name in names:
        assert find.meaning(name, names, lambda: None, "runs") == name


def test_runs_are_in_the_order_of_their_start(tmp_path: Path) -> None:
    for name in (*NAMES, "z/own-name"):
        make_run(tmp_path, name)
    for name, written in ((NAMES[1], 9.5), (NAMES[2], 9.0)):  # within one second
        os.utime(tmp_path / name / "plan.json", (written, written))
    (tmp_path / "latest").symlink_to(NAMES[3])
    (tmp_path / "a" / ".removing-20261119-000000-0000").mkdir()
    (tmp_path / "a" / "20261119-000000-0000").mkdir()  # without a record
    (tmp_path / "a" / "notes").mkdir()
    (tmp_path / "file").write_text("")
    found = [run.name for run in find.runs(tmp_path)]
    assert found[:5] == ["a/20261119-000000-0000", NAMES[0], NAMES[2], NAMES[1], NAMES[3]]
    assert found[5:] == ["z/own-name"]


def test_a_path_means_the_run_in_it(tmp_path: Path) -> None:
    inside = make_run(tmp_path / "runs", NAMES[0])
    outside = make_run(tmp_path, "elsewhere/here")
    root = tmp_path / "runs"
    assert find.one("elsewhere/here", root, tmp_path).directory == outside
    assert find.one(str(outside), root, tmp_path).directory == outside
    assert find.one(f"runs/{NAMES[0]}/", root, tmp_path).name == NAMES[0]
    assert find.one(".", root, inside).name == NAMES[0]


def test_no_runs_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no runs, start one, or say --runs DIR"):
        find.one("latest", tmp_path / "runs", tmp_path)
