"""All rules together: what hides what, and what could not be judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.checks.examine import Outcome, examine, validate
from grpo_launch.checks.gather import of_devices
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import DeviceMemory, Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.learners.swift.dataset_files import DataFiles
from grpo_launch.learners.swift.model_files import LocalModels
from grpo_launch.learners.swift.plugin_rules import Plugins
from grpo_launch.planning.devices import Devices

VALID = """\
model: {model: some/model}
training: {per_device_train_batch_size: 8, learning_rate: 1.0e-6}
template: {max_length: 64}
data: {dataset: [d.jsonl]}
rlhf:
  use_vllm: true
  vllm_mode: server
  vllm_server_host: [127.0.0.1]
  vllm_server_port: [8080]
  reward_funcs: [format]
  max_completion_length: 64
custom:
  extra:
    rollout_server:
      vllm_tensor_parallel_size: 1
      vllm_data_parallel_size: 1
      vllm_max_model_len: 128
"""
FILES = (LocalModels(()), DataFiles(()), Plugins((), ()))
DEVICES = (*of_devices(Devices(("0",), ("1",), cuda=True)), *FILES)
FACTS = Facts.of(*DEVICES)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def outcomes(text: str, facts: Facts = FACTS) -> list[Outcome]:
    Path("x.yaml").write_text(text)
    return examine(compose("x"), facts)


def places(text: str) -> list[str]:
    found = [problem for outcome in outcomes(text) for problem in outcome.problems]
    return [problem.where.removeprefix("x.yaml: ") for problem in found]


def test_a_valid_configuration_has_no_problem() -> None:
    assert places(VALID) == []


@pytest.mark.parametrize("section", ["rlhf", "training", "model", "template"])
def test_a_section_that_is_a_list_is_one_error(section: str) -> None:
    lines = VALID.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{section}:"))
    end = next(i for i, line in enumerate(lines) if i > start and not line.startswith(" "))
    text = "\n".join([*lines[:start], f"{section}: [{{a: 1}}]", *lines[end:]])
    assert places(text) == [section]


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("vllm_max_model_len: 128", "vllm_max_model_len: 1k", "vllm_max_model_len"),
        ("vllm_max_model_len: 128", "vllm_max_len: 128", "vllm_max_len"),
        ("vllm_data_parallel_size: 1", "vllm_data_parallel: 1", "vllm_data_parallel"),
    ],
)
def test_a_key_that_could_not_be_read_is_not_called_missing_as_well(
    right: str, wrong: str, place: str
) -> None:
    assert places(VALID.replace(right, wrong)) == [f"custom.extra.rollout_server.{place}"]


def test_what_is_wrong_elsewhere_is_said_beside_what_could_not_be_read() -> None:
    text = VALID.replace("vllm_max_model_len: 128", "vllm_max_len: 128")
    text = text.replace("vllm_mode: server", "vllm_mode: colocate").replace("[8080]", "[0]")
    assert places(text) == [
        "custom.extra.rollout_server.vllm_max_len",
        "rlhf.vllm_server_port",
        "rlhf.vllm_mode",
    ]


def test_a_wrong_plan_hides_the_batches_and_nothing_else() -> None:
    plan = "  grpo: {batch_plan: {enabled: true, unified_batch_size: 48}}\n"
    text = VALID.replace("reward_funcs: [format]", "reward_weights: [1]") + plan
    assert [place.rpartition(".")[2] for place in places(text)] == [
        "per_device_train_batch_size",
        "reward_weights",
        "reward_funcs",
    ]
    hidden = {o.title for o in outcomes(text) if o.skipped == "the batch plan is wrong"}
    assert "generation batch size is a multiple of num generations" in hidden
    assert "one reward weight per reward" not in hidden


def skipped(facts: Facts) -> dict[str, str]:
    return {o.title: o.skipped for o in outcomes(VALID, facts) if o.skipped is not None}


@pytest.mark.slow
def test_what_lacks_a_fact_is_skipped_and_says_which() -> None:
    memory = ("kv cache holds one sequence", "kv cache holds max num seqs")
    shaped = (
        "tensor parallel size divides attention heads",
        "model supports max model len",
        *memory,
    )
    no_model = dict.fromkeys(shaped, "the model has no local config.json")
    not_gathered = {
        "nnodes is a number of nodes that can meet": "the number of nodes is not known",
        "node rank is the number of a node": "the number of nodes is not known",
        "processes are those of the devices": "the number of nodes is not known",
        "json texts are mappings": "the files that texts name were not looked at",
    }
    assert skipped(FACTS) == no_model | not_gathered
    batches = "generation batch size is a multiple of num generations"
    assert skipped(Facts())[batches] == "the devices of the learner are not known"
    shape = ModelShape(num_attention_heads=4, num_key_value_heads=4, max_model_len=256)
    no_memory = "the memory of a device is not known (accelerator.memory_gib says it)"
    shaped_facts = Facts.of(*DEVICES, shape)
    assert skipped(shaped_facts) == dict.fromkeys(memory, no_memory) | not_gathered
    sized = Facts.of(*DEVICES, shape, DeviceMemory(80.0))
    no_estimate = "the memory of this model cannot be estimated"
    assert skipped(sized) == dict.fromkeys(memory, no_estimate) | not_gathered
    bare = skipped(Facts.of(*DEVICES, ModelShape(), DeviceMemory(80.0)))
    assert bare["model supports max model len"] == "the model's config.json names no positions"


def test_what_was_skipped_is_no_problem() -> None:
    Path("x.yaml").write_text(VALID)
    assert validate(compose("x"), Facts()) == []


WITH_KEYS = ("model: {model: some/model}", "data: {dataset: [d.jsonl]}", "reward_funcs: [format]")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (WITH_KEYS[0], "model: {modle: some/model}", ["model.modle"]),
        (WITH_KEYS[1], "data: {datasets: [d.jsonl]}", ["data.datasets"]),
        (WITH_KEYS[1], "data: {dataset: []}", ["data.dataset"]),
        (WITH_KEYS[1], "data: {dataset: [null]}", ["data.dataset"]),
        (WITH_KEYS[1], "data: {dataset: {path: d.jsonl}}", ["data.dataset"]),
        (WITH_KEYS[1], "data: {dataset: ' '}", ["data.dataset"]),
        (WITH_KEYS[2], "reward_function: [format]", ["rlhf.reward_function"]),
        (WITH_KEYS[2], "reward_funcs: []", ["rlhf.reward_funcs"]),
        (WITH_KEYS[2], "reward_funcs: {accuracy: 1.0}", ["rlhf.reward_funcs"]),
        (WITH_KEYS[2], "reward_funcs: [7]", ["rlhf.reward_funcs"]),
        (
            WITH_KEYS[2],
            "reward_funcs: [mine]\n  external_plugin: [p.py]",
            ["rlhf.external_plugin"],
        ),
        (WITH_KEYS[2], "reward_funcs: [format]\n  reward_weights: '1 2'", ["rlhf.reward_weights"]),
        ("training:", "trainng:", ["trainng"]),
        ("rlhf:", "rhlf:", ["rhlf"]),
        (
            "per_device_train_batch_size",
            "per_device_train_batch_siz",
            ["training.per_device_train_batch_siz"],
        ),
    ],
)
def test_one_mistake_is_one_finding(old: str, new: str, found: list[str]) -> None:
    assert old in VALID
    assert places(VALID.replace(old, new)) == found


def test_beside_a_misspelled_key_other_mistakes_are_reported() -> None:
    text = VALID.replace("data: {dataset: [d.jsonl]}", "data: {datasets: [d.jsonl]}")
    text = text.replace("vllm_mode: server", "vllm_mode: colocate")
    assert places(text) == ["rlhf.vllm_mode", "data.datasets"]


def test_a_secret_is_reported_beside_an_unknown_key() -> None:
    text = VALID.replace("learning_rate: 1.0e-6", "api_key: x")
    assert places(text) == ["training.api_key", "training.api_key"]
