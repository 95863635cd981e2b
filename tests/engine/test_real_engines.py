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

from grpo_launch.runs.metrics import MetricsFollower
from tests.conftest import MARK, ROOT, Finished, Project, free_port

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ENGINE = ROOT / ".venv-engine"
MODEL = ROOT / "models" / "tiny-qwen2"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Project]:
    """A directory with nothing in it: experiments, data and plugins come with the launcher."""
    made = Project(tmp_path, free_port())
    yield made
    made.end_everything()


def arguments(project: Project, *overrides: str) -> list[str]:
    return [
        f"runtime.path={ENGINE}",
        f"train.model.model={MODEL}",
        f"train.rlhf.vllm_server_port=[{project.port}]",
        f"train.rlhf.vllm_server_group_port=[{free_port()}]".replace("train", "+train", 1),
        *overrides,
    ]


def finish(process: subprocess.Popen[str]) -> Finished:
    stdout, stderr = process.communicate(timeout=570)
    return Finished(process.returncode, stdout, stderr)


def run_directory(project: Project) -> Path:
    return (project.directory / "runs" / "latest").resolve()


def no_weight_was_lost(run: Path) -> None:
    """ms-swift answers 200 to a weight update that failed; only its log says so."""
    assert "Method execution failed" not in (run / "logs" / "server.log").read_text()


def test_the_demo_learns(tmp_path: Path) -> None:
    environ = {**os.environ, MARK: str(tmp_path)}
    run = tmp_path / "run"
    done = subprocess.run(
        ["bash", "scripts/demo.sh", f"run.dir={run}",
         f"train.rlhf.vllm_server_port=[{free_port()}]",
         f"+train.rlhf.vllm_server_group_port=[{free_port()}]"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=570, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = done.stderr.splitlines()[-1]
    found = re.fullmatch(r"reward (\S+) -> (\S+) in 40 steps, (\d+m)?\d+s, (.*)", last)
    assert found, last
    assert float(found[1]) < 0.2
    assert float(found[2]) > 0.8
    assert found[4] == str(run)
    metrics = MetricsFollower(run / "output", since=0)
    assert [step.step for step in metrics.poll()] == list(range(1, 41))
    assert (run / "training.png").stat().st_size > 10_000
    no_weight_was_lost(run)
    assert Project(tmp_path, 0, mark=str(tmp_path)).left_over() == []


def test_the_headline_experiment_runs_on_the_cpu(elsewhere: Project) -> None:
    done = finish(
        elsewhere.start(
            "role=both", "config=summary_1024", "accelerator=cpu", *arguments(elsewhere)
        )
    )
    assert done.status == 0, done.stderr
    run = run_directory(elsewhere)
    metrics = MetricsFollower(run / "output", since=0)
    assert [step.step for step in metrics.poll()] == [1, 2, 3]
    row = json.loads(next(iter(run.glob("output/*/logging.jsonl"))).read_text().splitlines()[0])
    assert "rewards/summary.attr_key_recall/mean" in row
    no_weight_was_lost(run)
    assert elsewhere.left_over() == []


def test_two_terminals(elsewhere: Project) -> None:
    common = ["config=summary_1024", "accelerator=cpu", *arguments(elsewhere)]
    server = elsewhere.start("role=server", *common)
    done = finish(elsewhere.start("role=learner", *common, "train.training.max_steps=2"))
    assert done.status == 0, done.stderr
    assert " in 2 steps, " in done.stderr.splitlines()[-1]
    assert server.poll() is None
    server.send_signal(signal.SIGINT)
    stopped = finish(server)
    assert stopped.status == 130
    assert elsewhere.left_over() == []


def test_nothing_of_a_real_run_outlives_a_sigterm(elsewhere: Project) -> None:
    process = elsewhere.start("role=both", "config=tiny_cpu", *arguments(elsewhere))
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step "):
            break
    assert len(elsewhere.left_over()) >= 5  # launcher, API server, engine core, worker, learner
    process.send_signal(signal.SIGTERM)
    assert finish(process).status == 143
    assert elsewhere.left_over() == []


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
        [str(ENGINE / "bin" / "python"), "-m", "grpo_cpu_engine", *arguments],
        cwd=tmp_path, env={**os.environ, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_tiny_model_is_the_same_every_time(tmp_path: Path) -> None:
    subprocess.run(
        [str(ENGINE / "bin" / "python"), "scripts/make_tiny_model.py", str(tmp_path / "model")],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    for file in sorted(MODEL.iterdir()):
        assert (tmp_path / "model" / file.name).read_bytes() == file.read_bytes(), file.name
    kept = ROOT / "tests" / "validate" / "models" / "tiny-qwen2" / "config.json"
    assert kept.read_text() == (MODEL / "config.json").read_text()
