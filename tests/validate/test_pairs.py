"""Which engine goes with which learner, and in which role."""

# ruff: noqa: E501 (a message stands on one line, as it is shown)

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.checks.examine import examine
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.config.problem import Severity
from grpo_launch.plugins import ENGINES, LEARNERS

EXPERIMENTS = {
    "swift": "model: {model: m}\nrlhf: {reward_funcs: [accuracy]}\n",
    "sft": "model: {model: m}\n",
    "llamafactory": "model_name_or_path: m\nstage: sft\n",
    "command": "argv: [trainer, '{url}']\n",
    "alone": "argv: [trainer]\n",
    "none": "",
}
"""By learner: ``sft`` is a stage of ms-swift, ``alone`` a command that needs no server."""

SERVERS = {
    "external": "rollout_server: {url: 'http://127.0.0.1:9', model: m}\n",
    "command": "rollout_server: {argv: [serve, '{port}'], model: m}\n",
    "vllm": "rollout_server: {model: m}\n",
}

PAIRS = {
    ("swift", "swift"): {"both", "server", "learner"},
    ("command", "swift"): {"both", "server", "learner"},
    ("vllm", "command"): {"both", "server", "learner"},
    ("command", "command"): {"both", "server", "learner"},
    ("swift", "command"): {"both", "server", "learner"},
    ("external", "command"): {"both", "learner"},
    ("none", "sft"): {"learner"},
    ("none", "llamafactory"): {"learner"},
    ("none", "alone"): {"learner"},
    # Servers beside a training that does not ask them: each alone, and one day in a loop.
    ("vllm", "llamafactory"): {"server", "learner"},
    ("external", "llamafactory"): {"learner"},
    ("vllm", "none"): {"server"},
    ("command", "none"): {"server"},
    ("vllm", "swift"): {"server"},
    ("external", "swift"): set(),
    ("none", "swift"): set(),
    ("none", "none"): set(),
}
"""The roles in which a pair can be launched; in any other it is refused by name."""

NAMED = ("engine.name", "engine.managed", "learner.name", "learner.stage")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def refused(engine: str, learner: str, role: str) -> list[str]:
    """What is said of the pair itself."""
    name = {"sft": "swift", "alone": "command"}.get(learner, learner)
    stage = ", stage: sft" if learner == "sft" else ""
    text = EXPERIMENTS[learner] + SERVERS.get(engine, "")
    Path("x.yaml").write_text(f"{text}engine: {engine}\nlearner: {{name: {name}{stage}}}\n")
    config = compose("x", [f"role={role}"])
    errors = (p for o in examine(config) for p in o.problems if p.severity is Severity.ERROR)
    return [p.line for p in errors if p.where.endswith(NAMED)]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("role", ["both", "server", "learner"])
def test_a_pair_is_launched_in_its_roles_and_refused_in_others(
    pair: tuple[str, str], role: str
) -> None:
    lines = refused(*pair, role)
    assert bool(lines) != (role in PAIRS[pair]), lines


def test_every_engine_and_every_learner_is_in_the_table() -> None:
    engines, learners = map(set, zip(*PAIRS, strict=True))
    assert engines == {*ENGINES.shipped}
    assert learners - {"sft", "alone"} == {*LEARNERS.shipped}


def test_what_a_learner_demands_of_its_servers_is_compared() -> None:
    demands = "demands: {development_mode: true}\nengine: vllm\nlearner: command\n"
    Path("x.yaml").write_text(EXPERIMENTS["command"] + SERVERS["vllm"] + demands)
    config = compose("x", ["role=both"])
    found = [p.line for o in examine(config) for p in o.problems if "development_mode" in p.where]
    line = "x.yaml: rollout_server.development_mode: is null, but the command needs true, set it to true"
    assert found == [f"{line} [checks.warn: servers_have_what_the_learner_demands]"]
    config = compose("x", ["role=both", "rollout_server.development_mode=true"])
    assert [p.line for o in examine(config) for p in o.problems if "demands" in p.line] == []
