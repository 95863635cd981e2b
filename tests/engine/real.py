"""What the tests of the real engines share."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.learners.swift.outputs import METRICS
from grpo_launch.runs.metrics import Step, parse
from tests.conftest import ROOT, Finished, Project
from tests.supervise.rig import quiet_port

ENGINE = ROOT / ".venv-engine"
PYTHON = ENGINE / "bin" / "python"
MODEL = ROOT / "models" / "tiny-qwen2"
FORKS = Path(__file__).with_name("swift_forks.py")

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}

HANABI = ["role=both", "config=hanabi", "accelerator=cpu"]
LORA = [
    "train.tuner.tuner_type=lora", "train.tuner.lora_rank=8", "train.tuner.lora_alpha=16",
    "train.tuner.target_modules=[all-linear]",
    "rollout_server.vllm_enable_lora=true", "rollout_server.vllm_max_lora_rank=8",
]  # fmt: skip

NIGHTLY = os.environ.get("GRPO_LAUNCH_NIGHTLY") == "1"
nightly = pytest.mark.skipif(
    not NIGHTLY,
    reason="a whole run of the engines more; scripts/test.sh --nightly runs it",
)


def quiet_ports(count: int) -> list[int]:
    """Different ports for servers, which bind them a minute from now."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(quiet_port())
    return sorted(ports)


def ports(servers: int = 1) -> list[str]:
    """The overrides that give each rollout server its ports."""
    chosen = quiet_ports(2 * servers)
    return [
        f"train.rlhf.vllm_server_port={chosen[::2]}",
        f"+train.rlhf.vllm_server_group_port={chosen[1::2]}",
    ]


def arguments(*overrides: str) -> list[str]:
    """The overrides of a run with one server, wherever the project is."""
    return [f"runtime.path={ENGINE}", f"train.model.model={MODEL}", *ports(), *overrides]


def finish(process: subprocess.Popen[str]) -> Finished:
    stdout, stderr = process.communicate(timeout=870)
    return Finished(process.returncode, stdout, stderr)


def run_directory(project: Project) -> Path:
    return (project.directory / "runs" / "latest").resolve()


def rows_of(run: Path) -> list[dict[str, Any]]:
    """Every line of the learner's log, the oldest start of the learner first."""
    logs = sorted((run / "output").glob("v*/logging.jsonl"))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


def steps_of(run: Path) -> list[Step]:
    """Every logged step, the oldest start of the learner first."""
    logs = sorted((run / "output").glob("v*/logging.jsonl"))
    lines = [line for log in logs for line in log.read_bytes().splitlines()]
    return [step for line in lines if (step := parse(line, METRICS)) is not None]


def wait_for_step(process: subprocess.Popen[str], number: int) -> None:
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if (found := re.match(r"step (\d+)/", line)) and int(found[1]) >= number:
            return
    raise AssertionError(seen)


def kill_launcher_and_guard(
    project: Project, process: subprocess.Popen[str], run: Path, server: str
) -> None:
    """Kill both, and wait until what they had started has ended."""
    record = json.loads((run / "run.json").read_text())
    guard = record["processes"][server]["guard"]["pid"]
    watched = [os.pidfd_open(pid) for pid in project.left_over()]
    os.kill(process.pid, signal.SIGKILL)
    os.kill(guard, signal.SIGKILL)
    for pidfd in watched:
        assert select.select([pidfd], [], [], 60)[0]
        os.close(pidfd)
    process.wait()


def titled(title: str, of: Project) -> list[int]:
    """Processes of the project with that title, as vLLM gives them."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in of.left_over()}
    return [pid for pid, command in commands.items() if command.startswith(title.encode())]


def no_weight_was_lost(run: Path, server: str = "server") -> None:
    """ms-swift answers 200 to a weight update that failed; only its log says so."""
    assert "Method execution failed" not in (run / "logs" / f"{server}.log").read_text()


class Swift:
    """An interpreter of the engine's environment that has imported ms-swift.

    Args:
        directory: for what its programs read and write.

    Attributes:
        seconds: what the import of its arguments took.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = open(directory / "log", "w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(PYTHON), str(FORKS)],
            cwd=directory,
            env={**os.environ, **OFFLINE, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._number = 0
        self.seconds: float = self._answer()["seconds"]

    def run(
        self, argv: list[str], stdin: str = "", cwd: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, ``["-c", CODE, ...]`` or ``[FILE, ...]``, in a fork."""
        self._number += 1
        files = {n: self._directory / f"{self._number}.{n}" for n in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(stdin)
        request = {
            "argv": argv,
            "cwd": str(cwd or self._directory),
            "environ": {**os.environ, **OFFLINE, "OMP_NUM_THREADS": "1", **environ},
            **{name: str(file) for name, file in files.items()},
        }
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        status = self._answer()["status"]
        return subprocess.CompletedProcess(
            argv, status, files["stdout"].read_text(), files["stderr"].read_text()
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, Path(self._log.name).read_text()[-3000:]
        return json.loads(line)
