"""`scripts/train.sh` with a `swift` on PATH that records how it was started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "train.sh"

RECORDER = f"""\
#!{sys.executable} -S
import json, os, sys
with open(os.environ["RECORD"], "w") as file:
    json.dump([sys.argv, dict(os.environ)], file)
sys.exit(int(os.environ.get("STATUS", "0")))
"""


@dataclass
class Started:
    """How the script ended, and how it had started the command (None: it had not)."""

    status: int
    stderr: str
    argv: list[str] | None
    env: dict[str, str]


@dataclass
class Training:
    """A directory with a fake ``swift`` and an arguments file."""

    directory: Path

    def run(self, *command: str, **environ: str) -> Started:
        record = self.directory / "record.json"
        record.unlink(missing_ok=True)
        path = os.pathsep.join([str(self.directory / "bin"), "/usr/bin", "/bin"])
        done = subprocess.run(
            ["bash", str(SCRIPT), *command],
            cwd=self.directory,
            env={"PATH": path, "RECORD": str(record), **environ},
            capture_output=True,
            text=True,
            timeout=30,
        )
        argv, env = json.loads(record.read_text()) if record.exists() else (None, {})
        return Started(done.returncode, done.stderr, argv, env)


@pytest.fixture
def training(tmp_path: Path) -> Training:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    for name in ("swift", "my swift"):
        program = tmp_path / "bin" / name
        program.write_text(RECORDER)
        program.chmod(0o755)
    (tmp_path / "a.yaml").write_text("x: 1\n")
    return Training(tmp_path)


DEFAULTS = {
    "NCCL_ASYNC_ERROR_HANDLING": "1",
    "TORCH_NCCL_TRACE_BUFFER_SIZE": "67108864",
    "OMP_NUM_THREADS": "8",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
}


def test_the_defaults_reach_the_trainer(training: Training) -> None:
    started = training.run(config="a.yaml")
    assert started.status == 0
    assert started.argv is not None
    assert started.argv[1:] == ["rlhf", "a.yaml"]
    assert {name: started.env.get(name) for name in DEFAULTS} == DEFAULTS
    assert started.env["CUDA_VISIBLE_DEVICES"] == "0"
    assert not {"TORCH_DISTRIBUTED_DEBUG", "NCCL_DEBUG"} & set(started.env)


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("value", ["mine", ""])
def test_the_caller_wins_over_a_default(training: Training, name: str, value: str) -> None:
    assert training.run(config="a.yaml", **{name: value}).env[name] == value


@pytest.mark.parametrize(
    ("gpus", "visible", "processes"),
    [
        ("3", "3", None),
        ("6,7", "6,7", "2"),
        ("0,1,2,3", "0,1,2,3", "4"),
        ("GPU-a,GPU-b",) * 2 + ("2",),
        ("", "", None),
    ],
)
def test_one_process_a_gpu(
    training: Training, gpus: str, visible: str, processes: str | None
) -> None:
    started = training.run(config="a.yaml", gpus=gpus, CUDA_VISIBLE_DEVICES="9")
    assert started.status == 0
    assert started.env["CUDA_VISIBLE_DEVICES"] == visible
    assert started.env.get("NPROC_PER_NODE") == processes


@pytest.mark.parametrize("gpus", ["", "0", "0,1"])
def test_a_learner_gets_a_port_that_is_free(training: Training, gpus: str) -> None:
    """One process on a CPU makes a process group as well, on 29500 unless told."""
    port = training.run(config="a.yaml", gpus=gpus).env["MASTER_PORT"]
    assert 1024 <= int(port) <= 65535
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", int(port)))


def test_several_nodes_agree_on_a_port_themselves(training: Training) -> None:
    assert "MASTER_PORT" not in training.run(config="a.yaml", gpus="0,1", NNODES="2").env


@pytest.mark.parametrize("gpus", ["0", "0,1"])
def test_a_given_port_is_kept(training: Training, gpus: str) -> None:
    assert training.run(config="a.yaml", gpus=gpus, MASTER_PORT="2950").env["MASTER_PORT"] == "2950"


def test_an_empty_port_counts_as_not_given(training: Training) -> None:
    assert training.run(config="a.yaml", gpus="0,1", MASTER_PORT="").env["MASTER_PORT"].isdecimal()


def test_leftovers_of_a_torchrun_job_do_not_start_another(training: Training) -> None:
    started = training.run(config="a.yaml", NPROC_PER_NODE="8", NNODES="1")
    assert not {"NPROC_PER_NODE", "NNODES"} & set(started.env)


def test_one_gpu_on_each_of_several_nodes_is_a_torchrun_job(training: Training) -> None:
    started = training.run(config="a.yaml", NNODES="2")
    assert (started.env["NPROC_PER_NODE"], started.env["NNODES"]) == ("1", "2")


def test_debug_turns_on_the_logs_and_shows_commands(training: Training) -> None:
    started = training.run(config="a.yaml", debug="true")
    assert (started.env["TORCH_DISTRIBUTED_DEBUG"], started.env["NCCL_DEBUG"]) == ("DETAIL", "INFO")
    assert "+ exec swift rlhf a.yaml" in started.stderr
    quieter = training.run(config="a.yaml", debug="true", NCCL_DEBUG="WARN")
    assert quieter.env["NCCL_DEBUG"] == "WARN"


@pytest.mark.parametrize("debug", ["false", "", "1"])
def test_anything_but_true_is_no_debug(training: Training, debug: str) -> None:
    started = training.run(config="a.yaml", debug=debug)
    assert "NCCL_DEBUG" not in started.env
    assert started.stderr == ""


@pytest.mark.parametrize("environ", [{}, {"config": ""}], ids=["unset", "empty"])
def test_without_a_config_nothing_starts(training: Training, environ: dict[str, str]) -> None:
    started = training.run(**environ)
    assert started.status != 0
    assert started.argv is None
    assert "set config=ARGUMENTS_FILE" in started.stderr


def test_a_config_that_is_not_there_is_one_line_and_status_2(training: Training) -> None:
    started = training.run(config="nope.yaml")
    assert (started.status, started.argv) == (2, None)
    assert started.stderr == "error: nope.yaml: cannot be read, check config=\n"


def test_a_command_replaces_swift_and_keeps_its_arguments(training: Training) -> None:
    started = training.run("my swift", "-m", "a b", "", "$x", "it's", "*", config="a.yaml")
    assert started.argv is not None
    assert Path(started.argv[0]).name == "my swift"
    assert started.argv[1:] == ["-m", "a b", "", "$x", "it's", "*", "rlhf", "a.yaml"]


@pytest.mark.parametrize("name", ["with space.yaml", "it's.yaml", '"q" $x *.yaml', "-dash.yaml"])
def test_a_config_s_name_may_hold_anything(training: Training, name: str) -> None:
    (training.directory / name).write_text("x: 1\n")
    started = training.run(config=name)
    assert started.argv is not None
    assert started.argv[1:] == ["rlhf", name]


@pytest.mark.parametrize("status", [0, 1, 7, 130])
def test_the_trainer_s_status_is_passed_on(training: Training, status: int) -> None:
    assert training.run(config="a.yaml", STATUS=str(status)).status == status


def test_a_command_that_does_not_exist_fails(training: Training) -> None:
    started = training.run("no-such-command", config="a.yaml")
    assert started.status == 127
    assert "no-such-command" in started.stderr
