"""The memory that serving a model takes, from its shape: weights and KV cache."""

from __future__ import annotations

import math
from dataclasses import dataclass

from grpo_launch.engines.model_shape import ModelShape

GIB = 1024**3

BLOCK_TOKENS = 16
"""Tokens of one block of vLLM's KV cache on a GPU (``CacheConfig.DEFAULT_BLOCK_SIZE``)."""

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float": 4, "half": 2}

_GATED = (
    *("llama", "mistral", "mixtral", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe"),
    *("qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"),
    *("qwen3_vl", "qwen3_vl_text", "qwen3_vl_moe", "qwen3_vl_moe_text"),
)
"""Model types with attention and a gated MLP of three matrices in every layer."""


@dataclass(frozen=True)
class MemoryEstimate:
    """The memory of one device of a rollout server; None where a number is not known.

    Weights and KV cache alone: activations, CUDA graphs, NCCL buffers and a vision tower
    are left out, so that ``tokens`` and ``sequences`` are upper bounds.

    Attributes:
        weights_gib: weights, GiB a device.
        kv_bytes_per_token: KV cache of one token, bytes a device.
        tokens: tokens whose KV cache fits; negative where the weights alone do not fit.
        sequences: sequences of ``max_model_len`` tokens that fit at a time.
        max_model_len: tokens of the longest sequence.
        max_num_seqs: sequences that one replica may decode at a time.
    """

    weights_gib: float | None
    kv_bytes_per_token: int | None
    tokens: int | None
    sequences: int | None
    max_model_len: int | None
    max_num_seqs: int | None


def estimate(
    shape: ModelShape,
    dtype: str,
    tp: int,
    gpu_memory_gib: float | None,
    utilization: float,
    max_model_len: int | None,
    max_num_seqs: int | None,
) -> MemoryEstimate:
    """The memory of a rollout server with this shape.

    vLLM gives the KV cache what ``total memory x gpu_memory_utilization`` leaves after the
    weights and a profiled step (``vllm/v1/worker/gpu_worker.py``, ``determine_available_memory``),
    in whole blocks (``get_kv_cache_capacity``, ``vllm/v1/core/kv_cache_utils.py``).

    Args:
        shape: the model.
        dtype: of weights and KV cache.
        tp: devices that one replica is split over.
        gpu_memory_gib: a device's total memory, GiB.
        utilization: the share of it that vLLM takes.
        max_model_len: tokens of the longest sequence.
        max_num_seqs: sequences that one replica may decode at a time.
    """
    kv = kv_bytes_per_token(shape, dtype, tp)
    parameters = parameters_per_device(shape, tp)
    size = _BYTES.get(dtype)
    weights = None if parameters is None or size is None else parameters * size
    tokens = sequences = None
    if kv and weights is not None and gpu_memory_gib is not None:
        free = gpu_memory_gib * utilization * GIB - weights
        tokens = math.floor(free / (kv * BLOCK_TOKENS)) * BLOCK_TOKENS
    if tokens is not None and max_model_len:
        rounded = -(-max_model_len // BLOCK_TOKENS) * BLOCK_TOKENS
        sequences = max(0, tokens // rounded)
    return MemoryEstimate(
        weights_gib=None if weights is None else weights / GIB,
        kv_bytes_per_token=kv,
        tokens=tokens,
        sequences=sequences,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
    )


def kv_bytes_per_token(shape: ModelShape, dtype: str, tp: int) -> int | None:
    """KV cache of one token, bytes a device.

    Layers x KV heads a device x (key + value) x head size x bytes: ``AttentionSpec`` of
    ``vllm/v1/kv_cache_interface.py``; KV heads a device are max(1, KV heads // TP), as
    ``ModelConfig.get_num_kv_heads`` (``vllm/config/model.py``) replicates them. None with
    sliding windows, linear or latent attention, which keep less.
    """
    layers, heads, width = shape.num_hidden_layers, shape.num_key_value_heads, shape.head_dim
    size = _BYTES.get(dtype)
    if not (layers and heads and width and size) or tp < 1 or not shape.full_attention:
        return None
    return layers * max(1, heads // tp) * 2 * width * size


def parameters_per_device(shape: ModelShape, tp: int) -> float | None:
    """Parameters that one of ``tp`` devices holds, without biases and a vision tower.

    Per layer: query and output projection, key and value projection, three matrices of
    the MLP or of each expert, two norms; then the embedding, and the output layer unless
    tied. vLLM splits all of them but norms and routers over the devices and replicates KV
    heads as above. None for model types that may be built differently.
    """
    hidden, layers, heads = shape.hidden_size, shape.num_hidden_layers, shape.num_attention_heads
    kv_heads, width, vocab = shape.num_key_value_heads, shape.head_dim, shape.vocab_size
    if shape.model_type not in _GATED or shape.quantized or tp < 1:
        return None
    if not (hidden and layers and heads and kv_heads and width and vocab):
        return None
    if shape.tie_word_embeddings is None:
        return None
    mlp = _mlp_parameters(shape, hidden, layers, tp)
    if mlp is None:
        return None
    attention = 2 * hidden * heads * width / tp + 2 * hidden * max(1, kv_heads // tp) * width
    embeddings = (1 if shape.tie_word_embeddings else 2) * vocab * hidden / tp
    return layers * (attention + 2 * hidden) + mlp + embeddings + hidden


def _mlp_parameters(shape: ModelShape, hidden: int, layers: int, tp: int) -> float | None:
    sparse = shape.num_moe_layers or 0
    if shape.num_experts and shape.num_moe_layers is None:
        return None
    parameters = 0.0
    if layers > sparse:
        if shape.intermediate_size is None:
            return None
        parameters += (layers - sparse) * 3 * hidden * shape.intermediate_size / tp
    if sparse:
        if shape.moe_intermediate_size is None or shape.num_experts is None:
            return None
        width = shape.num_experts * shape.moe_intermediate_size
        shared = shape.shared_expert_intermediate_size or 0
        parameters += sparse * (3 * hidden * (width + shared) / tp + hidden * shape.num_experts)
    return parameters
