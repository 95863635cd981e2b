"""What is read from the logs and checkpoints of five programs, as their experiments declare them.

The samples are as the programs write them: transformers' ``ProgressCallback`` (5.x, numbers as
texts), verl's logger ``file``, Tunix with a metrics backend that writes one scalar a line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.learners.command import declared
from grpo_launch.learners.command.declared import Declared
from grpo_launch.runs import checkpoints, plans
from grpo_launch.runs.metrics import History, MetricsFollower, Step
from tests.conftest import Project

FORMATS = Path(__file__).with_name("formats")


@dataclass(frozen=True)
class Sample:
    """What one of the programs leaves.

    Attributes:
        files: text by path below the output directory; ``LOG`` is its own log.
        steps: step, number of steps, reward, loss, length, seconds.
        complete: the steps of the complete checkpoints.
        torn: names of the others, and a word of why.
        resume: how it goes on.
        later: what it writes next, by path, and the step that this is.
    """

    files: dict[str, str]
    steps: list[tuple[Any, ...]]
    complete: list[int]
    resume: str
    torn: dict[str, str] = field(default_factory=dict)
    later: dict[str, str] = field(default_factory=dict)
    then: tuple[Any, ...] = ()


LOG = "LOG"


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def bar(step: int, logged: str) -> str:
    """A bar of tqdm that is taken away for a line, as ``tqdm.write`` does it."""
    drawn = f"  {step}%|▎         | {step}/40 [00:0{step}<02:41,  1.66s/it]"
    return f"\r{drawn}\r{' ' * 60}\r{logged}\n"


SAMPLES = {
    "swift": Sample(
        files={
            "v0-now/logging.jsonl": lines(
                {
                    "global_step/max_steps": "1/40",
                    "loss": 0.1,
                    "reward": 0.5,
                    "completions/mean_length": 16.0,
                    "step_time": 2.5,
                },
                {"global_step/max_steps": "2/40", "reward": 0.75, "step_time": 2.0},
                {"train_runtime": 9.0, "global_step/max_steps": "2/40"},
            ),
            "v0-now/checkpoint-2/trainer_state.json": '{"global_step": 2}',
            "v0-now/checkpoint-4/model.safetensors": "",
        },
        steps=[(1, 40, 0.5, None, 16.0, 2.5), (2, 40, 0.75, None, None, 2.0)],
        complete=[2],
        torn={"checkpoint-4": "trainer_state.json is missing"},
        resume="argument",
        later={"v0-now/logging.jsonl": lines({"global_step/max_steps": "3/40", "reward": 1.0})},
        then=(3, 40, 1.0, None, None, None),
    ),
    "trl": Sample(
        files={
            LOG: "loading\n"
            + bar(1, "{'loss': '0.0123', 'reward': '0.5', 'completions/mean_length': '16'}")
            + bar(2, "{'loss': '-1e-05', 'reward': '0.75', 'step_time': '2.5', 'epoch': '0.02'}")
            + "\r  3%|▎         | 3/40 [00:05<02:41,  1.66s/it]",
            "checkpoint-2/trainer_state.json": '{"global_step": 2}',
            "checkpoint-4/optimizer.pt": "",
        },
        steps=[(1, 40, 0.5, 0.0123, 16.0, None), (2, 40, 0.75, -1e-05, None, 2.5)],
        complete=[2],
        torn={"checkpoint-4": "trainer_state.json is missing"},
        resume="argument",
        later={LOG: f"\r{' ' * 60}\r{{'loss': '0.1', 'reward': '1'}}\n"},
        then=(3, 40, 1.0, 0.1, None, None),
    ),
    "verl": Sample(
        files={
            "steps.jsonl": lines(
                {"step": 1, "data": {"critic/rewards/mean": 0.5, "timing_s/step": 12.0}},
                {"step": 1, "data": {"val-core/gsm8k/acc/mean@1": 0.1}},
                {"step": 2, "data": {"critic/rewards/mean": 0.75, "response_length/mean": 90}},
            ),
            "global_step_2/actor/model.pt": "",
            "global_step_4/actor/model.pt": "",
            "latest_checkpointed_iteration.txt": "2",
        },
        steps=[(1, 40, 0.5, None, None, 12.0), (2, 40, 0.75, None, 90.0, None)],
        complete=[2],
        torn={"global_step_4": "says that step 2 is the newest"},
        resume="directory",
        later={"steps.jsonl": lines({"step": 3, "data": {"critic/rewards/mean": 1.0}})},
        then=(3, 40, 1.0, None, None, None),
    ),
    "tunix": Sample(
        files={
            "scalars.jsonl": lines(
                {"event": "/jax/core/compile", "value": 1.0, "fun_name": "f"},
                {"event": "rewards/train/mean", "value": 0.5, "step": 0},
                {"event": "completions/train/mean_length", "value": 16, "step": 0},
                {"event": "actor/train/loss", "value": 0.1, "step": 1},
                {"event": "rewards/train/mean", "value": 0.75, "step": 1},
                {"event": "actor/train/loss", "value": -0.2, "step": 2},
                {"event": "actor/train/grad_norm", "value": 3.0, "step": 2},
            ),
            "actor/1/commit_success.txt": "",
            "actor/2/commit_success.txt": "",
            "actor/3.orbax-checkpoint-tmp/model_params/x": "",
            "actor/4/model_params/x": "",
        },
        steps=[(1, 40, 0.5, 0.1, 16.0, None), (2, 40, 0.75, -0.2, None, None)],
        complete=[1, 2],
        torn={
            "3.orbax-checkpoint-tmp": "not written to its end",
            "4": "commit_success.txt is missing",
        },
        resume="directory",
        later={"scalars.jsonl": lines({"event": "rewards/train/mean", "value": 1.0, "step": 2})},
        then=(3, 40, 1.0, None, None, None),
    ),
    "mllm_jax": Sample(
        files={
            LOG: "backend=tpu process=0/4\ndevice_count=16 local_device_count=4\n"
            "step=0 loss=0.012345 entropy=0.1234 reward_mean=0.5000 dt=13.52s\n"
            "eval_full split=test accuracy=0.4\n"
            "step=1 loss=-0.5 entropy=0.1 reward_mean=0.7500 dt=3.00s rollout=1.2s "
            "update=0.5s completion_len_mean=88.5\n",
        },
        steps=[(1, 40, 0.5, 0.012345, None, 13.52), (2, 40, 0.75, -0.5, 88.5, 3.0)],
        complete=[],
        resume="none",
        later={LOG: "step=2 loss=0.1 entropy=0.1 reward_mean=1.0 dt=2s\n"},
        then=(3, 40, 1.0, 0.1, None, 2.0),
    ),
}


def read(name: str) -> Declared:
    said = yaml.safe_load((FORMATS / f"{name}.yaml").read_text())
    found = declared.read({key: said[key] for key in declared.KEYS if key in said})
    assert found.faults == ()
    return found


def leave(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / ("learner.log" if name == LOG else f"output/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)


def numbers(steps: list[Step]) -> list[tuple[Any, ...]]:
    return [
        (s.step, s.max_steps, s.reward, s.loss, s.completion_length, s.step_time) for s in steps
    ]


@pytest.fixture(params=sorted(SAMPLES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def history(directory: Path, found: Declared) -> History:
    return History(directory / "output", found.metrics, own=[directory / "learner.log"])


def follower(directory: Path, found: Declared) -> MetricsFollower:
    return MetricsFollower(directory / "output", found.metrics, directory / "learner.log")


def test_the_steps_of_a_run_are_read_afterwards(tmp_path: Path, name: str) -> None:
    leave(tmp_path, SAMPLES[name].files)
    assert numbers(history(tmp_path, read(name)).steps()) == SAMPLES[name].steps


@pytest.mark.parametrize("how", [history, follower])
def test_the_steps_of_a_run_are_read_while_it_goes_on(
    tmp_path: Path, name: str, how: Callable[[Path, Declared], History | MetricsFollower]
) -> None:
    sample, looks = SAMPLES[name], how(tmp_path, read(name))

    def seen() -> list[Step]:
        if isinstance(looks, History):
            return looks.steps()
        looks.poll()
        return looks.steps

    assert seen() == []
    leave(tmp_path, sample.files)
    assert numbers(seen()) == sample.steps
    leave(tmp_path, sample.later)
    assert numbers(seen()) == [*sample.steps, sample.then]
    assert [step.begins for step in seen()] == [True, *[False] * len(sample.steps)]


def test_a_line_at_a_time_gives_the_same(tmp_path: Path, name: str) -> None:
    """However the lines of one step come."""
    sample, looks = SAMPLES[name], follower(tmp_path, read(name))
    for path, text in sample.files.items():
        for line in text.splitlines(keepends=True) if path.endswith(("l", LOG)) else ():
            leave(tmp_path, {path: line})
            looks.poll()
    assert numbers(looks.steps) == sample.steps


def test_complete_checkpoints_are_told_from_torn_ones(tmp_path: Path, name: str) -> None:
    leave(tmp_path, SAMPLES[name].files)
    layout, sample = read(name).checkpoints, SAMPLES[name]
    assert (layout is None) is (name == "mllm_jax")
    found = checkpoints.every(tmp_path / "output", layout)
    assert [checkpoint.step for checkpoint in found] == sample.complete
    if layout is not None:
        torn = {
            path.name: fault
            for path in checkpoints.candidates(tmp_path / "output", layout)
            if (fault := checkpoints.fault(path, layout)) is not None
        }
        assert torn.keys() == sample.torn.keys()
        assert all(sample.torn[path] in fault for path, fault in torn.items()), torn
        newest = found[-1].path
        below = 2 if name == "swift" else 1
        assert checkpoints.is_named(newest, layout)
        assert not checkpoints.is_named(newest.with_name("other"), layout)
        assert checkpoints.root(newest, layout) == (
            newest.parents[1] if below == 2 or name == "tunix" else newest.parent
        )


def test_its_experiment_is_planned(project: Project, name: str) -> None:
    choice = ("accelerator=cpu_native", "runtime=current", "preflight=false")
    done = project.run("role=learner", f"config={FORMATS / name}.yaml", *choice, "dry_run=json")
    assert (done.status, done.stderr) == (0, "")
    plan, notes = plans.parse(done.stdout)
    assert notes == ()
    assert (plan.metrics, plan.checkpoints) == (read(name).metrics, read(name).checkpoints)
    assert plan.recovery.resuming is not None
    assert plan.recovery.resuming.by == SAMPLES[name].resume
    assert not any("{" in word for spec in plan.team for word in spec.argv)


def test_a_start_from_an_earlier_checkpoint_takes_steps_back(tmp_path: Path) -> None:
    """In the same file, whose lines of one step are merged."""
    leave(tmp_path, SAMPLES["tunix"].files)
    seen = history(tmp_path, read("tunix"))
    assert [step.step for step in seen.steps()] == [1, 2]
    again = {"event": "rewards/train/mean", "value": 0.6, "step": 0}
    leave(tmp_path, {"scalars.jsonl": lines(again)})
    assert [(step.step, step.reward) for step in seen.steps()] == [(1, 0.6)]
