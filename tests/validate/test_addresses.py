"""URLs of servers, ids of devices, and texts that are JSON: what passes and what does not."""

# ruff: noqa: E501 (a message stands on one line, as it is shown)
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch import plan
from grpo_launch.checks import ids
from grpo_launch.checks.ids import device_ids_are_ids
from grpo_launch.checks.urls import vllm_server_base_url_is_valid
from grpo_launch.config import endpoint
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context, Rule
from grpo_launch.learners.swift import json_texts
from grpo_launch.planning import devices, planner
from grpo_launch.settle import ports
from tests.validate.test_rules import GOOD


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def experiment(*overrides: str, role: str = "both", **sections: Any) -> LaunchConfig:
    body = copy.deepcopy(GOOD)
    for name, values in sections.items():
        if isinstance(values, dict):
            body.setdefault(name, {}).update(values)
        else:
            body[name] = values
    Path("x.yaml").write_text(yaml.safe_dump(body))
    return compose("x", [f"role={role}", *overrides])


def found(rule: Rule, config: LaunchConfig, *facts: object) -> list[str]:
    problems = rule(Context.of(config, Facts.of(*facts)))
    return [f"{p.severity.value}: {p}".replace("x.yaml: ", "") for p in problems]


@pytest.mark.parametrize(
    ("device", "fix"),
    [
        ("0", None), ("12", None), ("GPU-5ebe9f43-bc8a", None), ("MIG-GPU-5ebe9f43/1/0", None),
        ("", "write an index, 0, or a UUID of nvidia-smi -L"),
        ("-1", "write an index, 0, or a UUID of nvidia-smi -L"),
        ("1.5", "write an index, 0, or a UUID of nvidia-smi -L"),
        ("True", "write an index, 0, or a UUID of nvidia-smi -L"),
        ("0,1", "write 2 items, [0, 1]"),
    ],
)  # fmt: skip
def test_ids_of_devices(device: str, fix: str | None) -> None:
    config = experiment(f"gpus.learner=['{device}']")
    place = "error: command line: gpus.learner"
    wanted = [f"{place}: {device!r} is not the id of a device, {fix}"] if fix else []
    assert found(device_ids_are_ids, config) == wanted


@pytest.mark.parametrize("value", ["true", "1.5", "-1"])
def test_ids_that_yaml_reads_as_something_else(value: str) -> None:
    assert len(found(device_ids_are_ids, experiment(f"gpus.server=[{value}]"))) == 1


def _two(*_: str) -> list[str]:
    return ["0, GPU-aaaa", "4, GPU-bbbb"]


def _none(*_: str) -> list[str]:
    return []


@pytest.mark.parametrize(
    ("visible", "server", "learner", "refused"),
    [
        (None, "0", "1", []),
        ("0,1", "0", "1", []),
        (" 1, 0 ", "0", "1", []),
        ("4,5", "4", "5", []),
        ("4,5", "0", "5", [("server", "names GPU 0, but CUDA_VISIBLE_DEVICES allows 4, 5")]),
        ("4,5", "0", "1", [("server", "names GPU 0, but CUDA_VISIBLE_DEVICES allows 4, 5"),
                           ("learner", "names GPU 1, but CUDA_VISIBLE_DEVICES allows 4, 5")]),
        ("", "0", "1", [("server", "names GPU 0, but CUDA_VISIBLE_DEVICES allows none"),
                        ("learner", "names GPU 1, but CUDA_VISIBLE_DEVICES allows none")]),
        ("GPU-aaaa,GPU-bbbb", "0", "4", []),
        ("GPU-aa,GPU-bb", "GPU-aaaa", "GPU-bbbb", []),
        ("-1", "0", "1", [("server", "names GPU 0, but CUDA_VISIBLE_DEVICES allows none"),
                          ("learner", "names GPU 1, but CUDA_VISIBLE_DEVICES allows none")]),
        ("0,-1,1", "0", "1", [("learner", "names GPU 1, but CUDA_VISIBLE_DEVICES allows 0")]),
        ("GPU-aaaa", "0", "4", [("learner", "names GPU 4, but CUDA_VISIBLE_DEVICES allows GPU-aaaa")]),
        ("MIG-x", "MIG-x", "MIG-y", [("learner", "names GPU MIG-y, but CUDA_VISIBLE_DEVICES allows MIG-x")]),
    ],
)  # fmt: skip
def test_devices_that_the_caller_may_not_use(
    visible: str | None,
    server: str,
    learner: str,
    refused: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ids, "nvidia_smi", _two)
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert [*ids.outside(planned(experiment(), server, learner), environ)] == refused


