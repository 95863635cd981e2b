"""What vLLM's server of a configuration takes: tokens, and memory of its devices."""

from __future__ import annotations

import dataclasses
from typing import Any

from grpo_launch.config.arguments import size
from grpo_launch.config.facts import DeviceMemory
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.engines.base import SizeKeys
from grpo_launch.engines.model_memory import MemoryEstimate, estimate
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.engines.serving import DEFAULT_UTILIZATION, Serving, figures, longest
from grpo_launch.engines.vllm import serve

SIZE_KEYS = SizeKeys("tensor_parallel_size", "data_parallel_size", "max_num_seqs")
LENGTH = "max_model_len"
UTILIZATION = "gpu_memory_utilization"

_MOVES_MEMORY = (
    *("kv_cache_dtype", "kv_cache_memory_bytes", "num_gpu_blocks_override", "cpu_offload_gb"),
    *("pipeline_parallel_size", "decode_context_parallel_size", "hf_overrides"),
)
"""Flags that the estimate does not follow."""


def serving_of(
    config: LaunchConfig, shape: ModelShape | None, gpu_memory_gib: float | None
) -> Serving:
    """What the server of ``config`` asks for."""
    flags = config.rollout_server
    return Serving(
        names=SIZE_KEYS,
        length=LENGTH,
        tensor_parallel=size(flags.get("tensor_parallel_size", 1)),
        data_parallel=size(flags.get("data_parallel_size", 1)),
        max_model_len=serve.length(flags.get(LENGTH)),
        utilization=flags.get(UTILIZATION, DEFAULT_UTILIZATION),
        estimate=lambda tp: _estimate(config, shape, gpu_memory_gib, tp),
    )


def model_len(config: LaunchConfig, shape: ModelShape | None) -> int | None:
    """Tokens of the longest sequence; None where they are not known, as with ``auto``."""
    said = config.rollout_server.get(LENGTH)
    return longest(None, shape) if said is None else serve.length(said)


def summary(context: Context) -> dict[str, dict[str, Any]]:
    """Tokens of a sequence, what the memory of a device holds, and what vLLM takes unasked."""
    config, shape, device = context.config, context.get(ModelShape), context.get(DeviceMemory)
    serving = serving_of(config, shape, device.gib if device else None)
    memory = serving.estimate(serving.tensor_parallel) if serving.tensor_parallel else None
    own = model_len(config, shape)
    length = "the model's own" if own is None else f"{own} (the model's own)"
    usual = {"tensor_parallel_size": "1 (vLLM)", "data_parallel_size": "1 (vLLM)", LENGTH: length}
    return {
        "tokens": {"server, prompt and completion": own},
        "memory": figures(memory),
        "defaults": {k: v for k, v in usual.items() if k not in config.rollout_server},
    }


def _estimate(
    config: LaunchConfig, shape: ModelShape | None, gpu_memory_gib: float | None, tp: int
) -> MemoryEstimate | None:
    """None without a shape, or where a flag moves memory in ways that nobody follows."""
    flags = config.rollout_server
    if shape is None or any(flags.get(name) is not None for name in _MOVES_MEMORY):
        return None
    if flags.get("quantization"):
        shape = dataclasses.replace(shape, quantized=True)
    dtype = flags.get("dtype", "auto")
    if dtype == "auto":  # a model in float32 is served in half of that (``ModelConfig``)
        dtype = "bfloat16" if shape.dtype == "float32" else shape.dtype
    share = flags.get(UTILIZATION)
    return estimate(
        shape,
        dtype if isinstance(dtype, str) else "",
        tp,
        gpu_memory_gib,
        share if isinstance(share, int | float) and 0 < share <= 1 else DEFAULT_UTILIZATION,
        model_len(config, shape),
        size(flags.get("max_num_seqs")),
    )
