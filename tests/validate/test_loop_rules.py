"""The rules of a loop: what it collects and trains on, its numbers, how servers get a new model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.checks.loops import LOOP_RULES
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.rule import Context

EXPERIMENT: dict[str, Any] = {
    "engine": "vllm",
    "learner": "llamafactory",
    "collector": {"environment": "e", "train_tasks": "t.jsonl", "eval_tasks": "e.jsonl"},
    "rollout_server": {"model": "some/model", "max_model_len": 512, "development_mode": True},
    "model_name_or_path": "some/model",
    "stage": "sft",
}
SECTIONS: dict[str, Any] = {
    **{key: EXPERIMENT[key] for key in ("engine", "collector", "rollout_server")},
    "learner": {"name": "swift", "stage": "sft"},
    "model": {"model": "some/model"},
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def found(*overrides: str, body: dict[str, Any] = EXPERIMENT, role: str = "loop") -> list[str]:
    Path("x.yaml").write_text(yaml.safe_dump(body))
    config = compose("x", [f"role={role}", *overrides])
    context = Context.of(config, Facts())
    return [
        str(problem).removeprefix("x.yaml: ").removeprefix("command line: ")
        for rule in LOOP_RULES
        if rule.when(config)
        for problem in rule(context)
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("loop.iterations=1", "loop.eval_interval=1", "loop.max_failures=0"),
        ("loop.eval_interval=null", "collector.eval_tasks=null"),
        ("loop.swap=reload",),
        ("collector.weights=[0.5]",),
        ("collector.completion_threshold=0", "collector.max_failed=1", "collector.grace_s=0"),
        ("+collector.sampling.max_tokens=511",),
        ("publish.keep=0",),
        ("learner=none", "role=rollout"),
    ],
)
def test_what_works_is_not_refused(overrides: tuple[str, ...]) -> None:
    roles = [word.removeprefix("role=") for word in overrides if word.startswith("role=")]
    others = [word for word in overrides if not word.startswith("role=")]
    assert found(*others, role=roles[0] if roles else "loop") == []


@pytest.mark.parametrize("role", ["loop", "rollout", "update"])
def test_a_loop_of_sections_trains_with_the_other_learner(role: str) -> None:
    assert found(body=SECTIONS, role=role) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loop.iterations=0", "loop.iterations: is 0, use 1 or more"),
        ("loop.eval_interval=0", "loop.eval_interval: is 0, use 1 or more"),
        ("loop.max_failures=-1", "loop.max_failures: is -1, use 0 or more"),
        ("publish.keep=-1", "publish.keep: is -1, use 0 or more"),
        ("collector.server_size=0", "collector.server_size: is 0, use 1 or more"),
        ("update.share=1.5", "update.share: is 1.5, use a share from 0 to 1"),
        ("collector.max_failed=nan", "collector.max_failed: is nan, use a share from 0 to 1"),
        ("collector.grace_s=-1", "collector.grace_s: is -1, use seconds above 0"),
        ("collector.call_timeout_s=0", "collector.call_timeout_s: is 0, use seconds above 0"),
        ("gpu_wait.timeout_s=nan", "gpu_wait.timeout_s: is nan, use seconds above 0"),
        (
            "collector.train_tasks=null",
            "collector.train_tasks: is not set, name a file of tasks, tasks.jsonl",
        ),
        (
            "collector.weights=[1,2]",
            "collector.weights: has 2 numbers for 1 servers, give each one",
        ),
        ("collector.weights=[0]", "collector.weights: is [0.0], use numbers above 0"),
        (
            "+collector.sampling.max_tokens=512",
            (
                "collector.sampling.max_tokens: is 512, the servers take 512 tokens of prompt and "
                "answer together, use less than 512"
            ),
        ),
        (
            "+train.dataset=mine",
            "train.dataset: is what the loop collects, it cannot be said, remove it",
        ),
    ],
)
def test_a_mistake_is_named(override: str, said: str) -> None:
    assert found(override) == [said]


def test_an_evaluation_needs_tasks_of_its_own() -> None:
    assert found("loop.eval_interval=2", "collector.eval_tasks=null") == [
        "collector.eval_tasks: is not set, name a file of tasks, tasks.jsonl"
    ]


def test_a_stage_that_asks_servers_trains_on_no_rows() -> None:
    assert found("learner.stage=grpo", body=SECTIONS) == [
        (
            "learner.stage: grpo of ms-swift asks servers itself, "
            "choose a stage that trains on rows, learner.stage=sft"
        )
    ]


def test_servers_of_somebody_else_are_not_restarted() -> None:
    body = {
        **EXPERIMENT,
        "engine": "external",
        "rollout_server": {"url": "http://gpu-3:8999", "model": "some/model"},
    }
    (said,) = found(body=body)
    assert said == (
        "loop.swap: would restart servers that somebody else runs, say loop.swap=reload"
    )
