"""What LLaMA-Factory gets: its training file, the list of data sets, variables, a command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.learners.base import TrainRequest
from grpo_launch.learners.llamafactory import datasets, importing
from grpo_launch.learners.llamafactory.learner import LEARNER
from grpo_launch.learners.publication import TRANSFORMERS, sources

LAUNCH = {"launch": {"learner": "llamafactory", "engine": "none"}}
FILE: dict[str, Any] = {
    "model_name_or_path": "some/model",
    "template": "qwen",
    "dataset": "identity",
    "dataset_dir": "lists",
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory for the experiment ``x.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def requested(
    said: dict[str, Any], *overrides: str, devices: int = 1, cuda: bool = True, nodes: int = 1
) -> TrainRequest:
    """The training of an experiment in a working directory of its own."""
    body = {**FILE, **said, "custom": {"extra": LAUNCH}}
    Path("x.yaml").write_text(yaml.safe_dump(body, sort_keys=False))
    config = compose("x", ["role=learner", *overrides])
    ids = tuple(map(str, range(devices)))
    return TrainRequest(config, ids, cuda, "runs/r", "runs/r/output", Path("/w"), nodes)


def written(said: dict[str, Any], *overrides: str, **more: Any) -> dict[str, Any]:
    """The training file as LLaMA-Factory reads it."""
    return yaml.safe_load(LEARNER.files(requested(said, *overrides, **more))[0].text)


ADDED = {
    "stage": "sft",
    "do_train": True,
    "output_dir": "runs/r/output",
    "report_to": "none",
}


def test_the_training_file_is_the_experiment_and_what_it_does_not_say() -> None:
    said = {"deepspeed": {"zero_optimization": {"stage": 2}}, "lora_target": ["a", "b"]}
    assert written(said) == {**FILE, **said, **ADDED}


@pytest.mark.parametrize(
    ("said", "overrides", "differences"),
    [
        ({}, ["learner.stage=dpo"], {"stage": "dpo"}),
        ({"stage": "pt"}, [], {"stage": "pt"}),
        ({"do_predict": True}, [], {"do_predict": True, "do_train": None}),
        ({"do_train": False}, [], {"do_train": False}),
        ({"output_dir": "mine"}, [], {"output_dir": "mine"}),
        ({"report_to": "wandb"}, [], {"report_to": "wandb", "run_name": "x"}),
        ({"report_to": "wandb"}, ["tracking=none"], {"report_to": ["none"]}),
        ({}, ["tracking=tensorboard"], {"report_to": ["tensorboard"]}),
        ({"learning_rate": "1e-4"}, [], {"learning_rate": 1e-4}),
        ({}, ["train.learning_rate=1e-4"], {"learning_rate": 1e-4}),
        # LLaMA-Factory's own default is true; elsewhere null is "not set".
        ({"enable_thinking": None, "cutoff_len": None}, [], {"enable_thinking": "null"}),
    ],
)  # fmt: skip
def test_what_is_said_wins(
    said: dict[str, Any], overrides: list[str], differences: dict[str, Any]
) -> None:
    expected = {**FILE, **ADDED, **differences}
    kept = {key: value for key, value in expected.items() if value is not None}
    kept = {key: None if value == "null" else value for key, value in kept.items()}
    assert written(said, *overrides) == kept


def test_without_a_gpu_it_is_said() -> None:
    assert written({}, cuda=False)["use_cpu"] is True
    assert written({"use_cpu": False}, cuda=False)["use_cpu"] is False


@pytest.mark.parametrize(
    ("said", "overrides", "more", "variables"),
    [
        ({}, [], {}, {}),
        ({}, [], {"devices": 4}, {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "4"}),
        ({}, [], {"devices": 2, "cuda": False}, {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2"}),
        ({"deepspeed": "z.json"}, [], {}, {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "1"}),
        ({}, ["+env.learner.set.FORCE_TORCHRUN='1'"], {},
         {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "1"}),
        ({}, ["learner.master_port=29501"], {"nodes": 2},
         {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "1", "NNODES": "2", "MASTER_PORT": "29501"}),
    ],
)  # fmt: skip
def test_torchrun_is_told_of_the_devices(
    said: dict[str, Any], overrides: list[str], more: dict[str, Any], variables: dict[str, str]
) -> None:
    assert LEARNER.env(requested(said, *overrides, **more)) == variables


MESSAGES = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}


@pytest.mark.parametrize(
    ("said", "stage", "arguments", "info"),
    [
        ({"dataset": ["d/a.jsonl"]}, "sft", {"dataset": "a"},
         {"a": {"file_name": "/w/d/a.jsonl", **MESSAGES}}),
        ({"dataset": "a.jsonl, /b/a.jsonl", "eval_dataset": "c.json"}, "sft",
         {"dataset": "a,a_2", "eval_dataset": "c"},
         {"a": {"file_name": "/w/a.jsonl", **MESSAGES},
          "a_2": {"file_name": "/b/a.jsonl", **MESSAGES},
          "c": {"file_name": "/w/c.json", **MESSAGES}}),
        ({"dataset": ["t.txt"]}, "pt", {"dataset": "t"},
         {"t": {"file_name": "/w/t.txt", "columns": {"prompt": "text"}}}),
        ({"dataset": ["k.jsonl"]}, "kto", {"dataset": "k"},
         {"k": {"file_name": "/w/k.jsonl", **MESSAGES,
                "columns": {"messages": "messages", "kto_tag": "label"}}}),
        ({"dataset": ["p.jsonl"]}, "dpo", {"dataset": "p"},
         {"p": {"file_name": "/w/p.jsonl", **MESSAGES, "ranking": True,
                "columns": {"messages": "messages", "chosen": "chosen", "rejected": "rejected"}}}),
        ({"data": {"p": {"file": "p.json", "formatting": "alpaca"}}}, "dpo", {"dataset": "p"},
         {"p": {"file_name": "/w/p.json", "formatting": "alpaca", "ranking": True}}),
        ({"data": {"one": "1.jsonl", "two": {"file": "2.jsonl", "num_samples": 5}},
          "eval_dataset": "two"}, "sft", {"dataset": "one", "eval_dataset": "two"},
         {"one": {"file_name": "/w/1.jsonl", **MESSAGES},
          "two": {"file_name": "/w/2.jsonl", **MESSAGES, "num_samples": 5}}),
        ({"data": {"one": "1.jsonl", "two": "2.jsonl"}, "dataset": "two"}, "sft",
         {"dataset": "two"},
         {"one": {"file_name": "/w/1.jsonl", **MESSAGES},
          "two": {"file_name": "/w/2.jsonl", **MESSAGES}}),
    ],
)  # fmt: skip
def test_files_are_listed(
    said: dict[str, Any], stage: str, arguments: dict[str, str], info: dict[str, Any]
) -> None:
    found, text = datasets.resolved(said, stage, "runs/r/data", Path("/w"))
    assert found == {**arguments, "dataset_dir": "runs/r/data"}
    assert text is not None
    assert json.loads(text) == info


@pytest.mark.parametrize(
    "said",
    [{}, {"dataset": "identity,alpaca_en"}, {"dataset": ["v1.5"]}, {"data": 3}, {"data": {"a": 1}}],
)
def test_a_list_of_somebody_s_own_stays(said: dict[str, Any]) -> None:
    assert datasets.resolved(said, "sft", "d", Path("/w")) == ({}, None)


def test_the_list_is_written_beside_the_training_file() -> None:
    said = {"data": {"own": "a.jsonl"}, "dataset": None, "dataset_dir": None}
    training, info = LEARNER.files(requested(said))
    assert info.path == "runs/r/data/dataset_info.json"
    assert json.loads(info.text)["own"]["file_name"] == "/w/a.jsonl"
    read = yaml.safe_load(training.text)
    assert (read["dataset"], read["dataset_dir"]) == ("own", "runs/r/data")
    assert "data" not in read


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("llamafactory-cli train --stage sft --bf16 --lora_target q,v --learning_rate 1e-4",
         {"stage": "sft", "bf16": True, "lora_target": "q,v", "learning_rate": 1e-4}),
        ("llamafactory-cli train --model_name_or_path=5 --max_steps=5",
         {"model_name_or_path": "5", "max_steps": 5}),
    ],
)  # fmt: skip
def test_a_command_line_is_read_back(words: str, keys: dict[str, Any]) -> None:
    read = importing.keys_of(words.split())
    assert read.pop("learner.entry") == ["llamafactory-cli"]
    assert {key.removeprefix("train."): value for key, value in read.items()} == keys


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("swift sft --model x", "no train"),
        ("llamafactory-cli train x.yaml", "config=x.yaml"),
        ("llamafactory-cli train --stage sft x", "'x' belongs to no flag"),
    ],
)
def test_another_command_line_is_refused(words: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        importing.keys_of(words.split())


CHECKPOINT = (
    *("chat_template.jinja", "config.json", "generation_config.json", "model.safetensors"),
    *("optimizer.pt", "rng_state.pth", "scheduler.pt", "tokenizer.json", "tokenizer_config.json"),
    *("trainer_state.json", "training_args.bin"),
)
BASE = (
    *("chat_template.jinja", "config.json", "generation_config.json", "model.safetensors"),
    *("recipe.json", "tokenizer.json", "tokenizer_config.json"),
)


def test_what_is_published_has_the_prompts_of_the_base_model() -> None:
    assert sources(TRANSFORMERS, CHECKPOINT, BASE) == {
        "config.json": "checkpoint",
        "model.safetensors": "checkpoint",
        "chat_template.jinja": "base",
        "generation_config.json": "base",
        "tokenizer.json": "base",
        "tokenizer_config.json": "base",
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["config.json", "tokenizer.json"], "no weights"),
        (["adapter_config.json", "adapter_model.safetensors"], r"no config\.json"),
        (["config.json", "adapter_model.safetensors"], "no weights"),
    ],
)
def test_what_cannot_be_served_is_not_published(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sources(TRANSFORMERS, names, BASE)
