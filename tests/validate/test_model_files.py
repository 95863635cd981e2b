"""Local models, adapters and checkpoints: what is there, what is missing, what is of a hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpo_launch.base.host import Host
from grpo_launch.checks.examine import examine
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts, MissingFiles
from grpo_launch.config.rule import Outcome
from grpo_launch.learners.swift.learner import LEARNER

EXPERIMENT = """\
model: {{model: {model}}}
data: {{dataset: [d.jsonl]}}
rlhf:
  use_vllm: true
  vllm_mode: server
  vllm_server_host: [127.0.0.1]
  vllm_server_port: [8000]
  reward_funcs: [format]
custom:
  extra:
    rollout_server:
      {{vllm_tensor_parallel_size: 1, vllm_data_parallel_size: 1, vllm_max_model_len: 512}}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.jsonl").write_text('{"query": "1 + 1?"}\n')
    write("m", "config.json", "model.safetensors", "tokenizer.json")
    write("a", "adapter_config.json", "adapter_model.safetensors")
    write("bare", "adapter_config.json")
    write("home/m", "config.json", "pytorch_model.bin", "vocab.txt")


def write(directory: str, *names: str) -> None:
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name in names:
        (Path(directory) / name).write_text("{}")


def judged(*overrides: str, model: str = "./m") -> tuple[Outcome, list[str]]:
    """What the rule makes of it, and what preflight reports."""
    Path("configs").mkdir(exist_ok=True)
    Path("configs/x.yaml").write_text(EXPERIMENT.format(model=model))
    config = compose("x", ["role=check", *overrides])
    host = Host(Path.cwd(), {"HOME": str(Path("home").absolute())}, 0.0, "0000")
    facts = Facts.of(*LEARNER.facts(config, host))
    rule = "local_models_are_complete"
    missing = facts.get(MissingFiles)
    assert missing is not None
    told = [str(p) for p in missing.problems]
    return next(o for o in examine(config, facts) if o.rule == rule), told


@pytest.mark.parametrize(
    "model", ["m", "./m", "~/m", "home/m", "home:m", "../{here}/m", "{absolute}"]
)
def test_a_complete_model_is_accepted_however_it_is_named(model: str) -> None:
    here = Path.cwd()
    name = model.format(here=here.name, absolute=here / "m")
    assert judged(model=name) == (Outcome("local_models_are_complete"), [])


@pytest.mark.parametrize(
    "model",
    [
        "/nowhere/m",
        "./n",
        "../n",
        "~/n",
        "a/b/c",
        "n/",
        "models/n",
        "~other/m",
        "broken",
        "$HOME/n",
        "https://hub/some/model",
        "my models/n",
        "out/checkpoint-5",
        "checkpoint-5",
    ],
)
def test_a_path_that_is_not_here_is_told_by_preflight(model: str) -> None:
    Path("broken").symlink_to("nowhere")
    outcome, missing = judged(model=model)
    what = f"{model} does not exist, correct the path, or create it"
    assert missing == [f"configs/x.yaml: model.model: {what}"]
    assert (outcome.problems, outcome.skipped) == ((), f"{model} does not exist")


@pytest.mark.parametrize("model", ["some/model", "some/model:sub", "Some.Org/Model-1.5_x"])
def test_of_a_model_of_a_hub_nothing_is_known(model: str) -> None:
    outcome, missing = judged(model=model)
    assert (outcome.problems, outcome.skipped) == ((), f"{model} is a model of a hub")
    assert missing == []


def test_a_bare_name_is_not_silently_of_a_hub() -> None:
    outcome, missing = judged(model="gpt2")
    (problem,) = outcome.problems
    what = "gpt2 is no directory here, so a hub is asked for it"
    assert str(problem) == f"configs/x.yaml: model.model: {what}, correct the path if it is one"
    assert (problem.severity.value, missing) == ("warning", [])


def test_a_name_below_a_directory_is_not_silently_of_a_hub() -> None:
    outcome, missing = judged(model="home/other")
    (problem,) = outcome.problems
    what = "home/other is not in the directory home, so a hub is asked for it"
    assert str(problem) == f"configs/x.yaml: model.model: {what}, correct the path if it is one"
    assert (problem.severity.value, missing) == ("warning", [])


INDEX = json.dumps({"weight_map": {"x": "m-1.safetensors", "y": "m-2.safetensors"}})


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({}, "has no config.json"),
        ({"config.json": "{}"}, "has no weights (model.safetensors, pytorch_model.bin, ...)"),
        (
            {"config.json": "{}", "model.safetensors": "x", "tokenizer_config.json": "{}"},
            "has no tokenizer (tokenizer.json, tokenizer.model, vocab.json, ...)",
        ),
        (
            {"config.json": "{}", "model.safetensors.index.json": INDEX, "m-1.safetensors": ""},
            "has no m-2.safetensors, which model.safetensors.index.json names",
        ),
        (
            {
                "config.json": "{}",
                "model.safetensors": "version https://git-lfs.github.com/spec/v1",
            },
            "has only the Git LFS pointer of model.safetensors, not the weights",
        ),
        ({"config.json": '{"a":'}, "has a config.json that is not a JSON object"),
        ({"config.json": "[]"}, "has a config.json that is not a JSON object"),
        ({"config.json": "{}", "model.safetensors": ""}, "has an empty model.safetensors"),
    ],
)
def test_what_a_directory_lacks_is_said(files: dict[str, str], fault: str) -> None:
    Path("n").mkdir()
    for name, text in files.items():
        Path("n", name).write_text(text)
    outcome, missing = judged(model="n")
    assert missing == []
    assert [str(problem) for problem in outcome.problems] == [
        f"configs/x.yaml: model.model: n {fault}, complete the directory, or name another"
    ]


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("+train.rlhf.ref_model=a", "has no config.json"),
        ("+train.rlhf.reward_model=[m,a]", "has no config.json"),
        ("+train.rlhf.teacher_model=d.jsonl", "is a file, not a directory"),
        ("+train.tuner.adapters=[m]", "has no adapter_config.json"),
        ("+train.tuner.adapters=[bare]", "has no weights (adapter_model.safetensors, ...)"),
        (
            "+train.training.resume_from_checkpoint=true",
            "is no directory, and ms-swift reads it as one",
        ),
        ("+train.rlhf.ref_adapters=[m]", "has no adapter_config.json"),
        ("+train.training.resume_from_checkpoint=home", "has no config.json"),
    ],
)
def test_every_argument_that_names_one_is_looked_at(override: str, fault: str) -> None:
    outcome, _ = judged(override)
    assert [problem.what.partition(" ")[2] for problem in outcome.problems] == [fault]


@pytest.mark.parametrize(
    "override",
    [
        "+train.tuner.adapters=[a]",
        "+train.training.resume_from_checkpoint=a",
        "+train.training.resume_from_checkpoint=m",
        "+train.rlhf.ref_model=some/model",
    ],
)
def test_what_is_whole_or_of_a_hub_is_left_alone(override: str) -> None:
    outcome, missing = judged(override)
    assert (outcome.problems, missing) == ((), [])


def test_a_checkpoint_is_never_of_a_hub() -> None:
    _, missing = judged("+train.training.resume_from_checkpoint=output/checkpoint-5")
    assert [line.rpartition(": ")[2] for line in missing] == [
        "output/checkpoint-5 does not exist, correct the path, or create it"
    ]


def test_the_rollout_server_loads_only_the_model() -> None:
    _, missing = judged("role=server", "+train.rlhf.ref_model=/nowhere", model="/elsewhere")
    assert [line.split()[2] for line in missing] == ["/elsewhere"]
