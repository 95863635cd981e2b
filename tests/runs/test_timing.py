"""``timing.jsonl`` as it is found after crashes, and what its intervals add up to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.runs import cycles, shares, timing
from grpo_launch.runs.timing import Interval
from tests.advice.made import line, start, steady


def write(directory: Path, *lines: object) -> Path:
    with open(directory / timing.FILE, "a") as file:
        file.writelines(item if isinstance(item, str) else json.dumps(item) + "\n" for item in lines)
    return directory


def interval(kind: str, begin: float, end: float, step: int = 0, **more: bool) -> Interval:
    sizes = {"completions": 8, "tokens": 80, "longest": 12} if kind == "generate" else {}
    return Interval(kind, begin, end, step, **more, **sizes)


# Reading


def test_no_file_is_no_start(tmp_path: Path) -> None:
    assert timing.read(tmp_path) == []


def test_each_start_of_the_learner_is_kept_apart(tmp_path: Path) -> None:
    first, second = line("sync", 1, 2), line("generate", 1, 3)
    write(tmp_path, "\n", start(), first, "\n", start(), second, second)
    assert [[i.kind for i in s] for s in timing.read(tmp_path)] == [["sync"], ["generate"] * 2]


def test_what_a_killed_learner_left_half_written_hides_nothing(tmp_path: Path) -> None:
    torn = json.dumps(line("generate", 5, 6))[:-10]
    write(tmp_path, start(), line("sync", 1, 2), torn, "\n", start(), line("sync", 3, 4))
    assert [[i.begin for i in s] for s in timing.read(tmp_path)] == [[1], [3]]


@pytest.mark.parametrize(
    "bad",
    [
        "garbage\n",
        "[1, 2]\n",
        "\x00\x01\n",
        "null\n",
        "{" * 5000 + "\n",
        line("unknown", 1, 2),
        line("sync", 2, 1),
        line("sync", float("nan"), 1),
        line("sync", 1, 2) | {"end": 10**400},
        line("sync", 1, 2) | {"begin": "1"},
        line("sync", 1, 2) | {"step": -1},
        line("sync", 1, 2) | {"step": True},
    ],
    ids=str,
)
def test_a_line_that_means_nothing_is_left_out(tmp_path: Path, bad: object) -> None:
    write(tmp_path, start(), bad, line("sync", 1, 2))
    assert timing.read(tmp_path) == [[Interval("sync", 1, 2, 0)]]


def test_a_growing_file_is_read_on(tmp_path: Path) -> None:
    timings = timing.Timings(tmp_path)
    assert timings.starts() == []
    write(tmp_path, start(), line("sync", 1, 2))
    assert len(timings.starts()[0]) == 1
    half = json.dumps(line("generate", 2, 3))
    write(tmp_path, half[:20])
    assert len(timings.starts()[0]) == 1
    write(tmp_path, half[20:] + "\n")
    assert [i.kind for i in timings.starts()[0]] == ["sync", "generate"]


# Cycles


def test_a_cycle_in_turn() -> None:
    found = cycles.of_start(
        [
            interval("sync", 10, 11), interval("generate", 11, 15), interval("score", 15, 15.5),
            interval("sync", 20, 21, 1), interval("generate", 21, 24, 1),
        ]
    )  # fmt: skip
    (cycle,) = found
    assert (cycle.seconds, cycle.sync, cycle.waiting) == (10, 1, 4)
    assert (cycle.generating, cycle.other, cycle.learning) == (4, 0.5, 4.5)
    assert (cycle.server_idle, cycle.first_step, cycle.steps) == (5, 0, 1)
    assert (cycle.completions, cycle.tokens, cycle.overlaps) == (8, 80, False)


def test_a_generation_in_the_background_leaves_the_learner_learning() -> None:
    found = cycles.of_start(
        [
            interval("sync", 10, 11),
            interval("generate", 11, 18, background=True),
            interval("wait", 16, 18),
            interval("sync", 18, 19, 1),
            interval("generate", 19, 26, 1, background=True),
        ]
    )
    (cycle,) = found
    assert (cycle.seconds, cycle.sync, cycle.generating, cycle.server_idle) == (8, 1, 7, 0)
    assert (cycle.waiting, cycle.learning, cycle.overlaps) == (2, 5, True)


def test_a_short_generation_beside_a_long_scoring_begins_a_cycle() -> None:
    begins = [0, 10, 20]
    scoring = [interval("score", begin, begin + 8) for begin in begins]
    short = [interval("generate", begin + 1, begin + 2, background=True) for begin in begins]
    assert [cycle.seconds for cycle in cycles.of_start([*scoring, *short])] == [10, 10]


def test_overlapping_generations_of_the_server_count_once() -> None:
    found = cycles.of_start(
        [
            interval("generate", 0, 6, background=True),
            interval("score", 1, 9),
            interval("generate", 2, 8),
            interval("generate", 10, 11, 1),
        ]
    )
    (cycle,) = found
    assert (cycle.generating, cycle.waiting, cycle.other) == (8, 6, 2)


def test_completions_that_are_replaced_while_scoring_begin_no_cycle() -> None:
    found = cycles.of_start(
        [
            interval("generate", 0, 4), interval("score", 4, 9), interval("generate", 5, 8),
            interval("generate", 12, 13, 1),
        ]
    )  # fmt: skip
    (cycle,) = found
    assert (cycle.seconds, cycle.generating, cycle.waiting, cycle.other) == (12, 7, 7, 2)
    assert (cycle.completions, cycle.asked_at_once) == (16, 8)


def test_an_evaluation_is_no_learning_and_begins_no_cycle() -> None:
    found = cycles.of_start(
        [
            interval("generate", 0, 4), interval("evaluate", 6, 12, 1), interval("sync", 6, 7, 1),
            interval("generate", 7, 11, 1, train=False), interval("save", 12, 13, 1),
            interval("generate", 14, 15, 1),
        ]
    )  # fmt: skip
    (cycle,) = found
    assert (cycle.other, cycle.sync, cycle.learning) == (7, 0, 3)
    assert (cycle.generating, cycle.waiting, cycle.completions) == (8, 4, 8)


def test_a_generation_for_several_steps_and_steps_of_several_generations() -> None:
    steps = [0, 3, 6]
    found = cycles.of_start(interval("generate", 10 * n, 10 * n + 1, s) for n, s in enumerate(steps))
    assert [(c.first_step, c.steps) for c in found] == [(0, 3), (3, 3)]
    split = shares.split([[interval("generate", 10 * n, 10 * n + 1, n // 2) for n in range(6)]])
    assert split is not None
    assert (split.cycles, split.steps, split.per_step) == (4, 2, 2.0)


def test_the_first_cycle_of_each_start_warms_up_and_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, *steady(3, 2, 1, 4), *steady(4, 2, 1, 4))
    starts = timing.read(tmp_path)
    split = shares.split(starts)
    assert split is not None
    assert (split.cycles, split.steps) == (3, 3)
    assert split.seconds.median == pytest.approx(7.1)
    assert shares.split(starts[:1] and [starts[0][:4]]) is None
    assert sorted(cycles.by_step(starts)) == [1, 2, 3]


def test_the_spread_is_that_of_the_middle_half() -> None:
    seconds = shares.Seconds.of([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (seconds.low, seconds.median, seconds.high) == (2.0, 3.0, 4.0)
    assert shares.Seconds.of([2.0]) == shares.Seconds(2.0, 2.0, 2.0)


_moments = st.floats(0, 1000, allow_nan=False)
_intervals = st.builds(
    lambda kind, begin, length, step, train, background: Interval(
        kind, begin, begin + length, step, train, background, 8, 80, 12
    ),
    st.sampled_from(timing.KINDS),
    _moments,
    st.floats(0, 50),
    st.integers(0, 30),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(st.lists(_intervals, max_size=25), max_size=3))
def test_whatever_the_intervals_the_shares_add_up(starts: list[list[Interval]]) -> None:
    for cycle in (c for s in starts for c in cycles.of_start(s)):
        learner = cycle.sync + cycle.waiting + cycle.learning + cycle.other
        assert learner == pytest.approx(cycle.seconds)
        server = cycle.sync + cycle.generating + cycle.server_idle
        assert server == pytest.approx(cycle.seconds)
        assert min(cycle.sync, cycle.waiting, cycle.learning, cycle.other, cycle.generating) >= 0
    split = shares.split(starts)
    if split is not None:
        server = (split.server_idle, split.server_syncs, split.server_generates)
        learner = (split.learner_waits, split.learner_syncs, split.learner_learns)
        assert all(0 <= share <= 1 for share in (*server, *learner, split.learner_other))
        assert sum(server) == pytest.approx(1)
        assert sum(learner) + split.learner_other == pytest.approx(1)
