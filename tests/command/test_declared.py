"""What an experiment may declare of a command, and what is refused, by key."""

from __future__ import annotations

from typing import Any

import pytest

from grpo_launch.config import placeholders
from grpo_launch.learners.command import declared
from grpo_launch.runs.rows import Rows
from grpo_launch.signs import Metrics

ARGV = {"argv": ["bash", "train.sh", "{output_dir}"]}

RIGHT: list[dict[str, Any]] = [
    {},
    {"argv": ["run", "--json", '{{"a": {{}}}}', "{resume}", 5, True, 1e-6]},
    {"argv": ["run", "{rank}/{members}", "{devices}", "{url}", "{host}:{port}", "{model}"]},
    {"config": {"a": {"b": ["{not one}", 1, None]}}, "config_format": "json"},
    {"config": {}, "fill": {"a.b": "{output_dir}/x", "c": 3}},
    {"config": {"prompt": "{question}"}, "argv": ["run", "{config}"]},
    {"variables": {"RANK": "{rank}", "N": 4, "OFF": False}},
    {"cwd": "/some/where"},
    {"progress": {"format": "pairs", "reward": "r", "max_steps": 40}},
    {"progress": {"files": "*.jsonl", "reward": "data.r", "max_steps": "total"}},
    {"progress": {"files": ["a/*.jsonl"], "loss": "l", "max_steps": {"config": "t.n"}},
     "config": {"t": {"n": 3}}},
    {"progress": {"pattern": r"step (?P<step>\d+)/(?P<max_steps>\d+) (?P<reward>\S+)"}},
    {"progress": {"pattern": [r"(?P<n>\d+)/", r"r=(?P<r>\S+)"], "step": "n", "reward": "r"}},
    {"progress": {"files": "x", "event": "e", "value": "v", "first_step": {"r/*": 0}}},
    {"progress": {"format": "json", "first_step": 0, "seconds": "dt"}},
    {"checkpoints": {"path": "ckpt/{step}", "marker": "done"}},
    {"checkpoints": {"path": "step_{step}.pt", "marker": "none"}},
    {"checkpoints": {"path": "global_step_{step}", "tracker": "latest.txt"}},
    {"checkpoints": {"path": "c-{step}", "marker": "s.json", "step": "n", "ignored": "*.tmp"}},
    {"resume_by": "none"},
    {"resume_by": "directory"},
    {"resume_by": {"argument": "--from={checkpoint}"}},
    {"resume_by": {"argument": ["--from", "{checkpoint}", "--out", "{output_dir}"]}},
    {"resume_by": {"config_key": "trainer.from"}, "config": {"trainer": {}}},
    {"resume_by": {"config_key": "a.b.c"}, "config": {}},
    {"members": 4},
    {"members": [{"RANK": "0"}, {"RANK": 1}]},
    {"silence_s": 300, "needs_server": True, "output_dir": "out", "model": "m", "checkpoint": "c"},
]  # fmt: skip

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"argv": None}, "argv", "is not set"),
    ({"argv": "bash train.sh"}, "argv", "is not a list of words"),
    ({"argv": []}, "argv", "is not a list of words"),
    ({"argv": ["a", ["b"]]}, "argv", "word 1 is ['b'], not a text"),
    ({"argv": ["a", None]}, "argv", "word 1 is null"),
    ({"argv": ["a", "{outputdir}"]}, "argv", "there is no placeholder {outputdir}"),
    ({"argv": ["a", '{"b": 1}']}, "argv", "word 1: the brace at"),
    ({"argv": ["a", "{"]}, "argv", "the brace at '{'"),
    ({"argv": ["a", "b}"]}, "argv", "the brace at '}'"),
    ({"argv": ["a", "--from={resume}"]}, "argv", "has {resume} inside a word"),
    ({"argv": ["a", "{checkpoint}"]}, "argv", "{checkpoint} is not filled in here"),
    ({"config": [1]}, "config", "[1] is not a mapping"),
    ({"config": {}, "config_format": "toml"}, "config_format", "'toml' is not one of yaml, json"),
    ({"fill": {"a": "b"}}, "fill", "config, which is not set"),
    ({"config": {"a": 1}, "fill": {"a.b": "x"}}, "fill.a.b", "leads through a value"),
    ({"config": {}, "fill": {"a": "{rank}"}}, "fill.a", "{rank} is not filled in here"),
    ({"config": {}, "fill": {"a": ["x"]}}, "fill.a", "is no text"),
    ({"cwd": "{run_dir}"}, "cwd", "there is no placeholder {run_dir}"),
    ({"variables": {"A": None}}, "variables.A", "null is no text"),
    ({"variables": ["A=1"]}, "variables", "is not a mapping"),
    ({"variables": {"A": "{resume}"}}, "variables.A", "{resume} is not filled in here"),
    ({"progress": "steps"}, "progress", "is not a mapping"),
    ({"progress": {"rewards": "r"}}, "progress.rewards", "unknown key"),
    ({"progress": {"format": "xml"}}, "progress.format", "is not one of json, pairs, regex"),
    ({"progress": {"format": "regex"}}, "progress.format", "there is no pattern"),
    ({"progress": {"format": "json", "pattern": "(?P<step>.)"}}, "progress.format", "no use"),
    ({"progress": {"pattern": "(?P<step"}}, "progress.pattern", "is no regular expression"),
    ({"progress": {"pattern": "step"}}, "progress.pattern", "has no group step"),
    ({"progress": {"pattern": 3}}, "progress.pattern", "neither a regular expression nor a list"),
    ({"progress": {"pattern": r"(?P<step>\d)", "reward": "r"}}, "progress.reward", "has a group r"),
    ({"progress": {"max_steps": 0}}, "progress.max_steps", "no number of steps"),
    ({"progress": {"max_steps": {"config": "a.b"}}}, "progress.max_steps", "but null"),
    ({"progress": {"first_step": 2}}, "progress.first_step", "is not what a first step is called"),
    ({"progress": {"first_step": {"a": 0}}}, "progress.first_step", "goes by the names in event"),
    ({"progress": {"event": "e"}}, "progress", "one of event and value is set"),
    ({"progress": {"files": "/tmp/x"}}, "progress.files", "leads out of the output directory"),
    ({"progress": {"files": "../x"}}, "progress.files", "leads out of the output directory"),
    ({"checkpoints": {"path": "ckpt", "marker": "d"}}, "checkpoints.path", "has no {step}"),
    ({"checkpoints": {"path": "{step}/x", "marker": "d"}}, "checkpoints.path", "has no {step}"),
    ({"checkpoints": {"path": "../{step}", "marker": "d"}}, "checkpoints.path", "leads out"),
    ({"checkpoints": {"path": "c-{step}"}}, "checkpoints.marker", "does not say how"),
    ({"checkpoints": {"path": "c-{step}", "marker": "/x"}}, "checkpoints.marker", "leads out"),
    ({"checkpoints": {"path": "c-{step}", "marker": "none", "step": "n"}}, "checkpoints.step",
     "a field of the marker"),
    ({"checkpoints": {"path": "c-{step}", "marker": "d", "keep": 2}}, "checkpoints.keep",
     "unknown key"),
    ({"resume_by": "auto"}, "resume_by", "'auto' is no way to go on"),
    ({"resume_by": {"argument": ["--resume"]}}, "resume_by", "have no {checkpoint}"),
    ({"resume_by": {"argument": ["{rank}", "{checkpoint}"]}}, "resume_by", "{rank} is not filled"),
    ({"resume_by": {"argument": "{checkpoint}", "config_key": "a"}}, "resume_by", "no way"),
    ({"resume_by": {"config_key": "a..b"}}, "resume_by", "no dotted key"),
    ({"resume_by": {"config_key": "a.b"}, "config": {"a": 3}}, "resume_by", "leads through"),
    ({"members": 0}, "members", "neither a number of processes nor a list"),
    ({"members": True}, "members", "neither a number of processes nor a list"),
    ({"members": [1]}, "members", "neither a number of processes nor a list"),
    ({"silence_s": -1}, "silence_s", "is no number of seconds"),
    ({"silence_s": float("nan")}, "silence_s", "is no number of seconds"),
    ({"needs_server": "yes"}, "needs_server", "is not true or false"),
    ({"output_dir": ["x"]}, "output_dir", "is not a text"),
]  # fmt: skip


