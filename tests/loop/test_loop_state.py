"""Where a loop is, without a process: bounds, roles that go on with each other, lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.plan import (
    COLLECT,
    COLLECT_EVAL,
    LEARNER,
    PUBLISH,
    SELECT,
    Deadlines,
    LaunchPlan,
    Loop,
    Recovery,
    Stage,
    Watchdog,
)
from grpo_launch.runs import loop_state
from grpo_launch.runs.loop_state import FAILED, SKIPPED, LoopState

NOTHING = LaunchPlan(
    experiment="exp",
    role="loop",
    run_dir="run",
    output_dir="run",
    processes=(),
    job=None,
    gates=(),
    files=(),
    deadlines=Deadlines(1, 1),
    groups=False,
    ports=(),
    recovery=Recovery("stop", 0, 0.0, 0.0, None, versioned=False),
    watchdog=Watchdog(60, 600, 600, "warn", "warn"),
    console="log",
)
UPDATE = (SELECT, LEARNER, PUBLISH)
STAGES = {
    "loop": (COLLECT, COLLECT_EVAL, *UPDATE),
    "rollout": (COLLECT,),
    "eval": (COLLECT_EVAL,),
    "update": UPDATE,
}


def loop(role: str = "loop", iterations: int | None = None, every: int | None = None) -> Loop:
    serving = (COLLECT, COLLECT_EVAL)
    stages = tuple(Stage(name, NOTHING, serves=name in serving) for name in STAGES[role])
    return Loop(stages, iterations, role != "loop", every, 0, "models/base")


def gone(state: LoopState, of: Loop, stages: int = 1000) -> tuple[LoopState, list[str]]:
    """The state after up to so many stages, and which they were: ``0 collect``."""
    state, done = state.bounded(of), list[str]()
    while len(done) < stages and (following := state.next(of)) is not None:
        state, stage = following
        done.append(f"{state.iteration} {stage.name}")
        state = state.after(stage.name, 1.0)
    return state, done


def whole(*iterations: int, every: int = 1, role: str = "loop") -> list[str]:
    return [
        f"{n} {name}"
        for n in iterations
        for name in STAGES[role]
        if name != COLLECT_EVAL or n % every == 0
    ]


def test_a_loop_does_each_stage_of_each_iteration_once() -> None:
    state, done = gone(LoopState(), loop(iterations=3, every=2))
    assert done == whole(0, 1, 2, every=2)
    assert (state.version, state.iteration) == (3, 2)
    assert gone(state, loop(iterations=3, every=2))[1] == []


@pytest.mark.parametrize("killed", range(15))
def test_it_goes_on_after_any_stage(killed: int) -> None:
    of = loop(iterations=3)
    state, before = gone(LoopState(), of, killed)
    assert before + gone(state, of)[1] == whole(0, 1, 2)


def test_a_raised_bound_goes_on_and_a_lowered_one_ends_in_the_middle() -> None:
    state, _ = gone(LoopState(), loop(iterations=2))
    assert gone(state, loop(iterations=4))[1] == whole(2, 3)
    state, _ = gone(LoopState(), loop(iterations=4), len(whole(0, 1)) + 2)
    assert gone(state, loop(iterations=2))[1] == []
    assert not state.bounded(loop(iterations=2)).has_ended(loop(iterations=2))
    assert gone(state, loop(iterations=3))[1] == whole(2)[2:]


def test_evaluations_that_are_asked_for_later_are_none_of_what_has_ended() -> None:
    state, _ = gone(LoopState(), loop(iterations=2, every=2))
    assert gone(state, loop(iterations=3, every=1))[1] == whole(2)


def test_passes_count_from_where_they_begin() -> None:
    of = loop("rollout", 2)
    state, done = gone(LoopState(), of)
    assert done == ["0 collect", "1 collect"]
    assert gone(state, of)[1] == ["2 collect", "3 collect"]
    killed, _ = gone(state, of, 1)
    assert gone(killed, of)[1] == ["3 collect"]


def test_roles_go_on_with_each_other() -> None:
    state, done = gone(LoopState(), loop("rollout"))
    assert done == ["0 collect"]
    state, done = gone(state, loop("eval"))
    assert done == ["0 collect_eval"]
    state, done = gone(state, loop("update"))
    assert done == ["0 select", "0 learner", "0 publish"]
    assert state.version == 1
    state, done = gone(state, loop("rollout"))
    assert done == ["1 collect"]
    assert gone(state, loop(iterations=2))[1] == whole(1)[1:]


def test_an_update_has_the_episodes_that_are_there_and_no_others() -> None:
    state, _ = gone(LoopState(), loop("rollout", 3), 1)
    state, done = gone(state, loop("update"))
    assert done == ["0 select", "0 learner", "0 publish"]


@pytest.mark.parametrize(("how", "failures"), [(SKIPPED, 0), (FAILED, 1)])
def test_an_update_that_is_given_up_keeps_the_model(how: str, failures: int) -> None:
    of = loop(iterations=2)
    state, _ = gone(LoopState(), of, 3)
    state = state.without_update(how, "why")
    assert (state.version, state.failures, state.row.update) == (0, failures, how)
    assert gone(state, of)[1] == whole(1)


def test_the_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert loop_state.read(tmp_path) == LoopState()
    state, _ = gone(LoopState(), loop(iterations=3), 7)
    loop_state.write(tmp_path, state.after(COLLECT_EVAL, 1.5, {"reward": 0.25}))
    assert loop_state.read(tmp_path) == state.after(COLLECT_EVAL, 1.5, {"reward": 0.25})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "version": "x"}'])
def test_what_is_no_state_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / loop_state.NAME).write_text(text)
    with pytest.raises(ValueError, match=r"."):
        loop_state.read(tmp_path)


def steps(directory: Path) -> list[tuple[Any, Any]]:
    lines = (directory / loop_state.ROWS).read_text().splitlines()
    return [(row["step"], row["update"]) for row in map(json.loads, lines)]


def test_an_iteration_has_one_line_whatever_becomes_of_it(tmp_path: Path) -> None:
    of = loop(iterations=2)
    first, _ = gone(LoopState(), of, 5)
    second, _ = gone(first, of, 1)
    loop_state.keep(tmp_path, first)
    loop_state.keep(tmp_path, first)
    assert steps(tmp_path) == [(1, "done")]
    loop_state.keep(tmp_path, second)
    ended, _ = gone(second, of)
    loop_state.keep(tmp_path, ended)
    assert steps(tmp_path) == [(1, "done"), (2, "done")]


@pytest.mark.parametrize("cut", [1, 20])
def test_a_line_that_was_cut_off_is_replaced(tmp_path: Path, cut: int) -> None:
    of = loop(iterations=2)
    first, _ = gone(LoopState(), of, 5)
    second, _ = gone(first, of)
    loop_state.keep(tmp_path, first)
    loop_state.keep(tmp_path, second)
    path = tmp_path / loop_state.ROWS
    path.write_bytes(path.read_bytes()[:-cut])
    loop_state.keep(tmp_path, second)
    assert steps(tmp_path) == [(1, "done"), (2, "done")]
