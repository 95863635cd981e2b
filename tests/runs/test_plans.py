"""Plans and records go to JSON and back, and those of other versions are read as well."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch import plan
from grpo_launch.learners.swift.outputs import CHECKPOINTS, METRICS
from grpo_launch.plan import FORMAT, HttpCheck, LaunchPlan
from grpo_launch.runs import plans, reading
from grpo_launch.transfer import MODES
from tests.supervise.rig import make_plan, process

OLD = Path(__file__).parent / "format3"

_text = st.text(max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text, inner, max_size=2),
    max_leaves=4,
)
_seconds = st.floats(0, 1e6)
_TYPES: dict[Any, st.SearchStrategy[Any]] = {
    "Any": _json,
    "str": _text,
    "int": st.integers(),
    "bool": st.booleans(),
    "float": _seconds,
    "Mapping[str, str]": st.dictionaries(_text, _text, max_size=2),
    "Mapping[str, int]": st.dictionaries(_text, st.integers(), max_size=2),
    "Mapping[str, Any]": st.dictionaries(_text, _json, max_size=2),
}
_patterns = st.lists(st.sampled_from(["*/x.jsonl", "**/a", "a"]), max_size=2).map(tuple)
_CHECKED: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "Metrics": {
        "files": _patterns,
        "patterns": st.lists(_text.map(re.escape), max_size=2).map(tuple),
    },
    "CheckpointLayout": {
        "directories": _patterns,
        "weights": _patterns,
        "named_by": _text.map(re.escape),
    },
    "Reload": {
        "steps": st.lists(st.builds(plan.ReloadStep, _text, _text), min_size=1).map(tuple),
        "modes": st.dictionaries(st.sampled_from(MODES), _text),
        "unloaded": st.lists(_text.map(re.escape), max_size=2).map(tuple),
    },
}
"""Fields that not every text may have."""

_TYPES["Loop"] = st.none()
"""A plan of plans, which would have no end; ``tests/plan/test_loop_goldens.py`` has one."""


def built(kind: type) -> st.SearchStrategy[Any]:
    """Instances of a dataclass of ``plan.py``, from the annotations of its fields."""
    fields = {f.name: of(str(f.type)) for f in dataclasses.fields(kind)}
    return st.builds(kind, **{**fields, **_CHECKED.get(kind.__name__, {})})


def of(name: str) -> st.SearchStrategy[Any]:
    if name.endswith(" | None"):
        return st.none() | of(name.removesuffix(" | None"))
    if name.startswith("tuple["):
        return st.lists(of(name[6:-6]), max_size=2).map(tuple)
    return _TYPES[name] if name in _TYPES else built(getattr(plan, name))


@pytest.mark.slow
@given(built(LaunchPlan))
def test_a_plan_goes_to_json_and_back_unchanged(planned: LaunchPlan) -> None:
    text = planned.to_json()
    assert text.endswith("}\n")
    back, notes = plans.parse(text)
    assert (back, notes) == (planned, ())
    assert back.to_json() == text


def made(tmp_path: Path) -> dict[str, Any]:
    specs = (process(tmp_path, name, "true") for name in ("server", "learner"))
    return json.loads(make_plan(tmp_path, *specs, port=1).to_json())


def test_what_is_not_understood_is_said_and_left_out(tmp_path: Path) -> None:
    body = made(tmp_path)
    body["weather"] = "fine"
    body["processes"][0]["colour"] = "red"
    body["processes"][1]["signs"]["smell"] = "burnt"
    planned, notes = plans.parse(json.dumps(body))
    assert planned == plans.parse(json.dumps(made(tmp_path)))[0]
    assert notes == (
        "weather: not understood",
        "processes.0.colour: not understood",
        "processes.1.signs.smell: not understood",
    )


def test_of_a_newer_plan_what_is_understood_is_read(tmp_path: Path) -> None:
    body = {**made(tmp_path), "format": FORMAT + 1, "stages": []}
    del body["console"], body["groups"]
    planned, notes = plans.parse(json.dumps(body))
    assert [spec.name for spec in planned.processes] == ["server", "learner"]
    assert planned.console == "auto"
    known = f"format {FORMAT + 1}: this launcher knows {FORMAT}"
    assert notes == (known, "stages: not understood")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("gates", [{}], "gates.0.server: is missing"),
        ("processes", [3], "processes.0: 3 is no object"),
        ("files", {"nope": 1}, "files: {'nope': 1} is no list"),
        ("ports", ["80"], "ports.0: '80' is no int"),
        ("ports", [True], "ports.0: True is no int"),
        ("deadlines", None, "deadlines: None is no object"),
        ("role", ..., "role: is missing"),
    ],
)
def test_a_damaged_plan_is_refused_with_the_place(
    tmp_path: Path, key: str, value: Any, said: str
) -> None:
    body = made(tmp_path)
    if value is ...:
        del body[key]
    else:
        body[key] = value
    with pytest.raises(ValueError, match=said):
        plans.parse(json.dumps(body))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "null", "{}", '{"format": null}', '{"format": 3, "gates": 3}', "[" * 5000],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not JSON|not a JSON object|format"):
        plans.parse(text)


def test_a_run_without_a_plan_starts_nothing_and_writes_where_runs_do(tmp_path: Path) -> None:
    planned, (note,) = plans.known(tmp_path)
    assert planned.processes == ()
    assert plans.output_dir(tmp_path, planned) == tmp_path / "output"
    assert note == "cannot be read (No such file or directory)"


# A run of the launcher before format 4


def test_a_plan_of_format_3_has_what_stood_in_code_then() -> None:
    planned, notes = plans.read(OLD)
    assert notes == ()
    server, learner = planned.processes
    assert (planned.services, planned.main, planned.job) == ((server,), learner, "learner")
    assert (server.part, learner.part) == ("server", "learner")
    assert "Method execution failed" in server.signs.alarms
    assert server.signs.served == "POST /infer/"
    assert "VLLM::EngineCore" in server.signs.vital
    assert server.signs.moves
    assert learner.signs == plan.Signs()
    (gate,) = planned.gates
    health, size, token = gate.checks
    assert health == HttpCheck("health", "/health/")
    assert (size.path, size.field, size.value) == ("/get_world_size/", "world_size", 6)
    assert token.generates
    assert gate.generation == token
    assert planned.metrics == METRICS
    assert planned.checkpoints is not None
    assert planned.checkpoints.directories == CHECKPOINTS.directories
    assert planned.recovery.checkpoint_key == "resume_from_checkpoint"


def test_a_record_of_that_time_is_read_too() -> None:
    recorded, notes = reading.read(OLD)
    assert notes == ()
    assert recorded.processes["learner"].guard.pid == 4194307
    assert recorded.attempts[0].processes["learner"].exit == 0
    assert not recorded.is_here
    assert not recorded.is_supervised


def test_a_moved_run_writes_where_it_is_now(tmp_path: Path) -> None:
    shutil.copy(OLD / "plan.json", tmp_path)
    planned, _ = plans.read(tmp_path)
    assert plans.output_dir(tmp_path, planned) == tmp_path / "output"


def test_a_record_of_a_newer_version_is_read_as_far_as_it_is_understood(tmp_path: Path) -> None:
    body = json.loads((OLD / "run.json").read_text())
    body |= {"format": 99, "queue": "long"}
    (tmp_path / "run.json").write_text(json.dumps(body))
    recorded, notes = reading.read(tmp_path)
    assert recorded.state == "done"
    assert notes == ("format 99: this launcher knows 3", "queue: not understood")
