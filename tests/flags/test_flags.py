"""The flags of an engine as data, and which values they take."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.base import resources
from grpo_launch.config import compose
from grpo_launch.engines import flags
from grpo_launch.engines.flags import Flag, FlagTable, accepts
from grpo_launch.engines.snapshot import FlagQuestion, Snapshot
from grpo_launch.engines.swift import flags as rollout
from grpo_launch.engines.swift import serve
from grpo_launch.learners.swift import arguments
from grpo_launch.learners.swift import flags as rlhf
from grpo_launch.planning.planner import serve_requests

ROLLOUT, RLHF = rollout.FLAGS.shipped().table, rlhf.FLAGS.shipped().table

EXPERIMENTS = sorted(path.stem for path in resources.path("configs/train/grpo").glob("*.yaml"))

INT, FLOAT, BOOL, STR, JSON = (Flag(k) for k in ("int", "float", "bool", "str", "json"))
STRS, INTS = Flag("str", is_list=True), Flag("int", is_list=True)
CHOICE = Flag("str", optional=True, choices=("left", "right", "None"))

names = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=1, max_size=12)
some_flags = st.builds(
    Flag,
    kind=st.sampled_from(sorted(flags._KINDS)),
    is_list=st.booleans(),
    optional=st.booleans(),
    choices=st.none() | st.lists(names, min_size=1, max_size=4).map(tuple),
)
tables = st.dictionaries(names, some_flags, max_size=6)


@pytest.mark.parametrize(
    ("flag", "value", "wanted"),
    [
        (INT, 5, None),
        (INT, "5", None),
        (INT, [5], None),
        (INT, -3, None),
        (INT, 5.0, "an integer"),
        (INT, "five", "an integer"),
        (INT, True, "an integer"),
        (INT, [5, 6], "an integer"),
        (INT, [], "an integer"),
        (INT, {"a": 1}, "an integer"),
        (FLOAT, "1e-6", None),
        (FLOAT, 1e-6, None),
        (FLOAT, 5, None),
        (FLOAT, -0.5, None),
        (FLOAT, -1e-05, "a number to argparse, which takes it for a flag"),
        (FLOAT, "small", "a number"),
        (FLOAT, False, "a number"),
        (BOOL, True, None),
        (BOOL, "Yes", None),
        (BOOL, 0, None),
        (BOOL, 2, "true or false"),
        (BOOL, 1.0, "true or false"),
        (BOOL, "on", "true or false"),
        (BOOL, [], "true or false"),
        (STR, "", None),
        (STR, 5, None),
        (STR, "-", None),
        (STR, "- a list in prose", None),
        (STR, "-x", "a string to argparse, which takes it for a flag"),
        (STR, "-help me", "a string to argparse, which takes it for a flag"),
        (STR, ["a", "b"], "a string"),
        (CHOICE, "left", None),
        (CHOICE, "None", None),
        (CHOICE, "raise", "one of left, right"),
        (STRS, "a", None),
        (STRS, ["a", 5, True], None),
        (STRS, [], "a list of strings with at least one item"),
        (STRS, ["a", None], "a list of strings"),
        (STRS, [["a"]], "a list of strings"),
        (INTS, [1, -2], None),
        (INTS, [1, "x"], "a list of integers"),
        (JSON, {"a": {"b": 1}}, None),
        (JSON, "zero2", None),
        (JSON, 5, "a mapping or a string"),
        (JSON, True, "a mapping or a string"),
        (Flag("object"), "x", "a value that only Python code can give"),
        (Flag("any"), "x", None),
    ],
)
def test_what_a_flag_takes(flag: Flag, value: Any, wanted: str | None) -> None:
    assert accepts(flag, value) == wanted


@pytest.mark.slow
@given(
    some_flags,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)
def test_every_value_gets_an_answer(flag: Flag, value: Any) -> None:
    wanted = accepts(flag, value)
    assert wanted is None or flags.expected(flag) in wanted


@given(st.integers(), st.floats(allow_nan=False, min_value=-1e4), st.booleans())
def test_typed_values_pass_their_own_flag(number: int, share: float, switch: bool) -> None:
    assert accepts(INT, number) is None
    assert accepts(BOOL, switch) is None
    plain = "e" not in str(share) or share > 0
    assert (accepts(FLOAT, share) is None) is (plain and str(share) != "-inf")


@given(names, names, names, tables, st.dictionaries(names, st.integers() | st.lists(names)))
def test_encoded_and_back(
    program: str, product: str, version: str, flags: dict[str, Flag], defaults: dict[str, Any]
) -> None:
    table = FlagTable(program, product, version, flags, defaults)
    assert FlagTable.decoded(json.loads(json.dumps(table.encoded()))) == table
    snapshot = Snapshot(table, {"a/b.py": "0f"})
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


@pytest.mark.parametrize(
    "body",
    [[], None, "x", {}, {"format": 1},
     {"format": 2, "program": "p", "product": "e", "version": "1"},
     {"format": 2, "program": "p", "product": "e", "version": "1", "flags": []},
     {"format": 2, "program": "p", "product": "e", "version": "1", "flags": {"a": "wat"}},
     {"format": 2, "program": "p", "product": "e", "version": "1", "flags": {"a": []}}],
)  # fmt: skip
def test_other_data_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        FlagTable.decoded(body)


@pytest.mark.parametrize("question", [rollout.FLAGS, rlhf.FLAGS], ids=lambda q: q.program)
def test_the_shipped_snapshots_load_fast(question: FlagQuestion) -> None:
    text = question.snapshot.read_text()
    shipped = question.shipped()
    assert shipped.to_json() == text
    assert (shipped.table.program, shipped.table.product) == (question.program, "ms-swift")
    assert "transformers/hf_argparser.py" in shipped.digests
    # Four times what it takes today, measured by the JSON alone: a busy machine slows both.
    best = min(_timed(lambda: Snapshot.from_json(text)) for _ in range(20))
    parsing = min(_timed(lambda: json.loads(text)) for _ in range(20))
    assert best < 40 * parsing


def test_what_the_shipped_snapshots_say() -> None:
    assert RLHF.flags["num_generations"] == Flag("int")
    assert RLHF.flags["reward_funcs"] == Flag("str", is_list=True)
    assert RLHF.flags["tuner_type"] == Flag("str")
    assert ROLLOUT.flags["vllm_max_model_len"] == Flag("int", optional=True)


def test_they_are_of_the_version_that_the_engine_is_installed_with() -> None:
    pins = resources.path("constraints/cpu-lock.txt").read_text().splitlines()
    for table in (ROLLOUT, RLHF):
        assert f"ms_swift=={table.version}" in [pin.replace("-", "_") for pin in pins]


@pytest.mark.costly
@pytest.mark.parametrize("accelerator", ["cuda", "cpu"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_what_is_rendered_for_a_shipped_experiment_is_known(
    experiment: str, accelerator: str
) -> None:
    config = compose.compose(experiment, [f"accelerator={accelerator}"])
    for name, value in arguments.flatten(config, 2, "runs/x/output").items():
        assert accepts(RLHF.flags[name], value) is None, name
    given: dict[str, list[str]] = {}
    for word in serve.argv(serve_requests(config, Path.cwd())[0])[len(config.engine.entry) + 1 :]:
        if word.startswith("--"):
            given[word.removeprefix("--")] = values = []
        else:
            values.append(word)
    for name, values in given.items():
        assert accepts(ROLLOUT.flags[name], values) is None, name


def _timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
