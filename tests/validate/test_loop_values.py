"""The rules of a loop: a value that a stage would refuse later is refused before the first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpo_launch.checks import loop_files
from grpo_launch.checks.examine import examine
from grpo_launch.checks.loops import LOOP_RULES
from grpo_launch.planning import devices, loop
from tests.composed import shipped

SEED = "would make each sample of a task the same"


def found(*overrides: str) -> list[tuple[str, str]]:
    config = shipped("webagent", ["role=loop", *overrides])
    ours = {rule.name for rule in LOOP_RULES}
    outcomes = [outcome for outcome in examine(config) if outcome.rule in ours]
    return [(p.where, p.what) for outcome in outcomes for p in outcome.problems]


@pytest.mark.costly
@pytest.mark.parametrize(
    ("override", "key", "what"),
    [
        ("gpu_wait.timeout_s=nan", "gpu_wait.timeout_s", "is nan"),
        ("gpu_wait.below_gib=-1", "gpu_wait.below_gib", "is -1"),
        ("gpu_wait.below_gib=nan", "gpu_wait.below_gib", "is nan"),
        ("collector.call_timeout_s=inf", "collector.call_timeout_s", "is inf"),
        ("update.threshold=nan", "update.threshold", "is nan"),
        ("collector.sampling=7", "collector.sampling", "7 is no object"),
        ("+collector.sampling.seed=1", "collector.sampling.seed", SEED),
        ("+collector.sampling.n=2", "collector.sampling.n", "is set by the collector"),
        ("collector.key=MY_NAME", "collector.key", "MY_NAME is no name of a secret"),
    ],
)
def test_a_value_that_a_stage_would_refuse(override: str, key: str, what: str) -> None:
    assert found() == []
    problems = found(override)
    assert [(where, what in said) for where, said in problems] == [(f"command line: {key}", True)]


def test_a_key_instead_of_its_variable_is_not_repeated() -> None:
    problems = found("collector.key=sk-0123456789abcdef")
    assert problems == [("command line: collector.key", "is not the name of a variable")]
    assert "0123456789" not in json.dumps(problems)


def test_a_key_that_nothing_sets_is_said_before_the_servers_start(tmp_path: Path) -> None:
    config = shipped("webagent", ["role=loop", "collector.key=MY_API_KEY"])
    plan = loop.build(config, devices.assign(config, list("01234567")), "run", tmp_path)

    def said(environ: dict[str, str]) -> list[str]:
        problems = loop_files.problems(config, plan, environ, tmp_path)
        return [p.what for p in problems if p.where.endswith("collector.key")]

    assert said({}) == said({"MY_API_KEY": " "}) == ["the variable MY_API_KEY is not set"]
    assert said({"MY_API_KEY": "sk-1"}) == []
