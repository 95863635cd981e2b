"""The real ms-swift and vLLM on the CPU, started, gated, trained and torn down by the launcher."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpo_launch.runs.metrics import Step, parse
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


def steps_of(run: Path) -> list[Step]:
    """Every logged step, the oldest start of the learner first."""
    logs = sorted((run / "output").glob("v*/logging.jsonl"))
    lines = [line for log in logs for line in log.read_bytes().splitlines()]
    return [step for line in lines if (step := parse(line)) is not None]


def wait_for_step(process: subprocess.Popen[str], number: int) -> None:
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if (found := re.match(r"step (\d+)/", line)) and int(found[1]) >= number:
            return
    raise AssertionError(seen)


def titled(title: str, of: Project) -> list[int]:
    """Processes of the project with that title, as vLLM gives them."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in of.left_over()}
    return [pid for pid, command in commands.items() if command.startswith(title.encode())]


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
    assert [step.step for step in steps_of(run)] == list(range(1, 41))
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
    assert [step.step for step in steps_of(run)] == [1, 2, 3]
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


def test_two_servers_serve_one_learner(elsewhere: Project) -> None:
    ports, group_ports = [free_port(), free_port()], [free_port(), free_port()]
    said = [
        "train.rlhf.vllm_server_host=[127.0.0.1,127.0.0.1]",
        f"train.rlhf.vllm_server_port={ports}",
        f"train.rlhf.vllm_server_group_port={group_ports}",
    ]
    done = finish(
        elsewhere.start(
            "role=both", "config=tiny_cpu", f"runtime.path={ENGINE}",
            f"train.model.model={MODEL}", "train.training.max_steps=3", *said,
        )
    )  # fmt: skip
    assert done.status == 0, done.stderr
    run = run_directory(elsewhere)
    assert [step.step for step in steps_of(run)] == [1, 2, 3]
    for name in ("server_0", "server_1"):
        assert f"{name}: ready after" in done.stderr
        log = (run / "logs" / f"{name}.log").read_text()
        assert log.count("POST /infer/") == 4  # the gate's token, then a share of each step
        assert "Method execution failed" not in log
    assert elsewhere.left_over() == []


def test_nothing_of_a_real_run_outlives_a_sigterm(elsewhere: Project) -> None:
    process = elsewhere.start("role=both", "config=tiny_cpu", *arguments(elsewhere))
    wait_for_step(process, 1)
    # Launcher, two guards, API server, engine core, worker, learner.
    assert len(elsewhere.left_over()) >= 7
    process.send_signal(signal.SIGTERM)
    assert finish(process).status == 143
    assert elsewhere.left_over() == []


@pytest.mark.parametrize("cgroup", ["auto", "off"])
def test_nothing_of_a_real_run_outlives_its_launcher_and_a_guard(
    elsewhere: Project, cgroup: str
) -> None:
    process = elsewhere.start(
        "role=both", "config=tiny_cpu", f"shutdown.cgroup={cgroup}", *arguments(elsewhere)
    )
    wait_for_step(process, 2)
    run = run_directory(elsewhere)
    record = json.loads((run / "run.json").read_text())
    guard = record["processes"]["server"]["guard"]["pid"]
    watched = [os.pidfd_open(pid) for pid in elsewhere.left_over()]
    os.kill(process.pid, signal.SIGKILL)
    os.kill(guard, signal.SIGKILL)
    for pidfd in watched:
        assert select.select([pidfd], [], [], 60)[0]
        os.close(pidfd)
    assert elsewhere.left_over() == []
    assert json.loads((run / "run.json").read_text())["state"] == "lost"


def test_a_run_whose_engine_is_killed_goes_on_from_its_checkpoint(elsewhere: Project) -> None:
    process = elsewhere.start(
        "role=both", "config=tiny_cpu", "on_failure=restart", "restart.backoff_s=1",
        "train.training.max_steps=16", "train.training.save_steps=4",
        *arguments(elsewhere),
    )  # fmt: skip
    wait_for_step(process, 9)
    (engine,) = titled("VLLM::EngineCore", elsewhere)
    os.kill(engine, signal.SIGKILL)
    done = finish(process)
    assert done.status == 0, done.stderr
    assert f"the engine died (VLLM::EngineCore, pid {engine})" in done.stderr
    run = run_directory(elsewhere)
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
