"""Task files, and the order in which their tasks are played."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.errors import ConfigError
from grpo_launch.rollout.tasks import Task, TaskFile, episodes

MESSAGES = [{"role": "user", "content": "a"}]


def test_tasks_are_found_by_number(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    rows = [{"messages": MESSAGES}, {"id": "ü", "seed": 3}, {"id": 7, "env_config": {"seed": 1}}]
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(text)  # no new line at the end
    tasks = TaskFile(path)
    assert [tasks[i].id for i in (2, 0, 1)] == ["7", "1", "ü"]
    assert [tasks[i].env_config for i in range(len(tasks))] == [{}, {"seed": 3}, {"seed": 1}]
    tasks.close()
    tasks = TaskFile(path, limit=2)
    assert len(tasks) == 2
    tasks.close()


def test_a_seed_of_the_configuration_wins() -> None:
    assert Task("a", {"seed": 3, "env_config": {"seed": 1}}).env_config == {"seed": 1}


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("", "has no tasks"),
        ("\n\n", "has no tasks"),
        ("{}\nx\n", "is not JSON"),
        ("{}\n[]\n", "is no object"),
        ('{}\n{"id": "1"}\n', "the id 1 stands twice"),
        ('{"env_config": 3}\n', "env_config is no object"),
        ('{"messages": "hi"}\n', "messages is no list of objects with role and content"),
        ('{"messages": [{"content": "hi"}]}\n', "messages is no list of objects with role"),
    ],
)
def test_what_is_no_task_is_named(lines: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    with pytest.raises(ConfigError, match="No such file"):
        TaskFile(path)
    path.write_text(lines)
    with pytest.raises(ConfigError) as error:
        TaskFile(path)
    assert what in error.value.what
    bad = 2 if lines.startswith("{}") else 1
    assert error.value.where == str(path) + (f":{bad}" if lines.strip() else "")


@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 3))
def test_each_task_has_its_samples_and_none_is_ahead(count: int, samples: int, seed: int) -> None:
    tasks = [Task(str(i), {}) for i in range(count)]
    order = list(episodes(tasks, samples, seed))
    assert [sample for _, sample in order] == [s for s in range(samples) for _ in tasks]
    assert sorted(order) == [(i, s) for i in range(count) for s in range(samples)]
    assert order == list(episodes(tasks, samples, seed))


def test_another_seed_is_another_order() -> None:
    tasks = [Task(str(i), {}) for i in range(20)]
    assert list(episodes(tasks, 1, 0)) != list(episodes(tasks, 1, 1))
