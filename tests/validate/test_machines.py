"""Rollout servers on several machines: each launch is about those of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grpo_launch import plan
from grpo_launch.checks import report
from grpo_launch.checks.examine import validate
from grpo_launch.config.facts import Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Severity
from grpo_launch.errors import ConfigError
from grpo_launch.planning import devices
from grpo_launch.roles._launch import PARTS
from tests.validate.test_halves import LISTENS
from tests.validate.test_servers import experiment as of_servers
from tests.validate.test_servers import planned

VISIBLE = [str(number) for number in range(8)]
LEARN = ["4", "5", "6", "7"]
HOST = "vllm_server_host"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def experiment(role: str, here: str, *overrides: str, **rlhf: Any) -> LaunchConfig:
    """Servers on node1 and node2, TP = 2, as the machine called ``here`` sees them."""
    said: dict[str, Any] = {HOST: ["node1", "node2"], "vllm_server_group_port": [28500, 28501]}
    said |= {"reward_funcs": ["format"], **rlhf}
    config = of_servers("gpus.server=[0,1]", *overrides, role=role, **said)
    return replace(config, own_hosts=frozenset({here} & {*(said[HOST] or ())}))


def found(config: LaunchConfig, severity: Severity = Severity.ERROR) -> list[str]:
    return [str(problem) for problem in validate(config) if problem.severity is severity]


@pytest.mark.parametrize(
    ("role", "here", "started", "gated", "ports"),
    [
        ("both", "node1", {"server_0": ["0", "1"], "learner": LEARN}, [0, 1], (8000, 28500)),
        ("both", "node2", {"server_1": ["0", "1"], "learner": LEARN}, [0, 1], (8001, 28501)),
        ("server", "node1", {"server_0": ["0", "1"]}, [0], (8000, 28500)),
        ("server", "node2", {"server_1": ["0", "1"]}, [1], (8001, 28501)),
        ("learner", "node1", {"learner": LEARN}, [0, 1], ()),
        ("learner", "node3", {"learner": LEARN}, [0, 1], ()),
    ],
)
def test_a_launch_starts_the_servers_of_its_machine(
    role: str, here: str, started: dict[str, list[str]], gated: list[int], ports: tuple[int, ...]
) -> None:
    config = experiment(role, here)
    assert found(config) == []
    made = planned(config, *PARTS[role])
    assert {spec.name: [*spec.devices] for spec in made.processes} == started
    urls = ["http://node1:8000", "http://node2:8001"]
    assert [(gate.server, gate.url) for gate in made.gates] == [
        (f"server_{number}", urls[number]) for number in gated
    ]
    assert made.ports == ports
    for gate in made.gates:
        is_ours = gate.server in started
        assert gate.advice.startswith("look at its log" if is_ours else "start it with role=server")


def test_those_of_one_machine_share_its_devices_in_order() -> None:
    config = experiment(
        "server", "node1", "gpus.server=[5,4,3,2]", **{HOST: ["node1", "node2", "node1"]},
        vllm_server_port=[8000, 8001, 8002], vllm_server_group_port=[1, 2, 3],
    )  # fmt: skip
    assert [f for f in found(config) if "shares" not in f] == []
    made = planned(config, plan.SERVER)
    assert {spec.name: spec.devices for spec in made.processes} == {
        "server_0": ("5", "4"),
        "server_2": ("3", "2"),
    }


def test_unset_devices_are_those_of_the_servers_here() -> None:
    config = experiment("both", "node2", "gpus.server=null", "gpus.learner=null")
    split = devices.assign(config, VISIBLE)
    assert (split.server, split.learner) == (("0", "1"), tuple(VISIBLE[2:]))


def test_devices_are_counted_for_the_servers_here() -> None:
    (refused,) = found(experiment("both", "node1", "gpus.server=[0,1,2,3]"))
    assert "lists 4 devices (0, 1, 2, 3), but servers of this machine x TP x DP is 1 x 2" in refused
    assert "list 2 devices, or set" in refused


LOCAL = "[127.0.0.1, 127.0.0.1]"
NONE = f"so there is no server to start, start role=server on that machine, or set it to {LOCAL}"
ONE = (
    f"where one of the rollout servers must be, set it to {LOCAL}, or start them separately with "
    "role=server and role=learner"
)


@pytest.mark.parametrize(
    ("role", "hosts", "said"),
    [
        ("server", ["node1", "node2"], f"'node1', 'node2' are not this machine, {NONE}"),
        ("server", ["node1", "node1"], f"'node1' is not this machine, {NONE}"),
        ("both", ["node1", "node2"], f"'node1', 'node2' are not this machine, {ONE}"),
        ("both", ["0.0.0.0", "node1"], f"0.0.0.0 {LISTENS}, set it to {LOCAL}"),
        ("both", ["node1", "node3"], None),
        ("both", ["localhost", "node1"], None),
        ("server", ["0.0.0.0", "node1"], None),
        ("learner", ["node1", "node2"], None),
    ],
)
def test_one_of_the_servers_must_be_here_where_servers_start(
    role: str, hosts: list[str], said: str | None
) -> None:
    config = experiment(role, "node3", **{HOST: hosts})
    assert found(config) == ([f"x.yaml: rlhf.{HOST}: {said}"] if said else [])


def test_without_that_rule_a_server_that_is_nowhere_is_no_plan() -> None:
    config = experiment("server", "node3", f"checks.warn=[{HOST}_is_valid]")
    assert found(config) == []
    with pytest.raises(ConfigError, match="names no host of this machine"):
        planned(config, plan.SERVER)


@pytest.mark.slow
def test_loopback_is_each_machine_s_own() -> None:
    """A file that means the first machine starts its server on the second one too."""
    hosts = {HOST: ["127.0.0.1", "node2"]}
    config = experiment("server", "node2", "gpus.server=[0,1,2,3]", **hosts)
    assert [spec.name for spec in planned(config, plan.SERVER).processes] == [
        "server_0",
        "server_1",
    ]
    said = "127.0.0.1 is every machine's own address, so this one starts its server as well"
    assert any(said in line for line in found(config, Severity.WARNING))
    first = experiment("server", "node1", **hosts)
    assert [spec.name for spec in planned(first, plan.SERVER).processes] == ["server_0"]
    assert not any(said in line for line in found(first, Severity.WARNING))


SHARED = "gpus.learner: shares device 0, 1 with gpus.server"


@pytest.mark.parametrize(
    ("role", "hosts", "severity"),
    [
        ("both", ["node1", "node2"], Severity.ERROR),
        ("server", ["node1", "node2"], Severity.WARNING),
        ("server", ["127.0.0.1", "node2"], Severity.ERROR),
        ("server", ["0.0.0.0", "node2"], Severity.WARNING),
    ],
)
def test_the_learner_may_have_the_same_devices_on_another_machine(
    role: str, hosts: list[str], severity: Severity
) -> None:
    config = experiment(role, "node1", "gpus.learner=[0,1]", **{HOST: hosts})
    assert [p.severity for p in validate(config) if SHARED in str(p)] == [severity]


def test_a_url_elsewhere_may_be_any() -> None:
    urls = ["http://127.0.0.1:8000", "https://gateway.example/two"]
    said: dict[str, Any] = {HOST: None, "vllm_server_port": None, "vllm_server_base_url": urls}
    config = experiment("both", "node1", **said)
    assert found(config) == []
    assert [spec.name for spec in planned(config).processes] == ["server_0", "learner"]
    urls[0] += "/one"
    (refused,) = found(experiment("both", "node1", **said))
    assert "http://127.0.0.1:8000/one is not what a server started here has" in refused


@pytest.mark.parametrize("role", ["check", "server", "learner"])
def test_a_check_says_whose_devices_serve(role: str) -> None:
    config = experiment(role, "node2")
    split = devices.assign(config, VISIBLE)
    said = report.summary(config, Facts.of(split))["devices"]
    assert said == {
        "server_0": "on another machine",
        "server_1": "GPU 0, 1",
        "learner": "GPU 4, 5, 6, 7",
    }
