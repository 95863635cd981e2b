"""The same plan with other ports: on both sides, and nowhere else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from grpo_launch import plan
from grpo_launch.config.compose import compose
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.planning import devices, planner, substitution
from grpo_launch.runs import plans
from grpo_launch.settle import ports
from grpo_launch.settle.ports import Chosen
from tests.launch.helpers import argument

BOTH = (plan.SERVER, plan.LEARNER)
SERVERS = [
    "train.rlhf.vllm_server_host=[127.0.0.1,localhost]",
    "train.rlhf.vllm_server_port=null",
    "train.rlhf.vllm_server_group_port=null",
    "rollout_server.vllm_data_parallel_size=1",
    "rollout_server.vllm_tensor_parallel_size=1",
    "rollout_server.vllm_max_model_len=8000",  # looks like a port, and is none
    "gpus={server:[0,1],learner:[6]}",
    "tracking=wandb",
]


def planned(*overrides: str) -> plan.LaunchPlan:
    """The plan of two servers and a learner, whose ports are all the launcher's to choose."""
    config = compose("summary_1024", ["role=both", *SERVERS, *overrides])

    def build(choice: Chosen) -> plan.LaunchPlan:
        chosen: LaunchConfig = choice.config
        split = devices.assign(chosen, [str(number) for number in range(8)])
        own = choice.own
        return planner.build(chosen, split, BOTH, "runs/x/8000", Path("/p"), "8000", (), own)

    with ports.chosen(config, BOTH, {}, "x", hold=False, look=False) as choice:
        return ports.with_movable_ports(build, choice)


@pytest.mark.slow
def test_every_place_says_the_new_ports_and_nothing_else_changes() -> None:
    before = planned("on_failure=restart")
    new = {port.number: port.number + 5000 for port in before.chosen}
    after = substitution.with_ports(before, new)
    assert sorted(new) == [8000, 8001, 28500, 28501, 29500, 30000, 30020]
    one, two, learner = after.processes
    assert [argument([*spec.argv], "--port") for spec in (one, two)] == ["13000", "13001"]
    assert argument([*one.argv], "--vllm_max_model_len") == "8000"
    assert [spec.env_defaults["VLLM_PORT"] for spec in (one, two)] == ["35000", "35020"]
    assert learner.env["MASTER_PORT"] == "34500"
    assert [gate.url for gate in after.gates] == [
        "http://127.0.0.1:13000",
        "http://localhost:13001",
    ]
    assert after.ports == (13000, 33500, 13001, 33501, 34500)
    arguments, facts = (yaml.safe_load(file.text) for file in after.files)
    assert arguments["vllm_server_port"] == [13000, 13001]
    assert arguments["vllm_server_group_port"] == [33500, 33501]
    assert facts["launcher"]["value"]["server_urls"] == [gate.url for gate in after.gates]
    assert after.run_dir == before.run_dir
    assert [port.number for port in after.chosen] == [*new.values()]
    back = substitution.with_ports(after, {now: old for old, now in new.items()})
    assert back == before


def test_it_goes_through_json() -> None:
    before = planned("on_failure=restart")
    assert plans.parse(before.to_json()) == (before, ())


def test_without_restarts_a_plan_is_not_made_for_them() -> None:
    assert planned().chosen == ()
    assert planned("watchdog.on_stall=restart").chosen


def test_a_plan_of_before_has_no_port_that_may_change() -> None:
    body = json.loads(planned("on_failure=restart").to_json())
    del body["chosen"]
    read, notes = plans.parse(json.dumps(body))
    assert (read.chosen, notes) == ((), ())


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("port 8000", "port 8005 9"),  # another number of numbers
        ("port 8000", "gate 8005"),  # other words
        ("port 8000", "port 8006"),  # another number
        ("port x8000", "port 18005"),  # a part of a number
    ],
)
def test_where_a_program_makes_something_else_of_a_port_it_does_not_change(
    text: str, other: str
) -> None:
    before = planned()
    one, *rest = before.processes
    first, second = (
        dataclasses.replace(
            before, processes=(dataclasses.replace(one, argv=(*one.argv, said)), *rest)
        )
        for said in (text, other)
    )
    assert substitution.uses(first, second, {8000: 8005}) is None


def test_a_text_may_say_several() -> None:
    before = planned()
    one, *rest = before.processes
    texts = ("8000 a=8000,b8001", "8000 a=9000,b9001")
    first, second = (
        dataclasses.replace(before, processes=(dataclasses.replace(one, argv=(text,)), *rest))
        for text in texts
    )
    found = substitution.uses(first, second, {8000: 9000, 8001: 9001})
    path = ("processes", "0", "argv", "0")
    assert found == {8000: (plan.PortUse(path, 1),), 8001: (plan.PortUse(path, 2),)}
