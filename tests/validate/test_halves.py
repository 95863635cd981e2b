"""One half here, the other on another machine: what is not of this machine is not judged."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from grpo_launch import plan
from grpo_launch.base.host import Host
from grpo_launch.checks import gather
from grpo_launch.checks.examine import validate
from grpo_launch.config.compose import compose
from grpo_launch.config.endpoint import url
from grpo_launch.config.facts import Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.problem import Severity
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


@pytest.mark.parametrize("role", ["server", "learner", "both"])
def test_a_host_has_no_brackets(role: str) -> None:
    place = "command line: train.rlhf.vllm_server_host"
    assert found(role, host("[::1]")) == [f"{place}: [::1] is a host of a URL, write it as ::1"]


def test_the_address_of_a_url_stands_in_brackets() -> None:
    assert url("::1", 8000) == "http://[::1]:8000"
    assert url("node7", 8000) == "http://node7:8000"
    config = compose("x", ["role=learner", "runtime=current", host("::1")])
    made = planner.build(config, devices.assign(config, VISIBLE), (plan.LEARNER,), "r", Path("/p"))
    assert [gate.url for gate in made.gates] == ["http://[::1]:8000"]


# This machine by its own name and addresses

OWN = [socket.gethostname(), "127.0.0.2", "127.0.0.1", "::1", "127.2"]
"""Where the last leads only the resolver knows, as of an alias."""

OTHERS = ["node-of-somebody-else", "192.0.2.7", "0.0.0.0", "0", "::", "2001:db8::1", ""]


@pytest.mark.parametrize("name", OWN)
def test_a_machine_knows_its_own_names(name: str) -> None:
    assert Host.current().owns(name)


@pytest.mark.parametrize("name", OTHERS)
def test_and_not_those_of_others(name: str) -> None:
    assert not Host.current().owns(name)


def test_a_learner_leaves_the_devices_of_a_server_on_its_own_machine() -> None:
    elsewhere = compose("x", ["role=learner", "runtime=current", host("node7")])
    here = replace(elsewhere, own_hosts=frozenset({"node7"}))
    assert [*devices.assign(elsewhere, VISIBLE).learner] == ["0", "1"]
    assert [*devices.assign(here, VISIBLE).learner] == ["1"]


def test_a_server_on_its_own_name_is_open_to_others() -> None:
    config = compose("x", ["role=both", "runtime=current", host("node7")])
    (refused,) = validate(config)
    assert "is not this machine" in refused.what
    (warned,) = validate(replace(config, own_hosts=frozenset({"node7"})))
    assert "the server listens on node7, anyone who can reach it can use it" in str(warned)


def test_of_several_servers_only_those_here_take_devices() -> None:
    two = ["train.rlhf.vllm_server_host=[127.0.0.1,node7]", "train.rlhf.vllm_server_port=[1,2]"]
    config = compose("x", ["role=learner", "runtime=current", *two, "gpus.server=[0]"])
    assert validate(config) == []


# One half alone

BARE = "model: {model: some/model}\n"


def test_a_server_needs_nothing_of_the_learner() -> None:
    Path("x.yaml").write_text(BARE)
    assert found("server") == []
    assert len(found("both")) == 2


def test_a_server_that_plays_needs_no_rows() -> None:
    Path("x.yaml").write_text(BARE)
    played = ("multi_turn_scheduler=gym_scheduler", "gym_env=math_env", "use_gym_env=true")
    assert found("server", *(f"rollout_server.{item}" for item in played)) == []


@pytest.mark.parametrize("role", ["both", "server", "learner"])
def test_a_part_is_for_the_role_that_checks(role: str) -> None:
    (refused,) = found(role, "part=learner")
    assert refused == "command line: part: is for role=check, write role=learner instead"


# More devices than TP x DP

WIDE = ("gpus.server=[0,1]", "gpus.learner=[2]")
IDLE = "lists 2 devices (0, 1), but TP x DP is 1 x 1"


def test_devices_that_stay_idle_are_a_warning() -> None:
    (idle,) = validate(compose("x", ["role=both", "runtime=current", *WIDE]))
    assert idle.what.startswith(IDLE)
    assert idle.severity is Severity.WARNING


def test_but_an_error_where_the_block_of_the_contract_says_the_sizes() -> None:
    sizes = "{vllm_tensor_parallel_size: 1, vllm_data_parallel_size: 1, vllm_max_model_len: null}"
    Path("x.yaml").write_text(EXPERIMENT + f"custom: {{extra: {{rollout_server: {sizes}}}}}\n")
    (wrong,) = validate(compose("x", ["role=both", "runtime=current", *WIDE]))
    assert wrong.what.startswith(IDLE)
    assert wrong.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("model: {model: some/model}\n", []),
        ("model: some/model\nrollout_server: {vllm_max_model_len: 512}\n", []),
        ("model: some/model\nrlhf_type: grpo\nreward_weights: [1, 2]\nnum_generations: 7\n", []),
        ("model: {model: a/b}\nrollout_server: {enable_thinking: true}\n", []),
        (
            "model: {model: a/b}\ngpus: {server: [0], learner: [0]}\n",
            [
                (
                    "error: x.yaml: gpus.learner: shares device 0 with gpus.server, "
                    "give server and learner their own devices"
                )
            ],
        ),
    ],
)
def test_a_server_alone_needs_nothing_of_a_learner(text: str, wanted: list[str]) -> None:
    Path("x.yaml").write_text(text)
    config = compose("x.yaml", ["role=server", "runtime=current"])
    split = devices.assign(config, VISIBLE)
    problems = validate(config, Facts.of(*gather.of_devices(split)))
    assert [f"{problem.severity.value}: {problem}" for problem in problems] == wanted


def test_a_learner_that_lists_its_devices_needs_none_for_the_server_of_another_terminal() -> None:
    config = compose("x", ["role=learner", "runtime=current", "gpus.learner=[0,1]"])
    assert validate(config) == []
    split = devices.assign(config, VISIBLE)
    assert ([*split.server], [*split.learner]) == ([], ["0", "1"])
