"""Settings of a server that go by two names, plain and with the prefix of vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.checks.examine import validate
from grpo_launch.config import rollout
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.errors import ConfigError


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


@pytest.mark.parametrize("name", rollout.COMMON)
@pytest.mark.parametrize("prefix", ["", "vllm_"])
@pytest.mark.parametrize("block", ["rollout_server", "custom: {{extra: {{rollout_server"])
def test_a_file_says_it_by_either_name(name: str, prefix: str, block: str) -> None:
    closing = "}}" if "custom" in block else ""
    Path("x.yaml").write_text(f"{block.format()}: {{{prefix}{name}: 1}}{closing}\n")
    config = compose("x", [])
    assert config.rollout_server == {f"vllm_{name}": 1}
    assert config.where(f"rollout_server.vllm_{name}").endswith(f"rollout_server.{prefix}{name}")


@pytest.mark.parametrize("said", ["max_model_len", "vllm_max_model_len"])
@pytest.mark.parametrize("typed", ["max_model_len", "vllm_max_model_len"])
def test_the_command_line_wins_by_either_name(said: str, typed: str) -> None:
    Path("x.yaml").write_text(f"rollout_server: {{{said}: 1}}\n")
    config = compose("x", [f"rollout_server.{typed}=2"])
    assert config.rollout_server == {"vllm_max_model_len": 2}
    assert config.where("rollout_server.vllm_max_model_len").startswith("command line: ")


def test_a_native_file_says_it_by_either_name() -> None:
    text = "# @package _global_\nrollout_server: {max_num_seqs: 3}\n"
    Path("x.yaml").write_text(text)
    assert compose("x", []).rollout_server == {"vllm_max_num_seqs": 3}


def test_both_names_with_one_value_are_one_setting() -> None:
    Path("x.yaml").write_text("rollout_server: {max_num_seqs: 3, vllm_max_num_seqs: 3}\n")
    assert compose("x", []).mistakes == ()


def test_both_names_with_two_values_are_a_mistake() -> None:
    Path("x.yaml").write_text("rollout_server: {max_num_seqs: 3, vllm_max_num_seqs: 4}\n")
    lines = [p.line for p in validate(compose("x", []))]
    what = "is 4, but max_num_seqs, the same setting, is 3, keep one of them"
    assert f"x.yaml: rollout_server.vllm_max_num_seqs: {what}" in lines


def test_a_wrong_value_is_said_by_the_name_that_was_typed() -> None:
    Path("x.yaml").write_text("model: {model: m}\n")
    with pytest.raises(ConfigError) as refused:
        compose("x", ["rollout_server.max_model_len=1.5"])
    assert refused.value.where == "command line: rollout_server.max_model_len"
