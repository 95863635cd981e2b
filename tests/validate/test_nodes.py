"""A learner on several machines: NNODES counts in every size; what torchrun cannot use is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from grpo_launch import plan
from grpo_launch.base.host import Host
from grpo_launch.checks import gather, report
from grpo_launch.checks.examine import validate
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.planning import devices, planner

EXPERIMENT = """\
model: {model: some/model}
data: {dataset: [d.jsonl]}
training: {per_device_train_batch_size: 4, effective_batch_size: 64, max_steps: 1}
rlhf: {num_generations: 16, generation_batch_size: 64, reward_funcs: [accuracy]}
custom: {extra: {launch: {gpus: {server: [0], learner: [1, 2, 3, 4, 5, 6, 7, 8]}}}}
"""
MEET = {"MASTER_ADDR": "node0"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with the experiment ``x.yaml``: eight devices a node."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    Path("x.yaml").write_text(EXPERIMENT)


def host(environ: Mapping[str, str]) -> Host:
    surroundings = {"HOME": str(Path.cwd()), "PATH": "", **environ}
    return Host(Path.cwd(), surroundings, 0.0, "abcd")


def found(config: LaunchConfig, environ: Mapping[str, str]) -> list[str]:
    return [*map(str, validate(config, gather.gather(config, host(environ))))]


def composed(*overrides: str, role: str = "both") -> LaunchConfig:
    return compose("x", [f"role={role}", "runtime=current", *overrides])


SAID: dict[str, tuple[list[str], dict[str, str]]] = {
    "environment": ([], {"NNODES": "2"}),
    "set": (["+env.set.NNODES=2"], {"NNODES": "9"}),
    "defaults": (["+env.defaults.NNODES=2"], {}),
    "set of the learner": (
        ["+env.learner.set.NNODES=2", "+env.set.NNODES=3"],
        {"NNODES": "9"},
    ),
    "defaults of the learner": (
        ["+env.learner.defaults.NNODES=2", "+env.server.set.NNODES=3"],
        {},
    ),
}


@pytest.mark.parametrize(("overrides", "environ"), SAID.values(), ids=SAID.keys())
def test_the_world_is_all_nodes(overrides: list[str], environ: dict[str, str]) -> None:
    config = composed(*overrides)
    facts = gather.gather(config, host({**environ, **MEET}))
    assert validate(config, facts) == []
    summary = report.summary(config, facts)
    assert summary["batches"] == {
        "world size": 16,
        "per device": 4,
        "accumulation steps": 1,
        "steps per generation": 1,
        "generation batch": 64,
        "completions a prompt": 16,
        "completions a step": 64,
        "prompts a step": "4",
    }
    assert summary["devices"]["learner"] == "GPU 1, 2, 3, 4, 5, 6, 7, 8 on each of 2 nodes"
    split = facts.get(devices.Devices)
    assert split is not None
    made = planner.build(config, split, (plan.LEARNER,), "r", Path("/project"))
    assert made.processes[0].env["NNODES"] == "2"
    assert yaml.safe_load(made.files[0].text)["gradient_accumulation_steps"] == 1


def test_one_node_is_as_before() -> None:
    config = composed()
    for environ in ({}, {"NNODES": "1"}, {"NNODES": "1", "MASTER_PORT": "29500"}):
        facts = gather.gather(config, host(environ))
        assert validate(config, facts) == []
        assert report.summary(config, facts)["batches"]["accumulation steps"] == 2
        split = facts.get(devices.Devices)
        assert split is not None
        made = planner.build(config, split, (plan.LEARNER,), "r", Path("/project"))
        assert "NNODES" not in made.processes[0].env


def test_what_fits_one_node_is_refused_on_three() -> None:
    lines = found(composed(), {"NNODES": "3", **MEET})
    about = "is not a multiple of 96 (per_device_train_batch_size 4 x 24 learner devices)"
    assert [line.partition(": ")[2].partition(",")[0] for line in lines] == [
        f"training.effective_batch_size: 64 {about}",
        f"rlhf.generation_batch_size: 64 {about}",
    ]


NOT_A_NUMBER = "is not a number of nodes, set it to a positive integer, or unset it for 1"
WRONG: dict[str, tuple[list[str], dict[str, str], str]] = {
    "text": ([], {"NNODES": "two"}, f"environment: NNODES: 'two' {NOT_A_NUMBER}"),
    "zero": ([], {"NNODES": "0"}, f"environment: NNODES: '0' {NOT_A_NUMBER}"),
    "elastic": ([], {"NNODES": "1:4"}, f"environment: NNODES: '1:4' {NOT_A_NUMBER}"),
    "in a key": (
        ["+env.set.NNODES=-1"],
        {},
        f"command line: env.set.NNODES: '-1' {NOT_A_NUMBER}",
    ),
    "nowhere to meet": (
        [],
        {"NNODES": "2"},
        (
            "environment: NNODES: is 2, but MASTER_ADDR is not set: torchrun would wait for the "
            "other nodes at 127.0.0.1, where they cannot come, export MASTER_ADDR with the address "
            "of node 0"
        ),
    ),
}


@pytest.mark.parametrize(("overrides", "environ", "wanted"), WRONG.values(), ids=WRONG.keys())
def test_what_torchrun_cannot_use_is_said(
    overrides: list[str], environ: dict[str, str], wanted: str
) -> None:
    assert found(composed(*overrides), environ) == [wanted]


VISIBLE = "CUDA_VISIBLE_DEVICES"
GIVEN = "is set by the launcher, for each half its own, remove it, and list the devices in"
BOTH = "custom.extra.launch.gpus.server and custom.extra.launch.gpus.learner"
OTHERS: dict[str, tuple[list[str], dict[str, str], list[str]]] = {
    "a rank": ([], {"NNODES": "2", **MEET, "NODE_RANK": "1"}, []),
    "a rank of one node": ([], {"NODE_RANK": "7"}, []),
    "a rank too high": (
        [],
        {"NNODES": "2", **MEET, "NODE_RANK": "2"},
        [
            (
                "error: environment: NODE_RANK: '2' is not the number of one of 2 nodes, "
                "set it to 0 to 1"
            )
        ],
    ),
    "the learner's processes": (["+env.set.NPROC_PER_NODE=8"], {"NPROC_PER_NODE": "2"}, []),
    "other processes": (
        ["+env.learner.defaults.NPROC_PER_NODE=4"],
        {},
        [
            (
                "warning: command line: env.learner.defaults.NPROC_PER_NODE: is 4, but the learner "
                "has 8 devices, one process each, list as many devices in "
                "custom.extra.launch.gpus.learner, or remove it"
            )
        ],
    ),
    "devices set": (
        [f"+env.set.{VISIBLE}='0'"],
        {},
        [f"error: command line: env.set.{VISIBLE}: {GIVEN} {BOTH}"],
    ),
    "devices of the server": (
        [f"+env.server.defaults.{VISIBLE}='7'"],
        {},
        [
            (
                f"warning: command line: env.server.defaults.{VISIBLE}: {GIVEN} "
                "custom.extra.launch.gpus.server"
            )
        ],
    ),
    "the server's own devices": ([f"+env.server.set.{VISIBLE}='0'"], {}, []),
    "no devices on a CPU": ([f"+env.set.{VISIBLE}=''", "accelerator=cpu"], {}, []),
}


@pytest.mark.parametrize(("overrides", "environ", "wanted"), OTHERS.values(), ids=OTHERS.keys())
def test_what_decides_about_processes_is_said_in_one_place(
    overrides: list[str], environ: dict[str, str], wanted: list[str]
) -> None:
    config = composed(*overrides)
    problems = validate(config, gather.gather(config, host(environ)))
    assert [f"{problem.severity.value}: {problem}" for problem in problems] == wanted


def test_a_server_alone_has_no_nodes() -> None:
    assert not [
        line for line in found(composed(role="server"), {"NNODES": "x"}) if "NNODES" in line
    ]
