"""The real ms-swift and vLLM on the CPU, started, gated, trained and torn down by the launcher."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Finished, Project
from tests.engine.conftest import DEMO_STEPS, Elsewhere, Ran
from tests.engine.real import (
    ENGINE,
    MODEL,
    PYTHON,
    Swift,
    arguments,
    finish,
    kill_launcher_and_guard,
    nightly,
    no_weight_was_lost,
    ports,
    rows_of,
    run_directory,
    steps_of,
    wait_for_step,
)
from tests.tracking import offline

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def learned(stderr: str, steps: int) -> re.Match[str]:
    """The launcher's summary of a training that learned to answer in digits."""
    found = re.search(
        rf"^reward (\S+) -> (\S+) in {steps} steps, (?:\d+m)?\d+s, (.*)$", stderr, re.MULTILINE
    )
    assert found, stderr
    assert float(found[1]) < 0.2
    assert float(found[2]) > 0.8
    return found


def test_the_demo_learns(demo: Ran) -> None:
    assert demo.done.status == 0, demo.done.stderr
    assert learned(demo.done.stderr, DEMO_STEPS)[3] == str(demo.directory)
    assert [step.step for step in steps_of(demo.directory)] == list(range(1, DEMO_STEPS + 1))
    assert (demo.directory / "training.png").stat().st_size > 10_000
    no_weight_was_lost(demo.directory)
    assert demo.left_over == []


@nightly
def test_the_demo_as_it_is_shipped(elsewhere: Project) -> None:
    """40 steps, and nothing reported."""
    done = finish(elsewhere.start("role=both", "config=tiny_cpu", *arguments()))
    assert done.status == 0, done.stderr
    last = done.stderr.splitlines()[-1]
    run = run_directory(elsewhere)
    assert learned(last, 40)[3] == str(run.relative_to(elsewhere.directory))
    assert [step.step for step in steps_of(run)] == list(range(1, 41))
    assert elsewhere.left_over() == []


@nightly
def test_the_headline_experiment_runs_on_the_cpu(elsewhere: Project) -> None:
    done = finish(
        elsewhere.start("role=both", "config=summary_1024", "accelerator=cpu", *arguments())
    )
    assert done.status == 0, done.stderr
    the_headline_experiment_ran(run_directory(elsewhere))
    no_weight_was_lost(run_directory(elsewhere))
    assert elsewhere.left_over() == []


def the_headline_experiment_ran(run: Path) -> None:
    assert [step.step for step in steps_of(run)] == [1, 2, 3]
    assert "rewards/summary.attr_key_recall/mean" in rows_of(run)[0]


@pytest.fixture(scope="module")
def terminals(
    tmp_path_factory: pytest.TempPathFactory, caches: dict[str, str]
) -> Iterator[tuple[Project, Finished, Finished]]:
    """The headline experiment in two terminals, with a tracker that is turned off.

    Its project, what became of the learner, and of the server, interrupted after the learner's end.
    """
    project = Elsewhere(tmp_path_factory.mktemp("terminals"), 0, caches=caches)
    try:
        common = ["config=summary_1024", "accelerator=cpu", *arguments()]
        server = project.start("role=server", "run.dir=runs/server", *common)
        tracking = ["tracking=wandb", "tracking.wandb.mode=disabled"]
        learner = project.start("role=learner", "run.dir=runs/learner", *common, *tracking)
        done = finish(learner)
        assert server.poll() is None
        server.send_signal(signal.SIGINT)
        yield project, done, finish(server)
    finally:
        project.end_everything()


def test_two_terminals_run_the_headline_experiment(
    terminals: tuple[Project, Finished, Finished],
) -> None:
    project, learner, server = terminals
    assert learner.status == 0, learner.stderr
    assert " in 3 steps, " in learner.stderr.splitlines()[-1]
    assert server.status == 130, server.stderr
    the_headline_experiment_ran(project.directory / "runs" / "learner")
    no_weight_was_lost(project.directory / "runs" / "server")
    assert project.left_over() == []


def test_a_disabled_tracker_leaves_nothing(terminals: tuple[Project, Finished, Finished]) -> None:
    project, learner, _ = terminals
    assert learner.status == 0, learner.stderr
    run = project.directory / "runs" / "learner"
    learners = json.loads((run / "plan.json").read_text())["processes"][0]
    assert learners["env"]["WANDB_MODE"] == "disabled"
    assert offline.runs(run) == []


