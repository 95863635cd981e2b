"""One half here, the other on another machine: what is not of this machine is not judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch import plan
from grpo_launch.checks.examine import validate
from grpo_launch.config.compose import compose
from grpo_launch.config.endpoint import url
from grpo_launch.config.hydra import lookup
from grpo_launch.planning import devices, planner

EXPERIMENT = """\
model: {model: some/model}
data: {dataset: [d.jsonl]}
training: {per_device_train_batch_size: 4, max_steps: 1}
rlhf: {num_generations: 4, reward_funcs: [accuracy]}
"""
VISIBLE = ["0", "1"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    Path("x.yaml").write_text(EXPERIMENT)


def found(role: str, *overrides: str) -> list[str]:
    config = compose("x", [f"role={role}", "runtime=current", *overrides])
    return [str(problem) for problem in validate(config)]


def host(name: str) -> str:
    return f"train.rlhf.vllm_server_host=['{name}']"


@pytest.mark.parametrize(
    ("name", "server", "learner"),
    [
        ("node7", [], ["0", "1"]),
        ("127.0.0.1", ["0"], ["1"]),
        ("localhost", ["0"], ["1"]),
        ("::1", ["0"], ["1"]),
    ],
)
def test_a_server_elsewhere_takes_no_device_here(
    name: str, server: list[str], learner: list[str]
) -> None:
    config = compose("x", ["role=learner", "runtime=current", host(name)])
    assert validate(config) == []
    split = devices.assign(config, VISIBLE)
    assert ([*split.server], [*split.learner]) == (server, learner)


SAID = ("gpus.server=[0]", "gpus.learner=[0,1]", "rollout_server.vllm_tensor_parallel_size=8")


def test_what_a_file_says_of_the_devices_elsewhere_is_not_judged() -> None:
    assert found("learner", host("node7"), *SAID) == []
    here = found("learner", host("127.0.0.1"), *SAID)
    assert [line.partition(": ")[2].split(",")[0] for line in here] == [
        "gpus.server: lists 1 device (0)",
        "gpus.learner: shares device 0 with gpus.server",
    ]


LISTENS = "is an address to listen on (all of a machine), not one to connect to"


@pytest.mark.parametrize("name", ["0.0.0.0", "::"])
def test_nobody_connects_to_every_address(name: str) -> None:
    place = "command line: train.rlhf.vllm_server_host"
    assert found("learner", host(name)) == [
        f"{place}: {name} {LISTENS}, name the server's machine, or set it to [127.0.0.1]"
    ]
    assert found("both", host(name)) == [f"{place}: {name} {LISTENS}, set it to [127.0.0.1]"]
    (warning,) = found("server", host(name))
    assert f"the server listens on {name}, anyone who can reach it can use it" in warning


def test_the_address_of_a_url_stands_in_brackets() -> None:
    assert url("::1", 8000) == "http://[::1]:8000"
    assert url("node7", 8000) == "http://node7:8000"
    config = compose("x", ["role=learner", "runtime=current", host("::1")])
    made = planner.build(config, devices.assign(config, VISIBLE), (plan.LEARNER,), "r", Path("/p"))
    assert [gate.url for gate in made.gates] == ["http://[::1]:8000"]
