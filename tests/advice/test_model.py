"""The arithmetic of splits and settings, against tables worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from grpo_launch.advice import findings, knobs, model, situation
from grpo_launch.advice.situation import Situation
from grpo_launch.checks.examine import require_valid
from grpo_launch.config.hydra import lookup
from grpo_launch.engines.swift.engine import ENGINE
from grpo_launch.learners.batches import BatchArithmetic, Sizes
from grpo_launch.learners.swift import batches
from grpo_launch.planning import devices
from grpo_launch.runs.shares import Seconds, Split
from tests.advice.made import VISIBLE, make_run, steady
from tests.composed import shipped


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without experiments of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def sizes(learner: int, per_device: int = 8, steps: int = 3, **more: int) -> Sizes:
    said = {"per_device_train_batch_size": per_device, "gradient_accumulation_steps": steps}
    found = batches.of_arguments({**said, "num_generations": 8, **more}, learner)
    assert found is not None
    return found


def at(server: int, learner: int, **changes: object) -> Situation:
    now = Situation(
        learns=True, is_timed=True, cuda=True,
        server=tuple(map(str, range(server))), server_count=server,
        learner=tuple(map(str, range(server, server + learner))),
        servers=1, tensor_parallel=1, max_num_seqs=256, max_num_seqs_said=False,
        keys=ENGINE.size_keys,
        sizes=sizes(learner), steps_said=False, accumulation_follows=False,
        is_async=False, is_multi_turn=False,
    )  # fmt: skip
    return replace(now, **changes)


def took(
    generate: float, sync: float, learn: float, other: float = 0.0, asked: int = 48, steps: int = 20
) -> Split:
    def part(value: float) -> Seconds:
        return Seconds(value, value, value)

    whole = generate + sync + learn + other
    return Split(
        cycles=20, steps=steps, seconds=part(whole), generating=part(generate), sync=part(sync),
        learning=part(learn), other=part(other),
        server_idle=(learn + other) / whole, server_syncs=sync / whole,
        server_generates=generate / whole, learner_waits=generate / whole,
        learner_syncs=sync / whole, learner_learns=learn / whole, learner_other=other / whole,
        completions=asked, asked_at_once=asked, tokens=100.0, longest=200.0, overlaps=False,
    )  # fmt: skip


def table(found: Iterable[model.Choice]) -> list[tuple[int, int, float | None, float, float]]:
    return [
        (c.server, c.learner, None if c.problem else round(c.cost.seconds, 2), c.low, c.high)
        for c in found
    ]


def test_splits_of_four_gpus() -> None:
    split, now = took(6.0, 1.0, 9.0, 0.5), at(2, 2, sizes=sizes(2, per_device=3, steps=8))
    assert table(model.choices(split, now)) == [
        # 6 x 2/1 + 1 + 9 x 2/3 + 0.5; at the other end the generation stays at 6.
        (1, 3, 19.5, 13.5, 19.5),
        (2, 2, 16.5, 16.5, 16.5),
        # 6 x 2/3 + 1 + 9 x 2/1 + 0.5
        (3, 1, 23.5, 23.5, 25.5),
    ]
    least, present = model.best(model.choices(split, now), now) or (None, None)
    assert least is present


def test_a_split_that_does_not_divide_the_batch_is_not_possible() -> None:
    found = model.choices(took(6.2, 0.8, 11.4, 0.1), at(6, 2))
    problems = {(c.server, c.learner): c.problem for c in found}
    assert problems[3, 5] == "48 completions of a step do not divide by 5 learner devices"
    assert [key for key, problem in problems.items() if problem] == [(1, 7), (3, 5)]
    four = next(c for c in found if c.learner == 4)
    assert four.sizes is not None
    # 8 x 4 does not divide 48; 6 x 4 x 2 does.
    assert (four.sizes.per_device, four.sizes.accumulation) == (6, 2)


def test_the_generation_has_to_divide_as_well() -> None:
    two = sizes(2, per_device=2, steps=2, generation_batch_size=40, num_generations=4)
    assert model.batches(two, 4) is not None
    two = sizes(2, per_device=3, steps=4, generation_batch_size=30, num_generations=2)
    assert model.batches(two, 4) is None
    found = model.choices(took(1, 1, 1), at(4, 2, sizes=two))
    said = next(c.problem for c in found if c.learner == 4)
    assert said == "30 completions of a generation do not divide by 4 learner devices"


def test_the_server_s_devices_are_whole_replicas() -> None:
    now = at(4, 4, tensor_parallel=2, sizes=sizes(4, per_device=1, steps=12))
    assert [(c.server, c.replicas) for c in model.choices(took(1, 1, 1), now)] == [
        (2, 1), (4, 2), (6, 3),
    ]  # fmt: skip


def test_fewer_replicas_never_take_fewer_waves() -> None:
    now = at(4, 2, max_num_seqs=12, sizes=sizes(2))
    one = next(c for c in model.choices(took(6.0, 0.0, 0.0), now) if c.server == 2)
    # 48 completions: 12 of each of 4 replicas are one wave, 24 of each of 2 are two.
    assert (one.low, one.high) == (12.0, 12.0)


def test_with_async_generate_the_longer_half_counts() -> None:
    now = at(4, 4, is_async=True, sizes=sizes(4, per_device=1, steps=12))
    found = {c.server: c.cost.seconds for c in model.choices(took(6.0, 1.0, 12.0), now)}
    assert found[4] == 1 + 12
    assert found[2] == 1 + 12  # generate 6 x 4/2
    assert found[5] == 1 + 12 * 4 / 3


def test_all_is_said_of_one_optimizer_step() -> None:
    now, split = at(4, 4), took(6.0, 1.0, 12.0, 2.0, steps=60)  # a generation lasts for three
    assert model.present(split, now) == model.Cost(
        2.0, pytest.approx(1 / 3), 4.0, pytest.approx(2 / 3)
    )


def test_a_small_gain_is_not_worth_it() -> None:
    now = at(4, 4, sizes=sizes(4, per_device=1, steps=12))
    least, present = model.best(model.choices(took(1.0, 50.0, 4.0), now), now) or (None, None)
    assert least is not None
    assert present is not None
    assert least is not present
    assert not model.is_worth(least, present)


def test_without_batches_there_is_no_choice() -> None:
    assert model.choices(took(1, 1, 1), at(2, 2, sizes=None)) == []
    assert model.best([], at(2, 2)) is None


# Settings


def knob(split: Split, now: Situation, key: str) -> knobs.Knob | None:
    return next((k for k in knobs.found(split, now) if key in k.override), None)


def test_too_few_places_make_waves() -> None:
    found = knob(took(9.0, 1.0, 5.0), at(4, 4, max_num_seqs=4), "vllm_max_num_seqs")
    assert found is not None
    # 48 completions over 4 replicas are 12; in 4 places three waves, at best a third of 9.
    assert found.override == "rollout_server.vllm_max_num_seqs=12"
    assert (found.low, found.high, found.learning) == (9.0, 15.0, None)
    assert knob(took(9.0, 1.0, 5.0), at(4, 4, max_num_seqs=12), "vllm_max_num_seqs") is None


def test_async_generate_hides_the_shorter_half() -> None:
    found = knob(took(6.0, 1.0, 9.0, 1.0), at(4, 4), "async_generate")
    assert found is not None
    assert (found.low, found.high) == (11.0, 11.0)
    assert found.learning is not None
    assert knob(took(6.0, 1.0, 9.0), at(4, 4, is_async=True), "async_generate") is None
    # ms-swift 4.6 refuses it for conversations.
    assert knob(took(6.0, 1.0, 9.0), at(4, 4, is_multi_turn=True), "async_generate") is None


def test_a_generation_for_more_steps() -> None:
    found = knob(took(6.0, 1.0, 9.0), at(4, 4, sizes=sizes(4)), "steps_per_generation")
    assert found is not None
    assert found.override == "train.rlhf.steps_per_generation=6"
    # 6 x 0.5 to 6, 1 / 2, 9
    assert (found.low, found.high) == (12.5, 15.5)
    full = knob(
        took(6.0, 1.0, 9.0), at(4, 4, sizes=sizes(4), max_num_seqs=12), "steps_per_generation"
    )
    assert full is not None
    assert (full.low, full.high) == (15.5, 15.5)
    said = sizes(4, generation_batch_size=96)
    both = knob(took(6.0, 1.0, 9.0), at(4, 4, sizes=said), "steps_per_generation")
    assert both is not None
    assert both.override.endswith("=6 train.rlhf.generation_batch_size=192")


def test_learning_once_more_from_a_generation() -> None:
    found = knob(took(6.0, 1.0, 9.0), at(4, 4, sizes=sizes(4, num_iterations=2)), "num_iterations")
    assert found is not None
    assert found.override == "train.rlhf.num_iterations=3"
    assert found.low == pytest.approx(7.0 * 2 / 3 + 9.0)


def test_a_learner_that_hardly_waits_is_not_told_to_generate_less_often() -> None:
    found = knobs.found(took(0.5, 0.1, 9.0), at(4, 4, sizes=sizes(4)))
    assert [k.override for k in found] == ["train.rlhf.async_generate=true"] * (0.5 / 9.6 > 0.05)


# Whatever the run


_seconds = st.floats(0, 1e4, allow_nan=False)


@st.composite
def runs(draw: st.DrawFn) -> tuple[Split, Situation]:
    tp = draw(st.sampled_from([1, 2, 4]))
    replicas, learner = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    of = sizes(learner, draw(st.integers(1, 8)), draw(st.integers(1, 12)))
    assume(of.generation % of.group == 0)
    split = took(
        draw(st.floats(1e-3, 1e4)), draw(_seconds), draw(_seconds), draw(_seconds), of.generation
    )
    now = at(
        tp * replicas, learner, tensor_parallel=tp, sizes=of,
        is_async=draw(st.booleans()), max_num_seqs=draw(st.integers(1, 64)),
    )  # fmt: skip
    return split, now


@given(runs())
def test_the_best_split_is_never_worse_than_the_present_one(run: tuple[Split, Situation]) -> None:
    split, now = run
    found = model.choices(split, now)
    best = model.best(found, now)
    assert best is not None
    least, present = best
    assert least.cost.seconds <= present.cost.seconds
    whole = model.present(split, now).seconds
    assert [present.low, present.cost.seconds, present.high] == pytest.approx([whole] * 3)
    for choice in found:
        assert choice.server + choice.learner == now.devices
        assert choice.server == choice.replicas * now.tensor_parallel
        assert choice.low <= choice.cost.seconds * (1 + 1e-9)
        assert choice.cost.seconds <= choice.high * (1 + 1e-9)


@given(runs())
def test_no_split_changes_what_a_step_learns_from(run: tuple[Split, Situation]) -> None:
    split, now = run
    before = now.sizes
    assert before is not None
    for choice in model.choices(split, now):
        after = choice.sizes
        assert (after is None) == (choice.problem is not None)
        if after is not None:
            assert after.world_size == choice.learner
            assert after.per_device <= before.per_device
            assert after.batch * after.accumulation == before.batch * before.accumulation
            assert after.generation == before.generation
            assert not after.conflict


@given(runs())
def test_no_setting_promises_a_slower_step(run: tuple[Split, Situation]) -> None:
    split, now = run
    for found in knobs.found(split, now):
        assert found.low <= found.high * (1 + 1e-9)
        assert found.high <= model.present(split, now).seconds * (1 + 1e-9)
        assert math.isfinite(found.low)


# What is advised can be written


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    "said",
    [
        [],
        ["train.rlhf.steps_per_generation=3"],
        ["train.rlhf.steps_per_generation=6", "train.rlhf.generation_batch_size=96"],
        [
            "train.training.effective_batch_size=null",
            "train.training.gradient_accumulation_steps=3",
        ],
        ["train.training.gradient_accumulation_steps=3"],
        ["train.rlhf.generation_batch_size=96"],
    ],
    ids=" ".join,
)
def test_the_overrides_give_that_split_with_the_same_batches(
    tmp_path: Path, said: list[str]
) -> None:
    run = make_run(tmp_path / "runs", steady(8, 6.0, 1.0, 9.0), *said)
    now = situation.read(run)
    assert now is not None
    found = findings.of_run("x", "done", run)
    assert found.best is not None
    present = found.best[1]
    before = BatchArithmetic.of(
        batches.read(shipped("summary_1024", ["role=both", *said]), present.learner)
    )
    assert before is not None
    tried = [choice for choice in found.choices if choice.problem is None]
    assert len(tried) == 5
    for choice in tried:
        written = findings.overrides(choice, present, now)
        keys = {item.partition("=")[0] for item in written}
        kept = [item for item in said if item.partition("=")[0] not in keys]
        config = shipped("summary_1024", ["role=both", *kept, *written])
        require_valid(config)
        split = devices.assign(config, VISIBLE)
        assert (len(split.server), len(split.learner)) == (choice.server, choice.learner)
        after = BatchArithmetic.of(batches.read(config, len(split.learner)))
        assert after is not None
        assert after.completions_per_step == before.completions_per_step
        assert after.generation_batch_size == before.generation_batch_size
        assert after.num_generations == before.num_generations


def test_several_servers_get_as_many_replicas_each() -> None:
    now = at(4, 4, servers=2)
    found = model.choices(took(6.0, 1.0, 9.0), now)
    assert [choice.server for choice in found] == [2, 4, 6]
