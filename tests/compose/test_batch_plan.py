"""The legacy batch plan: what it is expanded to, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.config.formats import batch_plan

P = "custom.grpo.batch_plan"
S = "custom.extra.rollout_server"
PLAN = {"enabled": True, "per_device_train_batch_size": 8, "unified_batch_size": 48}
SERVER = {
    "force_vllm_tensor_parallel_size": 1,
    "force_vllm_data_parallel_size": 6,
    "max_num_seqs_per_gpu": 64,
}
EXPANDED = {
    "training.per_device_train_batch_size": 8,
    "training.per_device_eval_batch_size": 8,
    "training.effective_batch_size": 48,
    "rlhf.generation_batch_size": 48,
}


def where(*keys: Any) -> str:
    return f"x.yaml: {'.'.join(map(str, keys))}"


def tree(plan: Any, **more: Any) -> dict[str, Any]:
    return {"custom": {"grpo": {"batch_plan": plan}, **more.pop("custom", {})}, **more}


def expanded(train: dict[str, Any]) -> dict[str, int]:
    values = batch_plan.expand(train, where).values
    return {".".join(keys): value for keys, value in values.items()}


def test_a_plan_sets_every_batch_size() -> None:
    assert expanded(tree(PLAN)) == EXPANDED


def test_evaluation_may_have_a_size_of_its_own() -> None:
    values = expanded(tree({**PLAN, "per_device_eval_batch_size": 4}))
    assert values == {**EXPANDED, "training.per_device_eval_batch_size": 4}


def test_a_plan_may_shape_the_server() -> None:
    assert expanded(tree({**PLAN, "rollout_server": SERVER})) == {
        **EXPANDED,
        f"{S}.vllm_tensor_parallel_size": 1,
        f"{S}.vllm_data_parallel_size": 6,
        f"{S}.vllm_max_num_seqs": 64,
    }


@pytest.mark.parametrize(
    "train",
    [
        {},
        {"custom": None},
        {"custom": 3},
        {"custom": {"grpo": None}},
        {"custom": {"grpo": [1]}},
        tree(None),
        tree({}),
        tree({"enabled": False}),
        tree({"enabled": None, "unified_batch_size": None}),
    ],
)
def test_no_plan_changes_nothing(train: dict[str, Any]) -> None:
    expansion = batch_plan.expand(train, where)
    assert expansion == batch_plan.Expansion()
    assert expansion.applied_to(train) == train


@pytest.mark.parametrize("spelled", [8, "8", 8.0, "8.0", " 8 "])
def test_spellings_of_integers(spelled: Any) -> None:
    assert expanded(tree({**PLAN, "per_device_train_batch_size": spelled})) == EXPANDED


@pytest.mark.parametrize("spelled", [True, "true", "yes", "on", 1])
def test_spellings_of_enabled(spelled: Any) -> None:
    assert expanded(tree({**PLAN, "enabled": spelled})) == EXPANDED


@pytest.mark.parametrize("same", [48, "48", 48.0, None])
def test_a_value_that_agrees_is_fine(same: Any) -> None:
    assert expanded(tree(PLAN, rlhf={"generation_batch_size": same})) == EXPANDED


def test_the_values_are_written_into_a_copy() -> None:
    train = tree(
        {**PLAN, "rollout_server": SERVER},
        training={"seed": 1},
        rlhf=None,
        custom={"extra": {"rollout_server": {"vllm_max_model_len": 64}, "note": 1}},
    )
    before = copy.deepcopy(train)
    after = batch_plan.expand(train, where).applied_to(train)
    assert train == before
    assert after["training"] == {
        "seed": 1,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "effective_batch_size": 48,
    }
    assert after["rlhf"] == {"generation_batch_size": 48}
    assert after["custom"]["extra"] == {
        "rollout_server": {
            "vllm_max_model_len": 64,
            "vllm_tensor_parallel_size": 1,
            "vllm_data_parallel_size": 6,
            "vllm_max_num_seqs": 64,
        },
        "note": 1,
    }
    assert after["custom"]["grpo"] == before["custom"]["grpo"]


def test_expanding_twice_is_expanding_once() -> None:
    once = batch_plan.expand(tree(PLAN), where).applied_to(tree(PLAN))
    assert batch_plan.expand(once, where).applied_to(once) == once


def test_each_value_knows_the_key_that_it_comes_from() -> None:
    sources = batch_plan.expand(tree({**PLAN, "rollout_server": SERVER}), where).sources
    assert sources["rlhf", "generation_batch_size"] == (*batch_plan.PLAN, "unified_batch_size")
    key = ("rollout_server", "force_vllm_data_parallel_size")
    assert sources[tuple(f"{S}.vllm_data_parallel_size".split("."))] == batch_plan.PLAN + key


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a list": (tree([1]), f"{P}: is [1], not a mapping, write 'key: value' lines below"),
    "a scalar": (tree(True), f"{P}: is true, not a mapping, write 'key: value' lines below"),
    "a typo": (
        tree({**PLAN, "unified_batchsize": 1}),
        f"{P}.unified_batchsize: unknown key, did you mean unified_batch_size?",
    ),
    "a key of another tree": (
        tree({**PLAN, "xyz": 1}),
        (
            f"{P}.xyz: unknown key, use one of enabled, per_device_eval_batch_size, "
            "per_device_train_batch_size, rollout_server, unified_batch_size"
        ),
    ),
    "a typo in the server's part": (
        tree({**PLAN, "rollout_server": {**SERVER, "max_num_seqs": 1}}),
        f"{P}.rollout_server.max_num_seqs: unknown key, did you mean max_num_seqs_per_gpu?",
    ),
    "disabled with sizes": (
        tree({**PLAN, "enabled": False}),
        (
            f"{P}: is not enabled, but sets per_device_train_batch_size, unified_batch_size, "
            "set enabled: true or remove the block"
        ),
    ),
    "not said whether enabled": (
        tree({"rollout_server": SERVER}),
        f"{P}: is not enabled, but sets rollout_server, set enabled: true or remove the block",
    ),
    "no size": (
        tree({"enabled": True}),
        f"{P}.per_device_train_batch_size: is required, set it to a positive integer",
    ),
    "no unified size": (
        tree({"enabled": True, "per_device_train_batch_size": 1}),
        f"{P}.unified_batch_size: is required, set it to a positive integer",
    ),
    "half a server": (
        tree({**PLAN, "rollout_server": {"force_vllm_tensor_parallel_size": 1}}),
        (
            f"{P}.rollout_server.force_vllm_data_parallel_size: is required, "
            "set it to a positive integer"
        ),
    ),
    "an empty server": (
        tree({**PLAN, "rollout_server": {}}),
        (
            f"{P}.rollout_server.force_vllm_tensor_parallel_size: is required, "
            "set it to a positive integer"
        ),
    ),
    "a server that is no mapping": (
        tree({**PLAN, "rollout_server": 3}),
        f"{P}.rollout_server: is 3, not a mapping, write 'key: value' lines below",
    ),
    "zero": (
        tree({**PLAN, "unified_batch_size": 0}),
        f"{P}.unified_batch_size: 0 is below 1, use a positive integer",
    ),
    "negative on the server": (
        tree({**PLAN, "rollout_server": {**SERVER, "max_num_seqs_per_gpu": -1}}),
        f"{P}.rollout_server.max_num_seqs_per_gpu: -1 is below 1, use a positive integer",
    ),
    "a boolean for a size": (
        tree({**PLAN, "unified_batch_size": True}),
        f"{P}.unified_batch_size: true is not an integer, write an integer there",
    ),
    "half a completion": (
        tree({**PLAN, "unified_batch_size": 48.5}),
        f"{P}.unified_batch_size: 48.5 is not an integer, write an integer there",
    ),
    "enabled as a number": (
        tree({**PLAN, "enabled": 2}),
        f"{P}.enabled: 2 is not true or false, write true or false",
    ),
    "another value": (
        tree(PLAN, rlhf={"generation_batch_size": 64}),
        (
            f"rlhf.generation_batch_size: is 64, but the batch plan says 48 "
            f"(x.yaml: {P}.unified_batch_size), remove it or make the two equal"
        ),
    ),
    "another evaluation size": (
        tree(PLAN, training={"per_device_eval_batch_size": "1"}),
        (
            f"training.per_device_eval_batch_size: is '1', but the batch plan says 8 "
            f"(x.yaml: {P}.per_device_eval_batch_size), remove it or make the two equal"
        ),
    ),
    "another server": (
        tree(
            {**PLAN, "rollout_server": SERVER},
            custom={"extra": {"rollout_server": {"vllm_data_parallel_size": True}}},
        ),
        (
            f"{S}.vllm_data_parallel_size: is true, but the batch plan says 6 "
            f"(x.yaml: {P}.rollout_server.force_vllm_data_parallel_size), "
            "remove it or make the two equal"
        ),
    ),
    "a section that is no mapping": (
        tree(PLAN, training="fast"),
        (
            f"training: is 'fast', not a mapping, and x.yaml: {P}.per_device_train_batch_size "
            "sets a key below it, write 'key: value' lines below"
        ),
    ),
}


@pytest.mark.parametrize(("train", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(train: dict[str, Any], message: str) -> None:
    assert f"x.yaml: {message}" in mistakes(train)


def mistakes(train: dict[str, Any]) -> list[str]:
    return [str(mistake.error) for mistake in batch_plan.expand(train, where).mistakes]


def test_all_mistakes_of_a_plan_are_found_and_the_rest_is_expanded() -> None:
    server = {**SERVER, "max_num_seqs": 1, "force_vllm_data_parallel_size": 0}
    train = tree(
        {**PLAN, "unified_batch_size": "many", "rollout_server": server},
        training={"per_device_train_batch_size": 4},
    )
    assert [line.partition(": ")[2].partition(":")[0] for line in mistakes(train)] == [
        f"{P}.unified_batch_size",
        f"{P}.rollout_server.max_num_seqs",
        f"{P}.rollout_server.force_vllm_data_parallel_size",
        "training.per_device_train_batch_size",
    ]
    assert expanded(train) == {
        "training.per_device_eval_batch_size": 8,
        f"{S}.vllm_tensor_parallel_size": 1,
        f"{S}.vllm_max_num_seqs": 64,
    }


def test_a_mistake_knows_the_keys_that_it_leaves_without_a_value() -> None:
    (typo,) = batch_plan.expand(tree({**PLAN, "unified_batchsize": 1}), where).mistakes
    assert ("rlhf", "generation_batch_size") in typo.unread
    (plan,) = batch_plan.expand(tree([1]), where).mistakes
    assert ("custom", "extra", "rollout_server", "vllm_tensor_parallel_size") in plan.unread


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(),
    st.sampled_from(["8", "???", "${x}", "yes", "1e3", b"8", 10**400]),
)  # fmt: skip
names = st.sampled_from([*PLAN, *SERVER, "per_device_eval_batch_size", "rollout_server", "x", 1])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4)
)


@given(
    plan=st.one_of(values, st.dictionaries(names, values), st.just(PLAN)),
    training=values,
    rlhf=values,
    extra=values,
)
def test_strange_values_are_mistakes_of_one_line(
    plan: Any, training: Any, rlhf: Any, extra: Any
) -> None:
    train = tree(plan, training=training, rlhf=rlhf, custom={"extra": extra})
    expansion = batch_plan.expand(train, where)
    for mistake in expansion.mistakes:
        assert str(mistake.error).startswith("x.yaml: ")
    assert all(value >= 1 for value in expansion.values.values())
    again = batch_plan.expand(expansion.applied_to(train), where)
    assert again.values == expansion.values
    assert len(again.mistakes) == len(expansion.mistakes)
