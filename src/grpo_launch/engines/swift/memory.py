"""The rules of the model's shape: tensor parallelism, token budget and memory of the server.

Source: vLLM 0.32 and ms-swift 4.6.0, named at each rule. A rule says nothing where
``config.json`` or the accelerator's memory does not give the number that it needs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from grpo_launch.config.arguments import find, size
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.engines.model_memory import MemoryEstimate, estimate
from grpo_launch.engines.model_shape import ModelShape

MemoryRule = Callable[[LaunchConfig, ModelShape | None, float | None], list[Problem]]
"""From a configuration, the model's shape and a device's GiB to what is wrong."""

TENSOR_PARALLEL = "rollout_server.vllm_tensor_parallel_size"
DATA_PARALLEL = "rollout_server.vllm_data_parallel_size"
MODEL_LEN = "rollout_server.vllm_max_model_len"
NUM_SEQS = "rollout_server.vllm_max_num_seqs"
MEMORY = "accelerator.memory_gib"
ALLOW_LONG = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"

DEFAULT_UTILIZATION = 0.9
DEFAULT_COMPLETION = 512
"""Defaults of ms-swift (``VllmArguments``, ``RLHFArguments.max_completion_length``)."""

_MOVES_MEMORY = (
    *("kv_cache_dtype", "kv_cache_memory_bytes", "num_gpu_blocks_override", "cpu_offload_gb"),
    *("pipeline_parallel_size", "decode_context_parallel_size", "hf_overrides", "quantization"),
)
"""Engine arguments that the estimate does not follow."""


def estimate_of(
    config: LaunchConfig, shape: ModelShape | None, gpu_memory_gib: float | None
) -> MemoryEstimate | None:
    """The memory of the rollout server that ``config`` asks for.

    None without a shape, without TP, or where an engine argument moves memory in ways that
    :func:`~grpo_launch.engines.model_memory.estimate` does not follow.
    """
    tp, flags = _tp(config), config.rollout_server
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
        _model_len(config),
        size(flags.get("vllm_max_num_seqs")),
    )


def tensor_parallel_divides_heads(
    config: LaunchConfig, shape: ModelShape | None, gpu_memory_gib: float | None
) -> list[Problem]:
    """TP divides the attention heads, and one of TP and the KV heads divides the other.

    Source: ``ModelConfig.verify_with_parallel_config`` (``vllm/config/model.py``, "Total number
    of attention heads must be divisible by tensor parallel size") and the assertions of
    each attention layer (``vllm/model_executor/models/qwen2.py``, ``llama.py``). With TP above
    the KV heads vLLM replicates them (``ModelConfig.get_num_kv_heads``).
    """
    del gpu_memory_gib
    tp = _tp(config)
    if shape is None or tp is None or _tp_fits(shape, tp):
        return []
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
    what = f"{tp} does not divide the model's {heads} attention heads"
    if heads is None or heads % tp == 0:
        what = f"{tp} and the model's {kv_heads} KV heads do not divide one another"
    near = [n for n in range(1, (heads or tp) + 1) if _tp_fits(shape, n)]
    near = [n for n in near if n < tp][-1:] + [n for n in near if n > tp][:1]
    fix = f"set it to {' or '.join(map(str, near))}"
    return [Problem(config.where(TENSOR_PARALLEL), what, fix)]


def model_reaches_the_length(
    config: LaunchConfig, shape: ModelShape | None, gpu_memory_gib: float | None
) -> list[Problem]:
    """``vllm_max_model_len`` is within the model's positions.

    Source: ``_get_and_verify_max_len`` (``vllm/config/model.py``): the positions times the
    factor of the rope scaling, except for YaRN, llama3 and LongRoPE, whose
    ``max_position_embeddings`` is taken to be scaled already. ``VLLM_ALLOW_LONG_MAX_MODEL_LEN``
    turns the error off.
    """
    del gpu_memory_gib
    length = _model_len(config)
    limit = shape.max_model_len if shape else None
    if shape is None or length is None or limit is None or length <= limit:
        return []
    what = f"{length} is more than the {limit} positions of the model"
    fix = f"set it to {limit} or less"
    if shape.rope_type == "yarn":
        fix += ", or write the scaled max_position_embeddings into the model's config.json"
    env = config.env.set.get(ALLOW_LONG, config.env.defaults.get(ALLOW_LONG, "0"))
    severity = Severity.WARNING if env.strip().lower() in ("1", "true") else Severity.ERROR
    return [Problem(config.where(MODEL_LEN), what, fix, severity)]


def completion_leaves_room(
    config: LaunchConfig, shape: ModelShape | None, gpu_memory_gib: float | None
) -> list[Problem]:
    """Prompt and completion fit into ``vllm_max_model_len`` together.

    The server shortens a completion to what the prompt leaves and refuses a prompt
    that leaves nothing (``InferEngine.set_default_max_tokens``,
    ``swift/infer_engine/infer_engine.py``). In GRPO ``max_length`` limits the prompt alone
    (``swift/arguments/base_args/template_args.py``), and only ``truncation_strategy: delete``
    enforces it (``GRPOTrainer._rollout_samples``); the completion limit is the first of
    ``response_length``, ``max_new_tokens`` and ``max_completion_length``
    (``RLHFArguments._init_max_completion_length``).
    """
    del gpu_memory_gib
    length = _model_len(config)
    key, completion = completion_limit(config)
    if length is None or completion is None:
        return []
    prompt_key, prompt = prompt_limit(config, shape)
    longer = _longer_server(config, shape, None if prompt is None else prompt + completion)
    if completion >= length:
        said = f"{completion}" if config.get(key) else f"is not set (default {completion}), which"
        what = f"{said} leaves no token for the prompt in vllm_max_model_len {length}"
        rest = length - prompt if prompt and prompt < length else length // 2
        fix = f"set it to {rest}"
        if prompt and prompt >= length:
            fix += f" and template.max_length to {length - rest}"
        if rest < 1:
            fix, longer = f"raise {config.spelled(MODEL_LEN)} above {completion}", ""
        return [Problem(config.where(f"train.{key}"), what, fix + longer)]
    if prompt is None or prompt + completion <= length:
        return []
    rest = length - completion
    what = f"prompts of up to {prompt} tokens and completions of up to {completion} exceed "
    what += f"vllm_max_model_len {length}: a prompt above {rest} tokens cuts its completions short"
    fix = "set template.max_length" if prompt_key == "global_max_length" else "set it"
    fix += f" to {rest}"
    strategy_key, strategy = find(config, "truncation_strategy", "template")
    if strategy != "delete":  # the only one that enforces the length
        fix += f" and {config.spelled(f'train.{strategy_key}')} to delete"
    where = config.where(f"train.{prompt_key}")
    return [Problem(where, what, fix + longer, Severity.WARNING)]


def memory_holds_a_sequence(
    config: LaunchConfig, shape: ModelShape | None, gpu_memory_gib: float | None
) -> list[Problem]:
    """The weights fit, and beside them the KV cache of one sequence of full length.

    Source: ``_check_enough_kv_cache_memory`` (``vllm/v1/core/kv_cache_utils.py``), which ends
    the server. A warning, since the memory of the device may be another one.
    """
    memory = estimate_of(config, shape, gpu_memory_gib)
    if shape is None or memory is None or memory.tokens is None or memory.sequences != 0:
        return []
    length = cast("int", memory.max_model_len)
    split = _split_that_fits(config, shape, cast("float", gpu_memory_gib))
    device = f"({gpu_memory_gib:.1f} GiB a device, utilization {_share(config)})"
    if memory.tokens <= 0:
        what = f"{memory.weights_gib:.1f} GiB of weights a device leave no KV cache {device}"
        fix = f"set it to {split}" if split else "use a smaller model, or more or larger devices"
        return [Problem(config.where(TENSOR_PARALLEL), what, fix, Severity.WARNING)]
    what = (
        f"the KV cache holds at most {memory.tokens} tokens, not one sequence of {length} {device}"
    )
    fix = f"set it to {memory.tokens} or less"
    fix += f", or {config.spelled(TENSOR_PARALLEL)} to {split}" if split else ""
    return [Problem(config.where(MODEL_LEN), what, fix, Severity.WARNING)]


def memory_reaches_max_num_seqs(
    config: LaunchConfig, shape: ModelShape | None, gpu_memory_gib: float | None
) -> list[Problem]:
    """``vllm_max_num_seqs``, where given, sequences of full length fit into the KV cache.

    vLLM starts all the same and preempts sequences when the cache is full
    (``vllm/v1/core/sched/scheduler.py``), which costs their tokens.
    """
    memory = estimate_of(config, shape, gpu_memory_gib)
    if memory is None or memory.max_num_seqs is None or not memory.sequences:
        return []
    if memory.sequences >= memory.max_num_seqs:
        return []
    what = f"{memory.max_num_seqs} sequences of {memory.max_model_len} tokens do not fit, "
    what += f"the KV cache holds at most {memory.sequences} ({gpu_memory_gib:.1f} GiB a device, "
    what += f"utilization {_share(config)})"
    fix = f"set it to {memory.sequences}, unless sequences are mostly shorter"
    return [Problem(config.where(NUM_SEQS), what, fix, Severity.WARNING)]


MEMORY_RULES: Sequence[MemoryRule] = (
    tensor_parallel_divides_heads,
    model_reaches_the_length,
    completion_leaves_room,
    memory_holds_a_sequence,
    memory_reaches_max_num_seqs,
)
"""All rules of this module, in the order in which their findings are reported."""


def lacks(
    rule: MemoryRule,
    config: LaunchConfig,
    shape: ModelShape | None,
    gpu_memory_gib: float | None,
) -> str | None:
    """What ``rule`` would have to know and does not: in words, or None."""
    if rule is completion_leaves_room:
        return None if prompt_limit(config, shape)[1] else "nothing limits the prompt"
    if shape is None:
        return "the model has no local config.json"
    if rule is tensor_parallel_divides_heads:
        known = shape.num_attention_heads or shape.num_key_value_heads
        return None if known else "the model's config.json names no attention heads"
    if rule is model_reaches_the_length:
        return None if shape.max_model_len else "the model's config.json names no positions"
    if gpu_memory_gib is None:
        return f"the memory of a device is not known ({MEMORY} says it)"
    memory = estimate_of(config, shape, gpu_memory_gib)
    if memory is None or memory.tokens is None:
        return "the memory of this model cannot be estimated"
    return None


def _tp(config: LaunchConfig) -> int | None:
    return size(config.rollout_server.get("vllm_tensor_parallel_size"))


def _model_len(config: LaunchConfig) -> int | None:
    return size(config.rollout_server.get("vllm_max_model_len"))


def _share(config: LaunchConfig) -> Any:
    return config.rollout_server.get("vllm_gpu_memory_utilization", DEFAULT_UTILIZATION)


def _tp_fits(shape: ModelShape, tp: int) -> bool:
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
    if heads and heads % tp:
        return False
    return not kv_heads or max(kv_heads, tp) % min(kv_heads, tp) == 0


def _split_that_fits(config: LaunchConfig, shape: ModelShape, gpu_memory_gib: float) -> str | None:
    """The smallest larger TP, and the DP for as many devices, with which a sequence fits."""
    tp, dp = _tp(config) or 1, size(config.rollout_server.get("vllm_data_parallel_size")) or 1
    for more in range(tp + 1, min(tp * dp, shape.num_attention_heads or 0) + 1):
        if tp * dp % more or not _tp_fits(shape, more):
            continue
        flags = {**config.rollout_server, "vllm_tensor_parallel_size": more}
        larger = dataclasses.replace(config, rollout_server=flags)
        memory = estimate_of(larger, shape, gpu_memory_gib)
        if memory is not None and memory.sequences:
            return f"{more} and {config.spelled(DATA_PARALLEL)} to {tp * dp // more}"
    return None


def _longer_server(config: LaunchConfig, shape: ModelShape | None, length: int | None) -> str:
    """``, or ...``: the advice to raise ``vllm_max_model_len``, where the model reaches it."""
    limit = shape.max_model_len if shape else None
    if length is None or (limit is not None and length > limit):
        return ""
    return f", or {config.spelled(MODEL_LEN)} to {length}"


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


def _moves_memory(engine_kwargs: Any) -> bool:
    if isinstance(engine_kwargs, str):
        try:
            engine_kwargs = json.loads(engine_kwargs)
        except (ValueError, RecursionError):
            return True
    if not isinstance(engine_kwargs, dict):
        return False
    return any(name in cast("dict[Any, Any]", engine_kwargs) for name in _MOVES_MEMORY)
