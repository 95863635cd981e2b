"""Settings from JSON: what is taken, and what is refused by name."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.config.schema_loop import Collector
from grpo_launch.errors import ConfigError
from grpo_launch.rollout import settings
from grpo_launch.rollout.settings import Settings


def test_nothing_is_needed() -> None:
    assert settings.parse({}) == Settings()


def test_what_the_launcher_writes_is_taken() -> None:
    body = {
        "urls": ["http://a:1"],
        "weights": [1, 0.5][:1],
        "runtime": {"kind": None},
        "grace_s": 3,
        "sampling": {"temperature": 1.0, "max_tokens": 16},
        "environment": None,
    }
    made = settings.parse(body)
    assert (made.urls, made.weights, made.grace_s) == (("http://a:1",), (1.0,), 3.0)
    assert made.sampling == {"temperature": 1.0, "max_tokens": 16}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"server_sise": 3}, "server_sise: is not known; server_size?"),
        ({"server_size": 0}, "server_size: 0 is less than 1"),
        ({"server_size": "3"}, "server_size: '3' is no int"),
        ({"environments": 0}, "environments: 0 is less than 1"),
        ({"max_turns": 0}, "max_turns: 0 is less than 1"),
        ({"call_timeout_s": 0}, "call_timeout_s: 0.0 is no number of seconds"),
        ({"grace_s": -1}, "grace_s: -1.0 is no number of seconds"),
        ({"max_failed": 2}, "max_failed: 2.0 is not between 0 and 1"),
        ({"completion_threshold": 98}, "completion_threshold: 98.0 is not between 0 and 1"),
        ({"api": "gemini"}, "api: gemini is not known, only openai is"),
        ({"urls": ["a", "b"], "weights": [1.0]}, "weights: 1 for 2 servers"),
        ({"weights": [0.0]}, "weights: each must be more than 0"),
        ({"sampling": {"seed": 1}}, "sampling.seed: would make each sample of a task the same"),
        ({"sampling": {"n": 2}}, "sampling.n: is set by the collector"),
        ({"sampling": {"stream": True}}, "sampling.stream: is set by the collector"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], what: str, tmp_path: Path) -> None:
    path = tmp_path / "collect.json"
    path.write_text(json.dumps(body))
    with pytest.raises(ConfigError) as error:
        settings.read(path)
    assert error.value.what == what


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_file_that_is_no_settings(content: str, tmp_path: Path) -> None:
    path = tmp_path / "collect.json"
    with pytest.raises(ConfigError, match="No such file"):
        settings.read(path)
    path.write_text(content)
    with pytest.raises(ConfigError, match="JSON"):
        settings.read(path)


@pytest.mark.parametrize("split", settings.SPLITS)
def test_what_depends_on_the_split(split: str) -> None:
    sizes: dict[str, Any] = {"train_tasks_rollout_size": 4, "train_limit": 7, "train_tasks": "a"}
    sizes |= {"eval_tasks_rollout_size": 2, "eval_tasks": "b"}
    made = Settings(**sizes)
    found = (made.tasks_file(split), made.samples(split), made.limit(split))
    assert found == ((Path("a"), 4, 7) if split == "train" else (Path("b"), 2, None))


def test_the_launcher_and_the_collector_have_the_same_settings() -> None:
    """The node ``collector`` is written as JSON and read here; neither imports the other."""
    ours = asdict(Settings())
    theirs = asdict(Collector())
    assert set(ours) - set(theirs) == {"urls", "api"}
    assert set(theirs) <= set(ours)
    assert settings.parse(theirs | {"runtime": None}) == Settings()
