"""What the rules of episodes assume of ms-swift, asked of the installed one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.learners.swift import episodes, registries
from grpo_launch.learners.swift.plugin_source import ENVIRONMENTS, SCHEDULERS
from grpo_launch.runtimes import installed
from tests.engine.real import PYTHON, Swift

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

PROBE = Path(__file__).with_name("gym_probe.py")


@pytest.fixture(scope="module")
def answers(swift: Swift) -> dict[str, Any]:
    done = swift.run([str(PROBE)])
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("registry", "names"),
    [(ENVIRONMENTS, episodes.ENVIRONMENTS), (SCHEDULERS, episodes.SCHEDULERS)],
)
def test_ms_swift_registers_what_the_rules_take_for_its_own(
    answers: dict[str, Any], registry: str, names: tuple[str, ...]
) -> None:
    assert answers[registry] == sorted(names)


def test_its_source_shows_the_same() -> None:
    unknown = {registry: {"unknown"} for registry in registries.SHIPPED}
    found = registries.known(unknown, lambda: installed.roots(PYTHON, {}))
    assert found.names == registries.SHIPPED


def test_a_scheduler_needs_the_asynchronous_engine_and_gets_it(answers: dict[str, Any]) -> None:
    assert "please set vllm_use_async_engine to True" in answers["synchronous"]
    assert answers["asynchronous"] is None
    assert answers["by default"] is None


def test_gym_env_implies_use_gym_env_unless_it_is_said(answers: dict[str, Any]) -> None:
    # use_gym_env unset, true, false; first without gym_env, then with one.
    assert answers["server's use_gym_env"] == [False, True, False, True, True, False]
    assert answers["learner's use_gym_env"] == [None, True, False, True, True, False]


def test_only_an_asynchronous_server_reports_its_environment(answers: dict[str, Any]) -> None:
    assert answers["reported use_gym_env"] == [False, False, False, True]


def test_a_row_names_its_environment_and_gym_env_is_the_default(answers: dict[str, Any]) -> None:
    first, second, third = answers["environments"]
    assert first == ["b", {"name": "b", "seed": 3}]
    assert second == ["a", {"seed": 4}]
    assert third == ["a", {}]  # a request without row, such as the launcher's own


def test_without_use_gym_env_the_scheduler_does_not_get_gym_env(answers: dict[str, Any]) -> None:
    assert answers["environments without use_gym_env"] == ["Environment 'None' not found."]


def test_a_row_is_sent_when_asked_for_or_when_the_learner_has_a_scheduler(
    answers: dict[str, Any],
) -> None:
    row = {"env_config": {"name": "b", "seed": 3}}
    assert answers["columns"] == [{}, row, row]


def test_the_learner_leaves_the_turns_to_a_server_with_a_scheduler(answers: dict[str, Any]) -> None:
    # Neither half has one, the server, the learner, both.
    assert answers["players"] == ["the server", "the server", "the learner", "the server"]


def test_the_scope_of_the_length_has_no_effect_in_server_mode(answers: dict[str, Any]) -> None:
    # server per_round, server total, colocate per_round, colocate total
    assert answers["lengths"] == [False, False, False, True]


def test_the_environment_s_reward_is_the_last_column(answers: dict[str, Any]) -> None:
    assert answers["gym alone"] == [[0.5], [2.0]]
    assert answers["gym and a function"] == [[1.0, 0.5], [1.0, 2.0]]
