"""The rules of LLaMA-Factory: what each refuses, and what it lets pass."""

# ruff: noqa: E501 (a message stands on one line, as it is shown)
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.base.host import Host
from grpo_launch.checks.examine import validate
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts, MissingFiles, WorldSize
from grpo_launch.config.hydra import lookup
from grpo_launch.engines.flag_facts import LearnerFlags
from grpo_launch.learners.llamafactory.flags import FLAGS
from grpo_launch.learners.llamafactory.learner import LEARNER
from tests.learners.test_llamafactory_files import FILE, LAUNCH

CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with data, and a list of data sets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    Path("lists").mkdir()
    Path("lists/dataset_info.json").write_text('{"identity": {}, "alpaca_en": {}}')
    Path("chat.jsonl").write_text(json.dumps(CHAT) + "\n")
    Path("alpaca.json").write_text(json.dumps([{"instruction": "a", "output": "b"}], indent=1))


def found(said: dict[str, Any], *overrides: str, processes: int = 1) -> list[str]:
    """What is wrong with an experiment, without the file's name."""
    body = {**FILE, **said, "custom": {"extra": LAUNCH}}
    body = {key: value for key, value in body.items() if value != "absent"}
    Path("x.yaml").write_text(yaml.safe_dump(body, sort_keys=False))
    config = compose("x", ["role=learner", *overrides])
    table = FLAGS.shipped().table
    flags = LearnerFlags("LLaMA-Factory 0.9.5", table.program, table.flags, table.defaults)
    host = Host(Path.cwd(), {}, 0.0, "0000")
    facts = Facts.of(WorldSize(processes), flags, *LEARNER.facts(config, host))
    missing = facts.known[MissingFiles].problems
    problems = [*validate(config, facts), *missing]
    return [f"{p.severity.value}: {p}".replace("x.yaml: ", "") for p in problems]


FILES = {"dataset_dir": "absent", "dataset": ["chat.jsonl"]}


