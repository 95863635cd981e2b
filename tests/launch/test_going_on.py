"""Where a loop goes on, and what it does not go on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import PreflightError
from grpo_launch.plan import COLLECT
from grpo_launch.planning import devices, loop
from grpo_launch.runs import loop_state, plans
from grpo_launch.runs.loop_state import LoopState
from grpo_launch.settle import going_on
from tests.composed import shipped


def configured(*words: str, model: str = "base") -> LaunchConfig:
    served = (f"train.model_name_or_path={model}", f"rollout_server.model={model}")
    return shipped("webagent", ["loop.dir=here", *served, *words])


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """With two models, and a loop that has collected with the first of them."""
    for name in ("base", "other", "here"):
        (tmp_path / name).mkdir()
    config = configured("role=loop")
    split = devices.assign(config, [str(i) for i in range(8)])
    text = loop.build(config, split, "here", tmp_path).to_json()
    (tmp_path / "here" / plans.NAME).write_text(text)
    loop_state.write(tmp_path / "here", LoopState(done=(COLLECT,)))
    return tmp_path


@pytest.mark.costly
@pytest.mark.parametrize("role", ["loop", "rollout", "update"])
def test_a_loop_does_not_go_on_from_another_model(cwd: Path, role: str) -> None:
    assert going_on.directory(configured(f"role={role}"), cwd) == cwd / "here"
    with pytest.raises(PreflightError) as error:
        going_on.directory(configured(f"role={role}", model="other"), cwd)
    assert error.value.where == "command line: train.model_name_or_path"
    assert f"is {cwd}/other" in error.value.what
    assert f"began with {cwd}/base" in error.value.what


def test_a_model_may_be_moved(cwd: Path) -> None:
    (cwd / "base").rename(cwd / "moved")
    assert going_on.directory(configured("role=loop", model="moved"), cwd) == cwd / "here"


def test_a_model_may_be_corrected_before_anything_was_done_with_it(cwd: Path) -> None:
    loop_state.write(cwd / "here", LoopState())
    assert going_on.directory(configured("role=loop", model="other"), cwd) == cwd / "here"


def test_an_update_needs_a_loop(cwd: Path) -> None:
    config = configured("role=update", "loop.dir=nowhere")
    with pytest.raises(PreflightError, match="nowhere holds no loop, say role=rollout first"):
        going_on.directory(config, cwd)


def test_what_is_to_go_on_has_to_be_there(cwd: Path) -> None:
    assert going_on.directory(configured("role=loop", "loop.dir=nowhere"), cwd) is None
    config = configured("role=loop", "loop.dir=nowhere", "resume=latest")
    with pytest.raises(PreflightError, match="nowhere is not there to go on with"):
        going_on.directory(config, cwd)
