"""How a restart tells the learner where to go on: lines of its arguments file."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.execute import resume

NAMES = st.text(max_size=30)
FLAT = {"output_dir": "runs/x/output", "reward_funcs": ["a", "b"], "note": "resume_from: none"}


def dump(values: object) -> str:
    """As the planner does."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=10_000)


def going_on(text: str, path: str) -> str:
    return resume.with_argument(text, "resume_from_checkpoint", path)


@given(NAMES)
def test_any_path_arrives_and_nothing_else_changes(path: str) -> None:
    text = going_on(dump(FLAT), path)
    assert yaml.safe_load(text) == {**FLAT, "resume_from_checkpoint": path}


@given(NAMES, NAMES)
def test_the_last_word_counts(first: str, second: str) -> None:
    text = going_on(going_on(dump(FLAT), first), second)
    text = resume.with_argument(text, "output_dir", "elsewhere")
    wanted = {**FLAT, "output_dir": "elsewhere", "resume_from_checkpoint": second}
    assert yaml.safe_load(text) == wanted


def test_a_key_that_only_begins_the_same_stays() -> None:
    text = dump({"resume_from_checkpoint_strict": True, "resume_from_checkpoint": "old"})
    changed = yaml.safe_load(going_on(text, "new"))
    assert changed == {"resume_from_checkpoint_strict": True, "resume_from_checkpoint": "new"}