@pytest.mark.parametrize(
    "said",
    [
        {},
        FILES,
        {**FILES, "dataset": "chat.jsonl"},
        {"dataset": ["identity", "alpaca_en"], "eval_dataset": "identity"},
        {"dataset_dir": "ONLINE", "dataset": "any/thing"},
        {"dataset_dir": "absent", "dataset": "absent", "data": {"a": "chat.jsonl"}},
        {"dataset_dir": "absent", "dataset": "absent",
         "data": {"a": {"file": "alpaca.json", "formatting": "alpaca"}}},
        {"learning_rate": "1e-4", "lora_target": ["q", "v"], "deepspeed": {"a": 1}, "bf16": True},
        {"learning_rate": 1, "report_to": ["wandb", "tensorboard"], "save_steps": None},
        {"stage": "pt", "template": "absent"},
        {"stage": "ppo", "reward_model": "r"},
        {"do_train": False, "do_eval": True, "dataset": "absent", "eval_dataset": "identity"},
    ],
)  # fmt: skip
def test_what_works_passes(said: dict[str, Any]) -> None:
    assert found(said) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"learning_rat": 1e-4},
         "error: learning_rat: unknown key, no argument of llamafactory-cli train of LLaMA-Factory 0.9.5, did you mean learning_rate?"),
        ({"stage": "sftt"},
         "error: stage: 'sftt' is not one of pt, sft, rm, ppo, dpo, kto, did you mean sft?"),
        ({"template": "chatmll"},
         "error: template: 'chatmll' is not one of its 121 choices, did you mean chatml?"),
        ({"bf16": "false"},
         "error: bf16: 'false' is not true or false, write it without quotes"),
        ({"max_steps": "10"}, "error: max_steps: '10' is not an integer, write it without quotes"),
        ({"max_steps": "many"}, "error: max_steps: 'many' is not an integer, write an integer"),
        ({"max_steps": 1.5}, "error: max_steps: 1.5 is not an integer, write an integer"),
        ({"save_strategy": False},
         "error: save_strategy: false is not one of no, steps, epoch, best, quote it, since YAML reads no as false: 'no'"),
        ({"adapter_name_or_path": ["a", "b"]},
         "error: adapter_name_or_path: ['a', 'b'] is not a string, write a string"),
        ({"template": {"a": 1}}, "error: template: {a: 1} is not one of its 121 choices, choose one of them"),
        ({"model_name_or_path": "absent"},
         "error: model_name_or_path: is null, set it to a model's name or directory"),
        ({"model_name_or_path": "./nothing"},
         "error: model_name_or_path: ./nothing does not exist, correct the path, or create it"),
        ({"dataset": "absent"},
         "error: dataset: is not set, set it to a file, [data.jsonl], or to names of dataset_dir/dataset_info.json"),
        ({"dataset": "identitty"},
         "error: dataset: identitty is not in lists/dataset_info.json, did you mean identity?"),
        ({"dataset_dir": "absent"},
         "error: dataset: identity is no file, and there is no data/dataset_info.json, name a file, data.jsonl, or set dataset_dir"),
        ({**FILES, "dataset_dir": "lists"},
         "error: dataset_dir: is not read where files are named, the launcher writes their list, remove it"),
        ({**FILES, "dataset": ["chat.jsonl", "identity"]},
         "error: dataset: identity is no file and not in data, name its file as well, or describe all of them in dataset_info.json"),
        ({**FILES, "dataset": ["none.jsonl"]},
         "error: dataset: none.jsonl does not exist, correct the path, or create it"),
        ({**FILES, "dataset": ["alpaca.json"]},
         "error: dataset: alpaca.json has no column messages, its columns are instruction, output, describe it: data: {NAME: {file: ..., formatting: alpaca or sharegpt, columns: ...}}"),
        ({**FILES, "stage": "dpo"},
         "error: dataset: chat.jsonl has no column chosen, its columns are messages, describe it: data: {NAME: {file: ..., formatting: alpaca or sharegpt, columns: ...}}"),
        ({**FILES, "dataset": "absent", "data": ["a"]},
         "error: data: ['a'] is not a mapping of names to files, write {NAME: FILE}"),
        ({**FILES, "dataset": "absent", "data": {"a": {"file": "chat.jsonl", "colums": {}}}},
         "error: data.a.colums: unknown key, did you mean columns?"),
        ({**FILES, "dataset": "absent", "data": {"a": {"columns": {}}}},
         "error: data.a: names no file, write {file: FILE, ...}"),
        ({"template": "absent"},
         "warning: template: is not set, LLaMA-Factory guesses it from the model's chat template, name it"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(said: dict[str, Any], message: str) -> None:
    assert found(said) == [message]


def test_the_stage_is_said_once() -> None:
    assert found({"stage": "sft"}, "learner.stage=sft") == []
    assert found({}, "learner.stage=dpo") == []
    assert found({"stage": "sft"}, "learner.stage=dpo") == [
        "error: stage: is 'sft', but learner.stage is dpo (command line: learner.stage), keep one of them"
    ]


def test_data_are_not_judged_by_a_stage_that_is_in_doubt() -> None:
    for stage in ("dpo", "dpoo"):
        assert len(found({**FILES, "stage": "sft"}, f"learner.stage={stage}")) == 1


@pytest.mark.parametrize(
    ("said", "overrides", "processes", "finds"),
    [
        ({}, ["run.dir=a b"], 1, False),
        ({}, ["run.dir=ab"], 2, False),
        ({}, ["run.dir=a b"], 2, True),
        ({"deepspeed": "z.json"}, ["run.dir=a b"], 1, True),
        ({}, ["runtime=venv", "runtime.path=my env"], 2, True),
        ({}, ["runtime=venv", "runtime.path=my env"], 1, False),
    ],
)
def test_spaces_that_torchrun_would_see(
    said: dict[str, Any], overrides: list[str], processes: int, *, finds: bool
) -> None:
    problems = found(said, *overrides, processes=processes)
    assert [" has a space, at which LLaMA-Factory splits torchrun's command" in p
            for p in problems] == [True] * finds  # fmt: skip


@pytest.mark.parametrize(
    ("files", "said", "message"),
    [
        ([], {}, None),
        (["trainer_log.jsonl"], {}, None),
        (["checkpoint-4/x", "checkpoint-12/x"], {},
         "warning: output_dir: mine has checkpoint-12, from which LLaMA-Factory goes on, set another one, or overwrite_output_dir: true, to begin anew"),
        (["checkpoint-4/x"], {"overwrite_output_dir": True}, None),
        (["checkpoint-4/x"], {"resume_from_checkpoint": "mine/checkpoint-4"}, None),
        (["model.safetensors"], {},
         "error: output_dir: mine holds the model of another training, which LLaMA-Factory refuses, set another one, or overwrite_output_dir: true"),
    ],
)  # fmt: skip
def test_an_output_directory_that_is_not_empty(
    files: list[str], said: dict[str, Any], message: str | None
) -> None:
    for name in files:
        path = Path("mine", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert found({"output_dir": "mine", **said}) == ([] if message is None else [message])


def test_a_server_alone_is_not_judged() -> None:
    body = {**FILE, "learning_rat": 1, "custom": {"extra": LAUNCH}}
    Path("x.yaml").write_text(yaml.safe_dump(body))
    config = compose("x", ["role=server"])
    assert list(LEARNER.facts(config, Host(Path.cwd(), {}, 0.0, "0000"))) == []


CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}{% endfor %}"
QWEN = CHATML + "{{ 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}"


@pytest.mark.parametrize(
    ("template", "chat", "said", "message"),
    [
        ("chatml", CHATML, {}, None),
        ("qwen", QWEN, {}, None),
        ("qwen", CHATML, {"default_system": ""}, None),
        ("qwen", CHATML, {"stage": "pt"}, None),
        ("empty", CHATML, {}, None),
        ("llama3", None, {}, None),
        ("qwen", CHATML, {},
         "begins with 'You are Qwen, created by Alibaba Cloud. ', which the model's own chat template does not say"),
        ("llama3", CHATML, {},
         "makes prompts with <|end_header_id|> <|eot_id|> <|start_header_id|>, the model's own chat template not"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_template_of_another_model(
    template: str, chat: str | None, said: dict[str, Any], message: str | None, place: str
) -> None:
    Path("model").mkdir()
    if chat is not None:
        whole = chat if place.endswith("jinja") else json.dumps({"chat_template": chat})
        Path("model", place).write_text(whole)
    problems = found({"model_name_or_path": "./model", "template": template, **said})
    fix = "choose the template of this model; rehearse=true shows where they differ"
    line = f"warning: template: {template} {message}, {fix}"
    assert problems == ([] if message is None else [line])