def test_an_index_and_a_uuid_are_not_compared_without_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ids, "nvidia_smi", _none)
    environ = {"CUDA_VISIBLE_DEVICES": "GPU-aaaa"}
    assert [*ids.outside(planned(experiment(), "0", "1"), environ)] == []


def planned(config: LaunchConfig, server: str = "0", learner: str = "1") -> plan.LaunchPlan:
    parts = {"both": ("server", "learner")}.get(config.role, (config.role,))
    split = devices.Devices((server,), (learner,), cuda=True)
    return planner.build(config, split, parts, "r", Path("/project"))


U = "vllm_server_base_url"
NO_HOST = {"vllm_server_host": None, "vllm_server_port": None}


@pytest.mark.parametrize(
    ("role", "rlhf", "messages"),
    [
        ("both", {U: "http://127.0.0.1:9000", **NO_HOST}, []),
        ("both", {U: ["http://127.0.0.1:9000"], **NO_HOST}, []),
        ("learner", {U: "https://node-7/path", **NO_HOST}, []),
        ("both", {U: "127.0.0.1:9000", **NO_HOST},
         [f"error: rlhf.{U}: '127.0.0.1:9000' is not a URL of a server, write http://HOST:PORT"]),
        ("both", {U: "http://127.0.0.1:99999", **NO_HOST},
         [f"error: rlhf.{U}: 'http://127.0.0.1:99999' is not a URL of a server, write http://HOST:PORT"]),
        ("learner", {U: "http://127.0.0.1:9000/", **NO_HOST},
         [f"error: rlhf.{U}: http://127.0.0.1:9000/ ends with a slash, the learner would ask for //health, leave it out"]),
        ("both", {U: "https://127.0.0.1:9000", **NO_HOST},
         [f"error: rlhf.{U}: https://127.0.0.1:9000 is not what a server started here has, plain http without a path, write http://HOST:PORT, or start them with role=learner"]),
        ("both", {U: "http://127.0.0.1:9000", "vllm_server_host": ["127.0.0.1"], "vllm_server_port": [8000]},
         [f"error: rlhf.{U}: says [9000], which wins over [8000] (rlhf.vllm_server_port), keep one of them"]),
        ("learner", {U: "http://node:8000", "vllm_server_host": "other", "vllm_server_port": 8000},
         [f"warning: rlhf.{U}: says ['node'], which wins over 'other' (rlhf.vllm_server_host), keep one of them"]),
    ],
)  # fmt: skip
def test_urls_of_servers(role: str, rlhf: dict[str, Any], messages: list[str]) -> None:
    assert found(vllm_server_base_url_is_valid, experiment(role=role, rlhf=rlhf)) == messages


def test_server_and_gate_follow_the_url() -> None:
    config = experiment(rlhf={U: "http://127.0.0.1:9000", **NO_HOST})
    made = planned(config)
    assert made.gates[0].url == "http://127.0.0.1:9000"
    argv = made.processes[0].argv
    assert argv[argv.index("--port") + 1] == "9000"
    assert endpoint.keys(config).port not in {
        wanted.key for wanted in ports._wanted(config, ("server", "learner"), {})
    }


def test_the_gate_of_a_learner_keeps_scheme_and_path() -> None:
    config = experiment(role="learner", rlhf={U: "https://node-7/path", **NO_HOST})
    assert planned(config).gates[0].url == "https://node-7/path"
    assert endpoint.endpoints(config)[0].port == 443


