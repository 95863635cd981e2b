"""The rules of vLLM's own server, and of a server that somebody else runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.checks.examine import Severity
from grpo_launch.checks.plugins import shipped_facts
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import DeviceMemory, Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.rule import Context, Rule
from grpo_launch.engines.external.rules import RULES as EXTERNAL
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.engines.vllm.rules import RULES as VLLM
from tests.conftest import ROOT

TINY = ROOT / "tests" / "validate" / "models" / "tiny-qwen2"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def found(
    rules: Sequence[Rule], body: dict[str, Any], *overrides: str, facts: Facts | None = None
) -> list[str]:
    Path("x.yaml").write_text(yaml.safe_dump({"learner": "none", **body}))
    config = compose("x", ["role=server", *overrides])
    context = Context.of(config, shipped_facts(config).updated(facts or Facts()))
    marks = {Severity.ERROR: "", Severity.WARNING: "warning: "}
    problems = [p for rule in rules if rule.when(config) for p in rule(context)]
    return [marks[p.severity] + str(p).removeprefix("x.yaml: rollout_server.") for p in problems]


def of_vllm(settings: dict[str, Any], *overrides: str, facts: Facts | None = None) -> list[str]:
    body = {"engine": "vllm", "rollout_server": {"model": "some/model", **settings}}
    return found(VLLM, body, *overrides, facts=facts)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_model_len": "32k"},
        {"max_model_len": "auto"},
        {"max_model_len": -1},
        {"max_num_batched_tokens": "8k"},
        {"served_model_name": ["a", "b"]},
        {"limit_mm_per_prompt": {"video": 0}},
        {"limit_mm_per_prompt": '{"video": 0}'},
        {"allowed_origins": ["*"]},
        {"compilation_config": {"mode": 0}},
        {"lora_modules": [{"name": "a", "path": "b"}, "c=d"]},
        {"max_lora_rank": 64, "enable_lora": True},
        {"disable_log_stats": True, "enforce_eager": False},
        {"gpu_memory_utilization": 1},
        {"development_mode": True},
        {"development_mode": True, "host": "localhost"},
        {"host": "0.0.0.0"},
        {"weight_transfer_config": {"backend": "nccl"}},
        {"ssl_keyfile": None, "uds": None},
        {"seed": 3},
    ],
)
def test_what_vllm_takes_is_taken(settings: dict[str, Any]) -> None:
    assert of_vllm(settings) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": None}, "model: is not set, and no learner names a model, name what to serve"),
        ({"max_model_len": "x"}, "max_model_len: 'x' is not a number of tokens, as 32768 or 32k"),
        ({"max_model_len": 0}, "max_model_len: 0 is not a number of tokens"),
        ({"max_model_len": True}, "max_model_len: true is not a number of tokens"),
        ({"max_num_batched_tokens": "8q"}, "is not an integer, as 4096 or 4k"),
        ({"max_lora_rank": 12}, "max_lora_rank: '12' is not one of 1, 8, 16"),
        ({"dtype": "float8"}, "dtype: 'float8' is not one of auto, bfloat16"),
        ({"limit_mm_per_prompt": 3}, "limit_mm_per_prompt: 3 is not a mapping or a string"),
        ({"served_model_name": []}, "served_model_name: [] is not a list of strings with at least"),
        ({"tensor_parallel_size": 0}, "tensor_parallel_size: 0 is below 1"),
        ({"gpu_memory_utilization": 95}, "is not a fraction of the memory, did you mean 0.95?"),
        ({"dtype": "  "}, "dtype: is empty"),
        ({"headless": True}, "headless: starts no HTTP server, remove it"),
        ({"uds": "/tmp/x"}, "uds: listens on a socket file instead of a port, remove it"),
        ({"ssl_keyfile": "k"}, "ssl_keyfile: serves HTTPS"),
        (
            {"development_mode": True, "host": "0.0.0.0"},
            "development_mode: lets everyone who reaches 0.0.0.0 replace the weights",
        ),
    ],
)
def test_what_vllm_refuses_is_refused(settings: dict[str, Any], said: str) -> None:
    assert said in "\n".join(of_vllm(settings))


@pytest.mark.parametrize("where", ["env.set", "env.server.defaults"])
def test_a_variable_is_development_mode_too(where: str) -> None:
    said = of_vllm({"host": "0.0.0.0"}, f"+{where}.VLLM_SERVER_DEV_MODE='1'")
    assert len(said) == 1
    assert f"{where}.VLLM_SERVER_DEV_MODE: lets everyone who reaches 0.0.0.0" in said[0]
    assert of_vllm({"host": "0.0.0.0"}, f"+{where}.VLLM_SERVER_DEV_MODE='0'") == []


def test_there_is_no_sleep_on_a_cpu() -> None:
    assert of_vllm({"enable_sleep_mode": True}) == []
    (said,) = of_vllm({"enable_sleep_mode": True}, "accelerator=cpu_native")
    assert said == (
        "enable_sleep_mode: vLLM has no sleep mode on a CPU and does not start, remove it"
    )


@pytest.mark.parametrize("name", ["api_key", "hf_token", "config"])
def test_what_the_launcher_gives_or_a_secret_is_no_setting(name: str) -> None:
    body = {"engine": "vllm", "rollout_server": {"model": "m", name: "abc-secret-abc"}}
    Path("x.yaml").write_text(yaml.safe_dump({"learner": "none", **body}))
    (mistake,) = compose("x", ["role=server"]).mistakes
    assert mistake.error.fix.startswith("set ")
    assert mistake.error.fix.endswith(("in the environment instead", "rollout_server instead"))
    assert "abc-secret" not in str(mistake.error)


def test_the_memory_and_the_model_are_judged_by_its_own_names() -> None:
    shape = ModelShape.read(TINY)
    assert shape is not None
    facts = Facts.of(shape, DeviceMemory(0.002))
    settings = {"tensor_parallel_size": 3, "max_model_len": 99999, "max_num_seqs": 9}
    said = of_vllm(settings, facts=facts)
    assert said[0].startswith("tensor_parallel_size: 3 does not divide the model's 4 attention")
    assert said[1].startswith("max_model_len: 99999 is more than the 16384 positions")
    said = of_vllm({"max_model_len": "16k", "max_num_seqs": 9}, facts=facts)
    assert said
    assert all("utilization 0.9" in line and line.startswith("warning: ") for line in said)


def of_external(settings: dict[str, Any]) -> list[str]:
    body = {"engine": "external", "rollout_server": {"model": "m", **settings}}
    return found(EXTERNAL, body)


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://node-1:8000"},
        {"url": "http://node-1:8000/"},
        {"url": ["http://node-1:8000", "http://node-2:8000/v1"]},
        {"url": "https://api.example.com/v1", "api_key_env": "OPENAI_API_KEY"},
        {"url": "http://127.0.0.1:8000", "api_key_env": "VLLM_API_KEY"},
        {"url": "http://[::1]:8000"},
        {"url": "https://api.example.com/v1beta/openai/"},
    ],
)
def test_an_api_of_others_is_taken(settings: dict[str, Any]) -> None:
    assert of_external(settings) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "url: is not set, and the launcher starts no server here"),
        ({"url": []}, "url: is not set"),
        ({"url": "node-1:8000"}, "url: is no HTTP URL with a host"),
        ({"url": "ftp://node-1"}, "url: is no HTTP URL"),
        ({"url": "http://"}, "url: is no HTTP URL"),
        ({"url": "http://a:99999"}, "url: is no HTTP URL"),
        ({"url": ["http://node-1", 3]}, "url: is no HTTP URL"),
        ({"url": "http://me:secret-word@node-1"}, "url: holds a login, which would be recorded"),
        ({"url": "http://node-1/v1?key=abc"}, "is no base URL, end it before the ?"),
        (
            {"url": "http://node-1/v1/chat/completions"},
            "is one path of an API, set it to its base, http://node-1/v1",
        ),
        ({"url": "http://node-1/v1/models"}, "set it to its base, http://node-1/v1"),
        ({"url": "http://node-1", "model": None}, "model: is not set, and no learner names"),
        ({"url": "https://n", "api_key_env": "sk-abcdefgh"}, "is not the name of a variable"),
        ({"url": "https://n", "api_key_env": "MY_VAR"}, "so it would not be masked"),
        (
            {"url": "http://node-1", "api_key_env": "A_API_KEY"},
            "warning: url: the key goes to node-1 unencrypted, use https",
        ),
    ],
)
def test_what_is_no_api_is_refused(settings: dict[str, Any], said: str) -> None:
    problems = "\n".join(of_external(settings))
    assert said.removeprefix("warning: ") in problems
    assert "sk-abc" not in problems
    assert "secret-word" not in problems