@pytest.mark.parametrize("train", RIGHT, ids=str)
def test_what_may_be_declared(train: dict[str, Any]) -> None:
    assert declared.read(ARGV | train).faults == ()


@pytest.mark.parametrize(("train", "key", "what"), WRONG, ids=str)
def test_what_may_not_be_declared(train: dict[str, Any], key: str, what: str) -> None:
    (fault,) = declared.read(ARGV | train).faults
    assert fault.key == key
    assert what in fault.what


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{a}", "1"),
        ("x{a}{a}", "x11"),
        ("{{a}}", "{a}"),
        ("{b}", "{b}"),
        ('{{"k": {a}}}', '{"k": 1}'),
    ],
)
def test_placeholders_are_filled_in(text: str, filled: str) -> None:
    assert placeholders.fill(text, {"a": "1"}) == filled
    assert placeholders.fill(placeholders.literal(filled), {"a": "2"}) == filled


def test_a_value_is_not_filled_in_again() -> None:
    assert placeholders.fill("{a}", {"a": "{b}", "b": "x"}) == "{b}"


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("step=3 loss=0.012345 dt=13.52s", {"step": 3, "loss": 0.012345, "dt": 13.52}),
        ("step:3 - a/b/mean:0.5 - c:-1e-3", {"step": 3, "a/b/mean": 0.5, "c": -0.001}),
        ("{'loss': '0.0123', 'epoch': 0.02}", {"loss": 0.0123, "epoch": 0.02}),
        ("step = 3, loss = 0.5", {"step": 3, "loss": 0.5}),
        ("\x1b[32mstep=3\x1b[0m", {"step": 3}),
        ("loss=nan", {"loss": pytest.approx(float("nan"), nan_ok=True)}),
        ("saved to step=3.pt", None),
        ("http://host:80/x=y", None),
        ("nothing", None),
    ],
)
def test_pairs_of_a_line(line: str, fields: dict[str, Any] | None) -> None:
    pairs = Metrics(files=("x",), step="step", reward="", form="pairs")
    rows = [row.fields for row in Rows(pairs).take([line.encode()])]
    assert rows == ([] if fields is None else [fields])
