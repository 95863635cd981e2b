"""Several rollout servers: hosts, ports, group ports and devices fit together."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch import plan
from grpo_launch.checks.examine import Severity, validate
from grpo_launch.config import endpoint
from grpo_launch.config.amend import amended
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.planning import devices, planner
from tests.validate.test_rules import GOOD, L, S

CWD = Path("/project")
HERE = "127.0.0.1"
SIZES = {"vllm_tensor_parallel_size": 2, "vllm_data_parallel_size": 1}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def experiment(*overrides: str, role: str = "both", **rlhf: Any) -> LaunchConfig:
    """An experiment with two servers on GPUs 0 to 3, each with TP = 2; 4 to 7 learn."""
    said = {"vllm_server_host": [HERE] * 2, "vllm_server_port": [8000, 8001], **rlhf}
    body = copy.deepcopy(GOOD)
    body["rlhf"].update(said)
    body["custom"]["extra"]["rollout_server"].update(SIZES)
    body["custom"]["extra"]["launch"]["gpus"] = {"server": [0, 1, 2, 3], "learner": [4, 5, 6, 7]}
    Path("x.yaml").write_text(yaml.safe_dump(body))
    return compose("x", [f"role={role}", *overrides])


def found(config: LaunchConfig) -> list[str]:
    about = ("vllm_server", "gpus", "master_port")
    return [str(p).partition(": ")[2] for p in validate(config) if any(w in p.where for w in about)]


def planned(config: LaunchConfig, *parts: str) -> plan.LaunchPlan:
    split = devices.assign(config, [str(i) for i in range(8)])
    return planner.build(config, split, parts or (plan.SERVER, plan.LEARNER), "r", CWD)


def test_each_server_has_its_address_its_devices_and_its_gate() -> None:
    made = planned(experiment(vllm_server_group_port=[28500, 28501]))
    assert [spec.name for spec in made.processes] == ["server_0", "server_1", "learner"]
    assert [spec.part for spec in made.processes] == ["server", "server", "learner"]
    visible = [spec.env["CUDA_VISIBLE_DEVICES"] for spec in made.processes]
    assert visible == ["0,1", "2,3", "4,5,6,7"]
    for spec, port in zip(made.services, ("8000", "8001"), strict=True):
        assert spec.argv[spec.argv.index("--port") + 1] == port
    assert [(gate.server, gate.url, gate.checks[1].value) for gate in made.gates] == [
        ("server_0", "http://127.0.0.1:8000", 2),
        ("server_1", "http://127.0.0.1:8001", 2),
    ]
    assert made.ports == (8000, 28500, 8001, 28501)
    told = yaml.safe_load(made.files[0].text)
    assert told["vllm_server_host"] == [HERE, HERE]
    assert told["vllm_server_port"] == [8000, 8001]
    assert told["vllm_server_group_port"] == [28500, 28501]


def test_one_server_is_called_server() -> None:
    config = experiment(
        "rollout_server.vllm_data_parallel_size=2",
        vllm_server_host=HERE,
        vllm_server_port=8000,
    )
    assert found(config) == []
    assert [spec.name for spec in planned(config).processes] == ["server", "learner"]


def test_a_learner_alone_waits_for_every_server() -> None:
    config = experiment(role="learner", vllm_server_host=["node1", "node2"])
    assert found(config) == []
    made = planned(config, plan.LEARNER)
    assert [gate.url for gate in made.gates] == ["http://node1:8000", "http://node2:8001"]
    assert made.ports == ()


def test_servers_without_devices_of_their_own_take_the_first_ones() -> None:
    config = experiment("gpus.server=null", "gpus.learner=null")
    split = devices.assign(config, [str(i) for i in range(8)])
    assert (split.server, split.learner) == (("0", "1", "2", "3"), ("4", "5", "6", "7"))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "one host": (
        {"vllm_server_host": HERE},
        (
            "rlhf.vllm_server_host: names 1 host, but vllm_server_port names 2 ports (8000, 8001) "
            "(x.yaml: rlhf.vllm_server_port), give one host for each port: [127.0.0.1, 127.0.0.1]"
        ),
    ),
    "one group port": (
        {"vllm_server_group_port": 28500},
        (
            "rlhf.vllm_server_group_port: has 1 port for 2 servers, give one for each, or "
            "remove it for 51216, 51217"
        ),
    ),
    "a group port twice": (
        {"vllm_server_group_port": [28500, 28500]},
        "rlhf.vllm_server_group_port: names port 28500 twice, choose another port",
    ),
    "a port twice": (
        {"vllm_server_port": [8000, 8000]},
        "rlhf.vllm_server_port: names port 8000 twice, choose another port",
    ),
    "a port for weights and requests": (
        {"vllm_server_group_port": [8001, 28500]},
        "rlhf.vllm_server_port: port 8001 is also rlhf.vllm_server_group_port, choose another port",
    ),
    "no port": (
        {"vllm_server_port": [8000, 0]},
        "rlhf.vllm_server_port: 0 is not a port, use a number from 1 to 65535",
    ),
    "three servers": (
        {"vllm_server_port": [8000, 8001, 8002], "vllm_server_host": [HERE] * 3},
        (
            f"{L}gpus.server: lists 4 devices (0, 1, 2, 3), but servers x TP x DP is 3 x 2 x 1 "
            f"(x.yaml: {S}vllm_tensor_parallel_size and {S}vllm_data_parallel_size), list 6 devices"
        ),
    ),
}


@pytest.mark.parametrize(("changes", "wanted"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_is_said(changes: dict[str, Any], wanted: str) -> None:
    assert found(experiment(**changes)) == [wanted]


def test_what_fits_is_accepted() -> None:
    assert found(experiment()) == []
    assert found(experiment(vllm_server_host=["localhost", HERE])) == []


def test_servers_on_two_machines_may_have_the_same_ports() -> None:
    config = experiment(
        role="learner",
        vllm_server_host=["node1", "node2"],
        vllm_server_port=[8000, 8000],
        vllm_server_group_port=[28500, 28500],
    )
    assert found(config) == []


@functools.cache
def _base() -> LaunchConfig:
    sizes = [f"rollout_server.{key}=1" for key in SIZES]
    return experiment("gpus.server=null", "gpus.learner=[7]", *sizes)


_port = st.one_of(st.integers(-1, 70000), st.sampled_from(["8000", "x", None, True, 8000.0, []]))
_ports = st.one_of(_port, st.lists(_port, max_size=5))


@pytest.mark.slow
@given(_ports, st.one_of(st.none(), st.lists(st.sampled_from([HERE, "node", None, 3]))), _ports)
def test_no_combination_breaks_the_rules_and_what_passes_can_be_planned(
    ports: Any, hosts: Any, group: Any
) -> None:
    said = {"host": hosts, "port": ports, "group_port": group}
    config = amended(
        _base(), {f"train.rlhf.vllm_server_{key}": value for key, value in said.items()}
    )
    problems = validate(config)
    if any(p.severity is Severity.ERROR and "rlhf.vllm_server" in p.where for p in problems):
        return
    made = planned(config)
    count = len(endpoint.here(config))
    assert len(made.services) == count
    assert len(made.gates) == endpoint.server_count(config)
    taken = Counter(device for spec in made.processes for device in spec.devices)
    assert set(taken.values()) == {1}
    assert len(set(made.ports)) == len(made.ports) == 2 * count
