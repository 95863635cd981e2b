"""What an engine that serves one model takes of another directory, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpo_launch.engines.vllm.reload import RELOAD
from grpo_launch.stages import fit, weights
from tests.stages.made import CONFIG, NO_HEAD, TENSORS, save

TIED = {**CONFIG, "tie_word_embeddings": True}
UNSAID = {key: value for key, value in CONFIG.items() if key != "tie_word_embeddings"}
YARN = {"rope_theta": 10000.0, "rope_type": "yarn", "factor": 4.0}


def misfits(
    tmp_path: Path, served: dict[str, Any] | None = None, fresh: dict[str, Any] | None = None
) -> list[str]:
    directories = [
        save(tmp_path / name, **(how or {})) for name, how in (("old", served), ("new", fresh))
    ]
    old, new = map(weights.read, directories)
    return [
        str(error).removeprefix(f"{tmp_path}/new")
        for error in fit.misfits(old, new, RELOAD.unloaded)
    ]


@pytest.mark.parametrize(
    ("served", "fresh"),
    [
        pytest.param({}, {"fill": 2}, id="other numbers"),
        pytest.param({}, {"dtype": "BF16"}, id="bfloat16 for float32"),
        pytest.param({"dtype": "BF16"}, {"dtype": "F64"}, id="float64 for bfloat16"),
        pytest.param(
            {"config": TIED, "tensors": NO_HEAD}, {"config": TIED}, id="tied, with a copy"
        ),
        pytest.param(
            {"config": TIED}, {"config": TIED, "tensors": NO_HEAD}, id="tied, without the copy"
        ),
        pytest.param(
            {"config": TIED, "tensors": NO_HEAD},
            {"config": UNSAID, "tensors": NO_HEAD},
            id="tied, as it shows",
        ),
        pytest.param(
            {},
            {"tensors": {**TENSORS, "model.layers.0.self_attn.rotary_emb.inv_freq": (1,)}},
            id="buffers that are not loaded",
        ),
        pytest.param(
            {},
            {"config": {**CONFIG, "rope_theta": 5.0, "transformers_version": "4", "dtype": "x"}},
            id="rope_theta beside rope_parameters, versions and types",
        ),
        pytest.param(
            {},
            {"config": {k: v for k, v in CONFIG.items() if k not in ("hidden_act", "head_dim")}},
            id="what is left open",
        ),
    ],
)
def test_what_fits(tmp_path: Path, served: dict[str, Any], fresh: dict[str, Any]) -> None:
    assert misfits(tmp_path, served, fresh) == []


@pytest.mark.parametrize(
    ("served", "fresh", "said"),
    [
        ({}, {"config": {**CONFIG, "architectures": ["LlamaForCausalLM"]}}, [
            "/config.json: architectures is ['LlamaForCausalLM'], the server has ['Qwen2",
        ]),
        ({}, {"config": {**CONFIG, "num_attention_heads": 2, "num_key_value_heads": 2}}, [
            "/config.json: head_dim is 1, the server has 2 (and 2 more)",
        ]),
        ({}, {"config": {**CONFIG, "rms_norm_eps": 1e-5}}, ["rms_norm_eps is 1e-05, "]),
        ({}, {"config": {**CONFIG, "rope_parameters": YARN}}, ["rope_type is yarn, "]),
        ({}, {"config": {**CONFIG, "rope_parameters": {"rope_theta": 1e6}}}, ["rope_theta is 1"]),
        ({}, {"config": {**CONFIG, "quantization_config": {"bits": 4}}}, ["quantized is True, "]),
        ({}, {"tensors": NO_HEAD}, ["lm_head.weight is missing, the server would silently keep "]),
        ({}, {"tensors": NO_HEAD, "config": TIED}, [
            "tie_word_embeddings is True, the server has False", "lm_head.weight is missing",
        ]),
        ({"config": TIED}, {}, ["tie_word_embeddings is False, the server has True"]),
        ({}, {"tensors": {"model.norm.weight": (2,)}}, [
            ": lm_head.weight and 3 more are missing, ",
        ]),
        ({}, {"tensors": {**TENSORS, "model.layers.0.mlp.up_proj.bias": (4,)}}, [
            ": model.layers.0.mlp.up_proj.bias is unknown to the server's model, ",
        ]),
        ({}, {"tensors": {**TENSORS, "model.norm.weight": (3,)}}, [
            ": model.norm.weight is [3], the server has [2], ",
        ]),
        ({}, {"dtype": "F8_E4M3"}, ["lm_head.weight is F8_E4M3, the server has F32 (and 4 more)"]),
        ({"tensors": {"a": (1,)}}, {"tensors": {"b": (1,)}}, ["a is missing", "b is unknown"]),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    tmp_path: Path, served: dict[str, Any], fresh: dict[str, Any], said: list[str]
) -> None:
    lines = misfits(tmp_path, served, fresh)
    assert len(lines) == len(said), lines
    for line, part in zip(lines, said, strict=True):
        assert part in line
