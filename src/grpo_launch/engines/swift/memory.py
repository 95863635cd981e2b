"""What the rollout server of a configuration takes: tokens, and memory of its devices."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

from grpo_launch.config.arguments import find, size
from grpo_launch.config.facts import DeviceMemory
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context, Unknown
from grpo_launch.engines.model_memory import MemoryEstimate, estimate
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.engines.serving import DEFAULT_UTILIZATION, Serving, figures, longest
from grpo_launch.engines.swift.settings import SIZE_KEYS

TENSOR_PARALLEL = "rollout_server.vllm_tensor_parallel_size"
DATA_PARALLEL = "rollout_server.vllm_data_parallel_size"
MODEL_LEN = "rollout_server.vllm_max_model_len"
NUM_SEQS = "rollout_server.vllm_max_num_seqs"

OWN_LENGTH = Unknown("vllm_max_model_len is not set, and the model's own length is not known")

DEFAULT_COMPLETION = 512
"""``RLHFArguments.max_completion_length`` of ms-swift."""

_MOVES_MEMORY = (
    *("kv_cache_dtype", "kv_cache_memory_bytes", "num_gpu_blocks_override", "cpu_offload_gb"),
    *("pipeline_parallel_size", "decode_context_parallel_size", "hf_overrides", "quantization"),
)
"""Engine arguments that the estimate does not follow."""


def serving_of(
    config: LaunchConfig, shape: ModelShape | None, gpu_memory_gib: float | None
) -> Serving:
    """What the rollout server of ``config`` asks for."""
    flags = config.rollout_server
    return Serving(
        names=SIZE_KEYS,
        length="vllm_max_model_len",
        tensor_parallel=tensor_parallel_size(config),
        data_parallel=size(flags.get("vllm_data_parallel_size", 1)),
        max_model_len=size(flags.get("vllm_max_model_len")),
        utilization=flags.get("vllm_gpu_memory_utilization", DEFAULT_UTILIZATION),
        estimate=lambda tp: estimate_of(config, shape, gpu_memory_gib, tp),
    )


def estimate_of(
    config: LaunchConfig,
    shape: ModelShape | None,
    gpu_memory_gib: float | None,
    tp: int | None = None,
) -> MemoryEstimate | None:
    """The memory of the rollout server that ``config`` asks for, or with another TP.

    None without a shape, with a wrong TP, or where an engine argument moves memory in ways that
    :func:`~grpo_launch.engines.model_memory.estimate` does not follow.
    """
    tp, flags = tp or tensor_parallel_size(config), config.rollout_server
    if shape is None or tp is None or _moves_memory(flags.get("vllm_engine_kwargs")):
        return None
    if flags.get("vllm_quantization"):
        shape = dataclasses.replace(shape, quantized=True)
    share = flags.get("vllm_gpu_memory_utilization")
    dtype = config.get("model.torch_dtype", shape.dtype)
    return estimate(
        shape,
        dtype if isinstance(dtype, str) else "",
        tp,
        gpu_memory_gib,
        share if isinstance(share, int | float) and 0 < share <= 1 else DEFAULT_UTILIZATION,
        model_len(config, shape),
        size(flags.get("vllm_max_num_seqs")),
    )


def tensor_parallel_size(config: LaunchConfig) -> int | None:
    """TP, or None where it is not a positive integer."""
    return size(config.rollout_server.get("vllm_tensor_parallel_size", 1))


def model_len(config: LaunchConfig, shape: ModelShape | None) -> int | None:
    """Tokens of the longest sequence, see ``serving.longest``; None where they are no number."""
    said = config.rollout_server.get("vllm_max_model_len")
    return longest(None, shape) if said is None else size(said)


def completion_limit(config: LaunchConfig) -> tuple[str, int | None]:
    """The key and the value, in tokens, that limit a completion."""
    for name in ("response_length", "max_new_tokens", "max_completion_length"):
        key, value = find(config, name, "rlhf")
        if value:
            return key, size(value)
    return "rlhf.max_completion_length", DEFAULT_COMPLETION


def prompt_limit(config: LaunchConfig, shape: ModelShape | None) -> tuple[str, int | None]:
    """The key and the value, in tokens, that limit a prompt; None where nothing does."""
    key, value = find(config, "max_length", "template")
    if value is not None:
        return key, size(value)
    if (value := config.get("global_max_length")) is not None:
        return "global_max_length", size(value)
    return key, shape.max_position_embeddings if shape else None


def summary(context: Context) -> dict[str, dict[str, Any]]:
    """Tokens of a sequence, and what the memory of a device holds, as far as it is known."""
    config, shape, device = context.config, context.get(ModelShape), context.get(DeviceMemory)
    prompt = prompt_limit(config, shape)[1]
    tokens = {
        "prompt, at most": "not limited" if prompt is None else prompt,
        "completion, at most": completion_limit(config)[1],
        "server, both": model_len(config, shape),
    }
    memory = figures(estimate_of(config, shape, device.gib if device else None))
    return {"tokens": tokens, "memory": memory, "defaults": _defaults(config, shape)}


def _defaults(config: LaunchConfig, shape: ModelShape | None) -> dict[str, str]:
    """What ms-swift takes for the sizes that are not set, by flag."""
    own = model_len(config, shape)
    length = "the model's own" if own is None else f"{own} (the model's own)"
    sizes = {TENSOR_PARALLEL: "1 (ms-swift)", DATA_PARALLEL: "1 (ms-swift)", MODEL_LEN: length}
    names = {key.rpartition(".")[2]: value for key, value in sizes.items()}
    return {name: value for name, value in names.items() if name not in config.rollout_server}


def _moves_memory(engine_kwargs: Any) -> bool:
    if isinstance(engine_kwargs, str):
        try:
            engine_kwargs = json.loads(engine_kwargs)
        except (ValueError, RecursionError):
            return True
    if not isinstance(engine_kwargs, dict):
        return False
    return any(name in cast("dict[Any, Any]", engine_kwargs) for name in _MOVES_MEMORY)