def test_two_servers_serve_one_learner(two_servers: Ran) -> None:
    run = two_servers.directory
    assert [step.step for step in steps_of(run)][:3] == [1, 2, 3]
    for name in ("server_0", "server_1"):
        log = (run / "logs" / f"{name}.log").read_text()
        assert log.count("POST /infer/") >= 4  # the gate's token, then a share of each step
        no_weight_was_lost(run, name)


def test_lora_adapters_reach_every_server(two_servers: Ran) -> None:
    run = two_servers.directory
    for name in ("server_0", "server_1"):
        log = (run / "logs" / f"{name}.log").read_text()
        assert 'POST /update_adapter_flattened_param/ HTTP/1.1" 200' in log
    assert any(run.glob("output/*/checkpoint-*/adapter_model.safetensors"))


def test_nothing_of_a_real_run_outlives_its_launcher_and_a_guard(two_servers: Ran) -> None:
    assert two_servers.left_over == []
    assert json.loads((two_servers.directory / "run.json").read_text())["state"] == "lost"


@nightly
def test_nothing_outlives_its_launcher_and_a_guard_with_a_cgroup(elsewhere: Project) -> None:
    process = elsewhere.start("role=both", "config=tiny_cpu", "shutdown.cgroup=auto", *arguments())
    wait_for_step(process, 2)
    run = run_directory(elsewhere)
    kill_launcher_and_guard(elsewhere, process, run, "server")
    assert elsewhere.left_over() == []
    assert json.loads((run / "run.json").read_text())["state"] == "lost"


@nightly
def test_two_servers_to_the_end(elsewhere: Project) -> None:
    done = finish(
        elsewhere.start(
            "role=both", "config=tiny_cpu", f"runtime.path={ENGINE}",
            f"train.model.model={MODEL}", "train.training.max_steps=3",
            "train.rlhf.vllm_server_host=[127.0.0.1,127.0.0.1]", *ports(2),
        )
    )  # fmt: skip
    assert done.status == 0, done.stderr
    run = run_directory(elsewhere)
    assert [step.step for step in steps_of(run)] == [1, 2, 3]
    for name in ("server_0", "server_1"):
        assert f"{name}: ready after" in done.stderr
        assert (run / "logs" / f"{name}.log").read_text().count("POST /infer/") == 4
        no_weight_was_lost(run, name)
    assert elsewhere.left_over() == []


@nightly
def test_a_run_whose_engine_is_killed_goes_on_from_its_checkpoint(restarted: Ran) -> None:
    done, run = restarted.done, restarted.directory
    assert done.status == 0, done.stderr
    assert f"the engine died (VLLM::EngineCore, pid {restarted.killed})" in done.stderr
    first, second = json.loads((run / "run.json").read_text())["attempts"]
    assert first["resumed_from"] is None
    resumed = int(Path(second["resumed_from"]).name.removeprefix("checkpoint-"))
    assert resumed >= 8
    rewards = {step.step: step.reward for step in steps_of(run)}
    assert sorted(rewards) == list(range(1, 17))
    before, after = rewards[resumed], rewards[resumed + 1]
    assert before is not None
    assert after is not None
    assert abs(after - before) < 0.2  # the curve goes on, it does not begin again
    no_weight_was_lost(run)
    assert {path.name for path in run.glob("output/v0-*/checkpoint-*")} >= {
        "checkpoint-4", "checkpoint-8",
    }  # fmt: skip
    assert restarted.left_over == []


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["serve"], {}, "unknown subcommand 'serve'"),
        (["rlhf", "missing.yaml"], {}, "missing.yaml"),
        (["rollout"], {"VLLM_PLUGINS": "another"}, "VLLM_PLUGINS"),
    ],
)
def test_the_cpu_engine_says_what_is_wrong_in_one_line(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [str(PYTHON), "-m", "grpo_cpu_engine", *arguments],
        cwd=tmp_path, env={**os.environ, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_tiny_model_is_the_same_every_time(tmp_path: Path, swift: Swift) -> None:
    made = swift.run([str(ROOT / "scripts" / "make_tiny_model.py"), str(tmp_path / "model")])
    assert made.returncode == 0, made.stderr
    for file in sorted(MODEL.iterdir()):
        assert (tmp_path / "model" / file.name).read_bytes() == file.read_bytes(), file.name
    kept = ROOT / "tests" / "validate" / "models" / "tiny-qwen2" / "config.json"
    assert kept.read_text() == (MODEL / "config.json").read_text()
