"""The rules of the model's shape: tensor parallelism, token budget and memory of the server.

Source: vLLM 0.32 and ms-swift 4.6.0, named at each rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from grpo_launch.config.arguments import find, size
from grpo_launch.config.env import of_half
from grpo_launch.config.facts import DeviceMemory
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.readable import Sections
from grpo_launch.config.rule import Context, Finding, Rule, Unknown, rule
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.engines.swift.memory import (
    DATA_PARALLEL,
    DEFAULT_UTILIZATION,
    MODEL_LEN,
    NUM_SEQS,
    OWN_LENGTH,
    TENSOR_PARALLEL,
    completion_limit,
    estimate_of,
    model_len,
    prompt_limit,
    tensor_parallel_size,
)
from grpo_launch.plan import SERVER

_ALLOW_LONG = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
_PROMPT_LEN = "train.template.max_length"
_LEAST_PROMPT = 8
"""Tokens; a chat template alone takes more."""

_NOT_ESTIMATED = Unknown("the memory of this model cannot be estimated")


@rule(needs=(Sections, ModelShape))
def tensor_parallel_size_divides_attention_heads(context: Context) -> Iterator[Finding]:
    """TP divides the attention heads, and one of TP and the KV heads divides the other.

    Source: ``ModelConfig.verify_with_parallel_config`` (``vllm/config/model.py``, "Total number
    of attention heads must be divisible by tensor parallel size") and the assertions of
    each attention layer (``vllm/model_executor/models/qwen2.py``, ``llama.py``). With TP above
    the KV heads vLLM replicates them (``ModelConfig.get_num_kv_heads``).
    """
    shape, tp = context[ModelShape], tensor_parallel_size(context.config)
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
    if not (heads or kv_heads):
        yield Unknown("the model's config.json names no attention heads")
    if tp is None or _tp_fits(shape, tp):
        return
    what = f"{tp} does not divide the model's {heads} attention heads"
    if heads is None or heads % tp == 0:
        what = f"{tp} and the model's {kv_heads} KV heads do not divide one another"
    near = [n for n in range(1, (heads or tp) + 1) if _tp_fits(shape, n)]
    near = [n for n in near if n < tp][-1:] + [n for n in near if n > tp][:1]
    fix = f"set it to {' or '.join(map(str, near))}"
    yield Problem(context.config.where(TENSOR_PARALLEL), what, fix)


@rule(needs=(Sections, ModelShape))
def model_supports_max_model_len(context: Context) -> Iterator[Finding]:
    """``vllm_max_model_len`` is within the model's positions.

    Source: ``_get_and_verify_max_len`` (``vllm/config/model.py``): the positions times the
    factor of the rope scaling, except for YaRN, llama3 and LongRoPE, whose
    ``max_position_embeddings`` is taken to be scaled already. ``VLLM_ALLOW_LONG_MAX_MODEL_LEN``
    turns the error off.
    """
    config, shape = context.config, context[ModelShape]
    length, limit = size(config.rollout_server.get("vllm_max_model_len")), shape.max_model_len
    if not limit:
        yield Unknown("the model's config.json names no positions")
    if length is None or limit is None or length <= limit:
        return
    what = f"{length} is more than the {limit} positions of the model"
    fix = f"set it to {limit} or less"
    if shape.rope_type == "yarn":
        fix += ", or write the scaled max_position_embeddings into the model's config.json"
    own = of_half(config.env, SERVER)
    allowed = own.set.get(_ALLOW_LONG, own.defaults.get(_ALLOW_LONG, "0"))
    severity = Severity.WARNING if allowed.strip().lower() in ("1", "true") else Severity.ERROR
    yield Problem(config.where(MODEL_LEN), what, fix, severity)


@rule(needs=(Sections,))
def prompt_and_completion_fit_max_model_len(context: Context) -> Iterator[Finding]:
    """Prompt and completion fit into ``vllm_max_model_len`` together.

    The server shortens a completion to what the prompt leaves and refuses a prompt
    that leaves nothing (``InferEngine.set_default_max_tokens``,
    ``swift/infer_engine/infer_engine.py``). In GRPO ``max_length`` limits the prompt alone
    (``swift/arguments/base_args/template_args.py``), and only ``truncation_strategy: delete``
    enforces it (``GRPOTrainer._rollout_samples``); the completion limit is the first of
    ``response_length``, ``max_new_tokens`` and ``max_completion_length``
    (``RLHFArguments._init_max_completion_length``).
    """
    config, shape = context.config, context.get(ModelShape)
    length = model_len(config, shape)
    key, completion = completion_limit(config)
    if not config.trains and config.get(key) is None:
        yield Unknown("the learner's max_completion_length is not set here")
        return
    prompt_key, prompt = prompt_limit(config, shape)
    is_own = "vllm_max_model_len" not in config.rollout_server
    if is_own and config.get(prompt_key) is None:
        prompt = None  # the model's positions, which limit the server alike
    if not prompt:
        yield Unknown("nothing limits the prompt")
    if length is None and is_own:
        yield OWN_LENGTH
    if length is None or completion is None:
        return
    server = f"the model's own length {length}" if is_own else f"vllm_max_model_len {length}"
    longer = _longer_server(config, shape, None if prompt is None else prompt + completion)
    # Where a prompt's length is known, what it and a completion need is compared below.
    nearly = prompt is None and length - _LEAST_PROMPT < completion and length > 4 * _LEAST_PROMPT
    if completion >= length or nearly:
        limit = f"{completion}" if config.get(key) else f"is not set (default {completion}), which"
        what = f"{limit} leaves no room for a prompt in {server}, so every completion is cut short"
        rest = length - prompt if prompt and prompt < length else length // 2
        fix = f"set it to {rest}"
        if prompt and prompt >= length:
            fix += f" and {config.spelled(_PROMPT_LEN)} to {length - rest}"
        if rest < 1:
            fix, longer = f"raise {config.spelled(MODEL_LEN)} above {completion}", ""
        yield Problem(config.where(f"train.{key}"), what, fix + longer, Severity.WARNING)
        return
    if prompt is None or prompt + completion <= length:
        return
    rest = length - completion
    what = f"prompts of up to {prompt} tokens and completions of up to {completion} exceed "
    what += f"{server}: a prompt above {rest} tokens cuts its completions short"
    is_global = prompt_key == "global_max_length"
    fix = f"set {config.spelled(_PROMPT_LEN)}" if is_global else "set it"
    fix += f" to {rest}"
    strategy_key, strategy = find(config, "truncation_strategy", "template")
    if strategy != "delete":  # the only one that enforces the length
        fix += f" and {config.spelled(f'train.{strategy_key}')} to delete"
    where = config.where(f"train.{prompt_key}")
    yield Problem(where, what, fix + longer, Severity.WARNING)


@rule(needs=(Sections, ModelShape, DeviceMemory))
def kv_cache_holds_one_sequence(context: Context) -> Iterator[Finding]:
    """The weights fit, and beside them the KV cache of one sequence of full length.

    Source: ``_check_enough_kv_cache_memory`` (``vllm/v1/core/kv_cache_utils.py``), which ends
    the server. A warning, since the memory of the device may be another one.
    """
    config, shape, gib = context.config, context[ModelShape], context[DeviceMemory].gib
    memory = estimate_of(config, shape, gib)
    if memory is None or memory.tokens is None:
        yield _NOT_ESTIMATED
        return
    if memory.sequences != 0:
        return
    split = _split_that_fits(config, shape, gib)
    device = f"({gib:.1f} GiB per device, utilization {_share(config)})"
    if memory.tokens <= 0:
        what = f"{memory.weights_gib:.1f} GiB of weights per device "
        what += f"leave no room for the KV cache {device}"
        fix = f"set it to {split}" if split else "use a smaller model, or more or larger devices"
        yield Problem(config.where(TENSOR_PARALLEL), what, fix, Severity.WARNING)
        return
    own = "" if "vllm_max_model_len" in config.rollout_server else ", the model's own length"
    what = f"the KV cache holds at most {memory.tokens} tokens, "
    what += f"not one sequence of {memory.max_model_len}{own} {device}"
    fix = f"set it to {memory.tokens} or less"
    fix += f", or {config.spelled(TENSOR_PARALLEL)} to {split}" if split else ""
    yield Problem(config.where(MODEL_LEN), what, fix, Severity.WARNING)


@rule(needs=(Sections, ModelShape, DeviceMemory))
def kv_cache_holds_max_num_seqs(context: Context) -> Iterator[Finding]:
    """``vllm_max_num_seqs``, where given, sequences of full length fit into the KV cache.

    vLLM starts all the same and preempts sequences when the cache is full
    (``vllm/v1/core/sched/scheduler.py``), which costs their tokens.
    """
    config, gib = context.config, context[DeviceMemory].gib
    memory = estimate_of(config, context[ModelShape], gib)
    if memory is None or memory.tokens is None:
        yield _NOT_ESTIMATED
        return
    if not memory.sequences or memory.sequences >= (memory.max_num_seqs or 0):
        return
    what = f"{memory.max_num_seqs} sequences of {memory.max_model_len} tokens do not fit, "
    what += f"the KV cache holds at most {memory.sequences} ({gib:.1f} GiB per device, "
    what += f"utilization {_share(config)})"
    fix = f"set it to {memory.sequences}, unless sequences are mostly shorter"
    yield Problem(config.where(NUM_SEQS), what, fix, Severity.WARNING)


MEMORY_RULES: Sequence[Rule] = (
    tensor_parallel_size_divides_attention_heads,
    model_supports_max_model_len,
    prompt_and_completion_fit_max_model_len,
    kv_cache_holds_one_sequence,
    kv_cache_holds_max_num_seqs,
)


def _share(config: LaunchConfig) -> Any:
    return config.rollout_server.get("vllm_gpu_memory_utilization", DEFAULT_UTILIZATION)


def _tp_fits(shape: ModelShape, tp: int) -> bool:
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
    if heads and heads % tp:
        return False
    return not kv_heads or max(kv_heads, tp) % min(kv_heads, tp) == 0


def _split_that_fits(config: LaunchConfig, shape: ModelShape, gpu_memory_gib: float) -> str | None:
    """The smallest larger TP, and the DP for as many devices, with which a sequence fits."""
    tp = tensor_parallel_size(config) or 1
    dp = size(config.rollout_server.get("vllm_data_parallel_size")) or 1
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
