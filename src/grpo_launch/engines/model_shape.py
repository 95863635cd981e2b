"""A model's shape, as its ``config.json`` says it.

Nothing is fetched and no engine is imported. A number that the file does not say is None:
an engine may fill it in from its own classes, this module does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from grpo_launch.base import files

MAX_CONFIG_BYTES = 4 * 1024 * 1024
"""Above this a ``config.json`` is not read."""

_HEAD_DIM_FROM_HIDDEN = (
    *("llama", "mistral", "mixtral", "phi3", "qwen2", "qwen2_moe"),
    *("qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"),
)
"""Model types whose head size is hidden size / heads unless ``head_dim`` says otherwise."""

_LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
_LENGTH_ALREADY_SCALED = frozenset(
    ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")
)


@dataclass(frozen=True)
class ModelShape:
    """What ``config.json`` says of a decoder; None where it says nothing.

    Attributes:
        model_type: of the text model.
        hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads,
        head_dim, intermediate_size, vocab_size: as in Hugging Face configurations;
            ``head_dim`` is hidden size / heads for the families that define it so.
        num_experts: of a mixture of experts, else None.
        moe_intermediate_size: of one expert.
        shared_expert_intermediate_size: of the expert that every token passes.
        num_moe_layers: layers with experts in place of one MLP.
        tie_word_embeddings: whether the output layer is the embedding.
        max_position_embeddings: positions before any scaling.
        max_model_len: the longest sequence that vLLM accepts, scaling applied.
        rope_type, rope_factor: of the scaling, where there is one.
        dtype: ``bfloat16``, ``float16``, ...
        full_attention: whether every layer keeps keys and values of all tokens.
        quantized: whether the weights are stored in less than ``dtype``.
    """

    MISSING: ClassVar[str] = "the model has no local config.json"

    model_type: str | None = None
    hidden_size: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    intermediate_size: int | None = None
    vocab_size: int | None = None
    num_experts: int | None = None
    moe_intermediate_size: int | None = None
    shared_expert_intermediate_size: int | None = None
    num_moe_layers: int | None = None
    tie_word_embeddings: bool | None = None
    max_position_embeddings: int | None = None
    max_model_len: int | None = None
    rope_type: str | None = None
    rope_factor: float | None = None
    dtype: str | None = None
    full_attention: bool = True
    quantized: bool = False

    @staticmethod
    def read(directory: Path) -> ModelShape | None:
        """The shape of the model in a local directory; None without a readable config.json."""
        file = directory / "config.json"
        try:
            config = files.loads(files.read(file, MAX_CONFIG_BYTES))
        except (OSError, ValueError):
            return None
        return ModelShape.of(cast("dict[str, Any]", config)) if isinstance(config, dict) else None

    @staticmethod
    def of(config: Mapping[str, Any]) -> ModelShape:
        """The shape that a parsed ``config.json`` describes; ``text_config`` wins over the root."""
        nested = config.get("text_config")
        text = cast("dict[str, Any]", nested) if isinstance(nested, dict) else config
        merged = {**config, **text}
        kind = _text(text.get("model_type"))
        rope_type, factor = _rope(text)
        expert_width = _first(text, "moe_intermediate_size", "intermediate_size")
        experts = _first(text, "num_experts", "num_local_experts", "n_routed_experts")
        return ModelShape(
            model_type=kind,
            hidden_size=_count(text.get("hidden_size")),
            num_hidden_layers=_count(text.get("num_hidden_layers")),
            num_attention_heads=_count(text.get("num_attention_heads")),
            num_key_value_heads=_count(text.get("num_key_value_heads")),
            head_dim=_head_dim(text, kind),
            intermediate_size=_count(text.get("intermediate_size")),
            vocab_size=_count(text.get("vocab_size")),
            num_experts=experts,
            moe_intermediate_size=expert_width if experts else None,
            shared_expert_intermediate_size=_count(text.get("shared_expert_intermediate_size")),
            num_moe_layers=_moe_layers(text) if experts else None,
            tie_word_embeddings=_flag(merged.get("tie_word_embeddings")),
            max_position_embeddings=_count(text.get("max_position_embeddings")),
            max_model_len=_max_model_len(text, kind, rope_type, factor),
            rope_type=rope_type,
            rope_factor=factor,
            dtype=_dtype(merged),
            full_attention=_has_full_attention(text),
            quantized=any(merged.get(k) for k in ("quantization_config", "compression_config")),
        )


def _max_model_len(
    text: Mapping[str, Any], kind: str | None, rope_type: str | None, factor: float | None
) -> int | None:
    """The limit of vLLM: ``_get_and_verify_max_len`` of ``vllm/config/model.py`` (0.32)."""
    lengths = [length for key in _LENGTHS if (length := _count(text.get(key))) is not None]
    if not lengths:
        return None
    named = _count(text.get("model_max_length"))
    limit = min(lengths) if named is None else named
    if factor and rope_type not in _LENGTH_ALREADY_SCALED and "gemma3" not in (kind or ""):
        limit = int(limit * factor)
    return max(limit, named or 0)


def _rope(text: Mapping[str, Any]) -> tuple[str | None, float | None]:
    for key in ("rope_parameters", "rope_scaling"):
        said = text.get(key)
        if not isinstance(said, dict) or not said:
            continue
        rope = cast("dict[str, Any]", said)
        nested = [
            cast("dict[str, Any]", value) for value in rope.values() if isinstance(value, dict)
        ]
        for one in nested or [rope]:
            kind = _text(one.get("rope_type")) or _text(one.get("type"))
            factor = one.get("factor")
            if kind not in (None, "default"):
                return kind, _number(factor)
    return None, None


def _head_dim(text: Mapping[str, Any], kind: str | None) -> int | None:
    said = _count(text.get("head_dim"))
    hidden, heads = _count(text.get("hidden_size")), _count(text.get("num_attention_heads"))
    if said is not None or kind not in _HEAD_DIM_FROM_HIDDEN or not (hidden and heads):
        return said
    return hidden // heads


def _moe_layers(text: Mapping[str, Any]) -> int | None:
    layers = _count(text.get("num_hidden_layers"))
    dense = text.get("mlp_only_layers") or []
    step = text.get("decoder_sparse_step", 1)
    if layers is None or layers > 10_000 or not isinstance(dense, list) or not _count(step):
        return None
    return sum(layer not in dense and (layer + 1) % step == 0 for layer in range(layers))


def _has_full_attention(text: Mapping[str, Any]) -> bool:
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        return all(kind == "full_attention" for kind in cast("list[Any]", kinds))
    windowed = text.get("sliding_window") and text.get("use_sliding_window", True)
    hybrid = ("layers_block_type", "hybrid_override_pattern", "full_attention_interval")
    return not (windowed or text.get("kv_lora_rank") or any(text.get(key) for key in hybrid))


def _dtype(config: Mapping[str, Any]) -> str | None:
    said = _text(config.get("dtype")) or _text(config.get("torch_dtype"))
    return said.removeprefix("torch.") if said else None


def _first(text: Mapping[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := _count(text.get(name)))), None)


def _count(value: Any) -> int | None:
    sane = isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**40
    return value if sane else None


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and 0 < value < 2**20 else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
