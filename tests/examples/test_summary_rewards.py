"""The rewards of ``examples/summary``: their range, their order, and what hostile text does."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "summary"


def _load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


rewards = _load(EXAMPLE / "rewards.py", "example_summary_rewards")
make_dataset = _load(EXAMPLE / "make_dataset.py", "example_summary_make_dataset")

SOLUTIONS: list[str] = [row["solution"] for row in make_dataset.make_rows()]
REWARDS: dict[str, Callable[[str, str], float]] = dict(rewards.REWARDS)
HEADER = "<DOMAIN=kitchen>, <TASK=SUMMARY>"
REFERENCE = (
    HEADER
    + "\n"
    + json.dumps(
        {
            "stats": [
                {"category": "cup", "count": 2, "material": {"glass": 1, "clay": 1}},
                {"category": "pan", "count": 1, "state": {"clean": 1}},
            ]
        }
    )
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)
stats_entries = st.dictionaries(
    st.sampled_from(["category", "count", "colour", "size"]),
    st.sampled_from(["cup", "pan"]) | json_values,
)
near_summaries = st.builds(
    lambda first, stats: f"{first}\n{json.dumps({'stats': stats})}",
    st.sampled_from([HEADER, "<DOMAIN=street>, <TASK=SUMMARY>", ""]),
    st.lists(stats_entries) | json_values,
)
json_bodies = st.builds(lambda value: f"{HEADER}\n{json.dumps(value)}", json_values)
completions = st.text() | near_summaries | json_bodies


def body(text: str) -> str:
    return f"{HEADER}\n{text}"


def test_the_names_are_those_the_plugin_registers() -> None:
    assert set(REWARDS) == {
        "summary.format",
        "summary.header",
        "summary.parse",
        "summary.no_dup_keys",
        "summary.category_recall",
        "summary.attr_key_recall",
        "summary.attr_value_recall",
        "summary.count_accuracy",
    }


@pytest.mark.costly
@pytest.mark.parametrize("name", sorted(REWARDS))
@given(completion=completions, reference=st.sampled_from(SOLUTIONS))
def test_every_reward_is_in_the_unit_interval(name: str, completion: str, reference: str) -> None:
    assert 0.0 <= REWARDS[name](completion, reference) <= 1.0


@pytest.mark.parametrize("name", sorted(REWARDS))
def test_the_reference_scores_one(name: str) -> None:
    assert {REWARDS[name](solution, solution) for solution in SOLUTIONS} == {1.0}


@pytest.mark.parametrize("name", sorted(REWARDS))
@pytest.mark.parametrize(
    "completion",
    [
        "",
        "\n",
        "word",
        "\n\n\n",
        "[" * 100_000,
        "{" * 100_000,
        "nothing\n" + "[" * 100_000,
        "nothing\n" + '{"a":' * 100_000,
        "nothing\n" + "9" * 100_000,
        "nothing\nNaN",
        "nothing\n\ud800",
    ],
    ids=lambda text: f"{text[:8]!r}x{len(text)}",
)
def test_unreadable_text_scores_zero(name: str, completion: str) -> None:
    assert REWARDS[name](completion, REFERENCE) == 0.0


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"stats":[', '{"category":{"a":'])
def test_deep_nesting_behind_a_header_does_not_crash(opening: str) -> None:
    completion = body(opening * 100_000)
    scores = {name: score(completion, REFERENCE) for name, score in REWARDS.items()}
    assert scores.pop("summary.header") == 1.0
    assert scores.pop("summary.format") == 0.5
    assert set(scores.values()) == {0.0}


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        (HEADER + "\n{}", 1.0),
        (HEADER + "\n{}\n", 1.0),
        (HEADER + "\n[]", 0.5),
        ("Summary\n{}", 0.5),
        (HEADER + "\n{", 0.5),
        ("Summary\n[]", 0.0),
        (HEADER, 0.0),
        (HEADER + "\n{}\n\n", 0.0),
        (HEADER + "\n{\n}", 0.0),
        (" " + HEADER + "\n{}", 0.5),
        (HEADER + "\r\n{}", 0.5),
    ],
)
def test_format_scores_the_two_lines(completion: str, score: float) -> None:
    assert rewards.format_shape(completion) == score


@pytest.mark.parametrize(
    ("first", "score"),
    [
        (HEADER, 1.0),
        ("<DOMAIN=street>, <TASK=SUMMARY>", 0.5),
        ("<DOMAIN=>, <TASK=SUMMARY>", 0.0),
        ("<DOMAIN=kitchen>, <TASK=COUNT>", 0.0),
        ("<DOMAIN=kitchen>,<TASK=SUMMARY>", 0.0),
        (HEADER + " and more", 0.0),
    ],
)
def test_header_scores_the_first_line(first: str, score: float) -> None:
    assert rewards.header(first + "\n{}", REFERENCE) == score
    assert rewards.header(first, REFERENCE) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"stats": []}', 1.0),
        ('{"stats": [{"category": "cup", "count": 1}]}', 1.0),
        ('{"stats": [{"category": "cup", "count": true}]}', 0.5),
        ('{"stats": [{"category": "cup", "count": 1.0}]}', 0.5),
        ('{"stats": [{"category": "cup"}]}', 0.5),
        ('{"stats": [{"count": 1}]}', 0.5),
        ('{"stats": [1]}', 0.5),
        ('{"stats": {}}', 0.5),
        ("{}", 0.5),
        ("[]", 0.0),
        ("null", 0.0),
        ('{"stats": []} trailing', 0.0),
        ('{"stats": NaN}', 0.0),
        ('{"stats": Infinity}', 0.0),
        ("{'stats': []}", 0.0),
    ],
)
def test_parse_scores_the_object(text: str, score: float) -> None:
    assert rewards.parse(body(text)) == score


@given(depth=st.integers(0, 50), in_list=st.booleans())
def test_duplicate_keys_are_found_at_any_depth(depth: int, in_list: bool) -> None:
    open_text, close_text = ('[{"a": ', "}]") if in_list else ('{"a": ', "}")
    repeated = '{"key": 1, "key": 2}'
    distinct = '{"key": 1, "kez": 2}'
    for inner, score in ((repeated, 0.0), (distinct, 1.0)):
        text = f'{{"stats": {open_text * depth}{inner}{close_text * depth}}}'
        assert rewards.no_dup_keys(body(text)) == score


def test_a_key_repeated_through_an_escape_is_a_duplicate() -> None:
    assert rewards.no_dup_keys(body(r'{"stats": [], "st\u0061ts": []}')) == 0.0


def test_the_same_key_in_different_objects_is_no_duplicate() -> None:
    assert rewards.no_dup_keys(REFERENCE) == 1.0


@pytest.mark.parametrize(
    ("stats", "categories", "keys", "values", "counts"),
    [
        ([], 0, 0, 0, 0),
        ([{"category": "cup", "count": 2}], 1 / 2, 0, 0, 1 / 2),
        ([{"category": "cup", "count": 3, "material": {"glass": 1}}], 1 / 2, 1 / 2, 1 / 3, 0),
        ([{"category": "cup", "count": True, "material": "glass"}], 1 / 2, 1 / 2, 0, 0),
        (
            [
                {"category": "cup", "count": 2, "material": {"glass": 1, "clay": 1}},
                {"category": "pan", "count": 1, "state": {"clean": 1}},
                {"category": "jar", "count": 1, "state": {"clean": 1}},
            ],
            1,
            1,
            1,
            2 / 3,
        ),
        (
            [
                {"category": "cup", "count": 2},
                {"category": "cup", "count": 9, "material": {"glass": 1}},
            ],
            1 / 2,
            0,
            0,
            1 / 2,
        ),
    ],
)
def test_recalls_and_counts(
    stats: list[dict[str, Any]], categories: float, keys: float, values: float, counts: float
) -> None:
    completion = body(json.dumps({"stats": stats}))
    assert rewards.category_recall(completion, REFERENCE) == categories
    assert rewards.attr_key_recall(completion, REFERENCE) == keys
    assert rewards.attr_value_recall(completion, REFERENCE) == pytest.approx(values)
    assert rewards.count_accuracy(completion, REFERENCE) == pytest.approx(counts)


@given(data=st.data(), reference=st.sampled_from(SOLUTIONS))
def test_leaving_entries_out_never_raises_a_recall(data: st.DataObject, reference: str) -> None:
    first, _, line = reference.partition("\n")
    stats = json.loads(line)["stats"]
    kept = data.draw(st.lists(st.sampled_from(stats), unique_by=lambda entry: entry["category"]))
    completion = f"{first}\n{json.dumps({'stats': kept})}"
    assert rewards.category_recall(completion, reference) == len(kept) / len(stats)
    assert rewards.count_accuracy(completion, reference) == len(kept) / len(stats)
    complete = len(kept) == len(stats)
    assert (rewards.attr_key_recall(completion, reference) == 1.0) is complete
    assert (rewards.attr_value_recall(completion, reference) == 1.0) is complete


@pytest.mark.parametrize(
    "name", sorted(set(REWARDS) - {"summary.format", "summary.parse", "summary.no_dup_keys"})
)
@pytest.mark.parametrize("reference", ["", "word", HEADER[1:] + '\n{"stats": 1}', "x\n[]"])
def test_an_unreadable_reference_is_an_error(name: str, reference: str) -> None:
    with pytest.raises(ValueError, match="the reference"):
        REWARDS[name](REFERENCE, reference)
