"""The committed datasets of ``examples``: what their scripts make, in ms-swift's form."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ["digits", "summary"]


def _load(name: str) -> ModuleType:
    module_name = f"example_dataset_{name}"
    path = EXAMPLES / name / "make_dataset.py"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


MODULES = {name: _load(name) for name in (*NAMES, "sft")}
summary: Any = MODULES["summary"]


@pytest.mark.parametrize("name", [*NAMES, "sft"])
def test_the_committed_dataset_is_what_the_script_makes(name: str, tmp_path: Path) -> None:
    made = tmp_path / "dataset.jsonl"
    assert MODULES[name].main([str(made)]) == 0
    committed = EXAMPLES / name / "dataset.jsonl"
    assert made.read_bytes() == committed.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_the_form_that_ms_swift_reads(name: str) -> None:
    rows = MODULES[name].make_rows()
    assert len(rows) == MODULES[name].ROWS
    for row in rows:
        assert [set(message) for message in row["messages"]] == [{"role", "content"}] * len(
            row["messages"]
        )
        assert row["messages"][-1]["role"] == "user"


@pytest.mark.parametrize("name", NAMES)
def test_prompts_differ(name: str) -> None:
    prompts = {json.dumps(row["messages"]) for row in MODULES[name].make_rows()}
    assert len(prompts) == MODULES[name].ROWS


def test_the_answers_of_sft_are_right() -> None:
    for row in MODULES["sft"].make_rows():
        question, answer = row["messages"]
        assert [question["role"], answer["role"]] == ["user", "assistant"]
        one, _, other, _, total = answer["content"].rstrip(".").split()
        assert question["content"] == f"What is {one} plus {other}?"
        assert int(one) + int(other) == int(total)


@pytest.mark.parametrize("count", [-1, 257])
def test_digits_has_at_most_256_different_rows(count: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 256"):
        MODULES["digits"].make_rows(count)
    assert len({str(row) for row in MODULES["digits"].make_rows(256)}) == 256


def test_summary_covers_every_domain_evenly() -> None:
    headers = [row["solution"].partition("\n")[0] for row in summary.make_rows()]
    assert len(set(headers)) >= 4
    assert len({headers.count(header) for header in set(headers)}) == 1


@given(seed=st.integers(), count=st.integers(0, 20))
def test_summary_rows_depend_on_their_arguments_alone(seed: int, count: int) -> None:
    random.seed(0)
    first = summary.make_rows(count, seed)
    random.seed(1)
    assert summary.make_rows(count, seed) == first
    assert summary.make_rows(count + 5, seed)[:count] == first


@given(seed=st.integers())
def test_summary_solutions_count_the_items_of_their_prompt(seed: int) -> None:
    for row in summary.make_rows(6, seed):
        lines = row["messages"][-1]["content"].split("\n")[1:]
        header, _, body = row["solution"].partition("\n")
        stats = json.loads(body)["stats"]
        assert "\n" not in body
        assert header.startswith("<DOMAIN=")
        assert sum(entry["count"] for entry in stats) == len(lines)
        for entry in stats:
            own = [line for line in lines if f". {entry['category']}: " in line]
            assert entry["count"] == len(own)
            for attribute, values in entry.items():
                if attribute not in ("category", "count"):
                    assert sum(values.values()) == len(own)
                    for value, number in values.items():
                        assert number == sum(f"{attribute} {value}" in line for line in own)