@pytest.mark.parametrize(
    ("sections", "messages"),
    [
        ({"deepspeed": "zero3_offload"}, []),
        ({"deepspeed": {"enabled": True, "config": "zero2"}}, []),
        ({"deepspeed": "good.json"}, []),
        ({"deepspeed": '{"zero_optimization": {}}'}, []),
        ({"deepspeed": "zero4"},
         ["error: deepspeed: 'zero4' is no JSON mapping and no file, nor a preset of ms-swift (zero0, zero1, zero2, zero3, zero2_offload, zero3_offload), did you mean zero3?"]),
        ({"deepspeed": {"enabled": True, "config": "ds/none.json"}},
         ["error: deepspeed.config: 'ds/none.json' is no JSON mapping and no file, nor a preset of ms-swift (zero0, zero1, zero2, zero3, zero2_offload, zero3_offload), write a mapping, or correct the path"]),
        ({"deepspeed": {"enabled": False, "config": "none.json"}}, []),
        ({"deepspeed": "bad.json"},
         ["error: deepspeed: bad.json is no JSON (line 2), it should hold a JSON mapping, correct it"]),
        ({"deepspeed": "list.json"},
         ["error: deepspeed: list.json is no mapping, it should hold a JSON mapping, correct it"]),
        ({"training": {"fsdp": "fsdp2"}}, []),
        ({"training": {"fsdp": "full_shard auto_wrap"}},
         ["error: training.fsdp: 'full_shard auto_wrap' is no JSON mapping and no file, nor a preset of ms-swift (fsdp2), write a mapping, or correct the path"]),
        ({"training": {"lr_scheduler_kwargs": "{'min_lr': 1}"}}, []),
        ({"training": {"lr_scheduler_kwargs": "min_lr=1"}},
         ["error: training.lr_scheduler_kwargs: 'min_lr=1' is no JSON mapping and no file, write a mapping, or correct the path"]),
        ({"model": {"model_kwargs": "[1]"}},
         ["error: model.model_kwargs: '[1]' is no JSON mapping and no file, write a mapping, or correct the path"]),
        ({"model": {"rope_scaling": "yarn"}}, []),
        ({"model": {"rope_scaling": "yarm"}},
         ["error: model.rope_scaling: 'yarm' is no JSON mapping and no file, nor a preset of ms-swift (linear, dynamic, yarn), did you mean yarn?"]),
        ({"model": {"max_memory": "{0: '20GB'}"}}, []),
        ({"model": {"device_map": "auto"}}, []),
        ({"rlhf": {"vllm_limit_mm_per_prompt": "4096"}}, []),
        ({"rlhf": {"vllm_engine_kwargs": "[1]"}}, []),
        ({"rlhf": {"vllm_engine_kwargs": "abc"}},
         ["error: rlhf.vllm_engine_kwargs: 'abc' is no JSON mapping and no file, write a mapping, or correct the path"]),
    ],
)  # fmt: skip
def test_texts_that_are_json(sections: dict[str, Any], messages: list[str]) -> None:
    Path("good.json").write_text('{"a": 1}')
    Path("bad.json").write_text('{"a": 1,\n')
    Path("list.json").write_text("[1]")
    config = experiment(**sections)
    facts = json_texts.gather(config, Path.cwd())
    assert found(json_texts.json_texts_are_mappings, config, facts) == messages


def test_texts_of_the_server_are_json_too() -> None:
    config = experiment("rollout_server.vllm_engine_kwargs=abc")
    facts = json_texts.gather(config, Path.cwd())
    assert found(json_texts.json_texts_are_mappings, config, facts) == [
        "error: command line: rollout_server.vllm_engine_kwargs: 'abc' is no JSON mapping and no file, write a mapping, or correct the path"
    ]


@pytest.mark.slow
def test_files_of_the_other_half_are_not_looked_for() -> None:
    overrides = ("rollout_server.vllm_engine_kwargs=abc",)
    server = experiment(*overrides, role="server", deepspeed="elsewhere.json")
    learner = experiment(*overrides, role="learner", deepspeed="elsewhere.json")
    assert [key for key, *_ in json_texts.texts(server)] == ["rollout_server.vllm_engine_kwargs"]
    assert [key for key, *_ in json_texts.texts(learner)] == ["train.deepspeed"]
