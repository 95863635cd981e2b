"""What nobody needs to say: server mode, the server's sizes and its port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch import plan
from grpo_launch.checks.examine import require_valid
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.planning import devices, planner

CWD = Path("/project")
LEGACY = """\
model: {model: some/model}
data: {dataset: [d.jsonl]}
training: {per_device_train_batch_size: 4, max_steps: 1}
rlhf: {num_generations: 4, reward_funcs: [accuracy]}
"""
NATIVE = "# @package _global_\ntrain:\n" + "".join(f"  {line}\n" for line in LEGACY.splitlines())
NULL = """\
custom:
  extra:
    rollout_server:
      {vllm_tensor_parallel_size: null, vllm_data_parallel_size: null, vllm_max_model_len: null}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def planned(text: str, *overrides: str) -> plan.LaunchPlan:
    """The plan of both halves, on a machine with two GPUs."""
    Path("x.yaml").write_text(text)
    config = compose("x", ["role=both", "runtime=current", *overrides])
    require_valid(config)
    split = devices.assign(config, ["0", "1"])
    return planner.build(config, split, (plan.SERVER, plan.LEARNER), "r", CWD)


def told(made: plan.LaunchPlan) -> dict[str, Any]:
    """What the learner is told of the servers."""
    arguments = yaml.safe_load(made.files[0].text)
    return {k: v for k, v in arguments.items() if k == "use_vllm" or k.startswith("vllm_")}


@pytest.mark.parametrize("text", [LEGACY, NATIVE, LEGACY + NULL], ids=["legacy", "native", "null"])
def test_server_mode_needs_no_saying(text: str) -> None:
    made = planned(text)
    server, learner = made.processes
    assert server.argv == (
        *("swift", "rollout", "--model", "some/model", "--host", "127.0.0.1", "--port", "8000"),
    )
    assert (server.devices, learner.devices) == (("0",), ("1",))
    assert told(made) == {
        "use_vllm": True,
        "vllm_mode": "server",
        "vllm_server_host": ["127.0.0.1"],
        "vllm_server_port": [8000],
    }
    (gate,) = made.gates
    assert (gate.url, gate.checks[1].value) == ("http://127.0.0.1:8000", 1)


def test_what_is_said_is_kept() -> None:
    made = planned(LEGACY, "train.rlhf.vllm_server_port=[9000]", "train.rlhf.use_vllm=true")
    assert told(made) == {
        "use_vllm": True,
        "vllm_mode": "server",
        "vllm_server_host": ["127.0.0.1"],
        "vllm_server_port": [9000],
    }
    assert made.services[0].argv[-2:] == ("--port", "9000")


def test_a_port_in_another_section_is_the_port() -> None:
    made = planned(LEGACY.replace("max_steps: 1", "max_steps: 1, vllm_server_port: [9000]"))
    assert made.services[0].argv[-2:] == ("--port", "9000")
    assert told(made)["vllm_server_port"] == [9000]
