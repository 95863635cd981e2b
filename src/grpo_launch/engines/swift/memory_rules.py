"""The rules of the model's shape: tensor parallelism, token budget and memory of the server.

Source: vLLM 0.32 and ms-swift 4.6.0, named at each rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grpo_launch.config.arguments import find
from grpo_launch.config.facts import DeviceMemory
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.readable import Sections
from grpo_launch.config.rule import Context, Finding, Rule, Unknown, rule
from grpo_launch.engines import serving
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.engines.swift.memory import (
    MODEL_LEN,
    OWN_LENGTH,
    completion_limit,
    model_len,
    prompt_limit,
    serving_of,
)

_PROMPT_LEN = "train.template.max_length"
_LEAST_PROMPT = 8
"""Tokens; a chat template alone takes more."""


@rule(needs=(Sections, ModelShape))
def tensor_parallel_size_divides_attention_heads(context: Context) -> Iterator[Finding]:
    """See ``serving.tensor_parallel_fits``."""
    config, shape = context.config, context[ModelShape]
    yield from serving.tensor_parallel_fits(config, serving_of(config, shape, None), shape)


@rule(needs=(Sections, ModelShape))
def model_supports_max_model_len(context: Context) -> Iterator[Finding]:
    """See ``serving.length_fits``."""
    config, shape = context.config, context[ModelShape]
    yield from serving.length_fits(config, serving_of(config, shape, None), shape)


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
    """See ``serving.one_sequence_fits``."""
    config, shape, gib = context.config, context[ModelShape], context[DeviceMemory].gib
    yield from serving.one_sequence_fits(config, serving_of(config, shape, gib), shape, gib)


@rule(needs=(Sections, ModelShape, DeviceMemory))
def kv_cache_holds_max_num_seqs(context: Context) -> Iterator[Finding]:
    """See ``serving.sequences_fit``."""
    config, shape, gib = context.config, context[ModelShape], context[DeviceMemory].gib
    yield from serving.sequences_fit(config, serving_of(config, shape, gib), gib)


MEMORY_RULES: Sequence[Rule] = (
    tensor_parallel_size_divides_attention_heads,
    model_supports_max_model_len,
    prompt_and_completion_fit_max_model_len,
    kv_cache_holds_one_sequence,
    kv_cache_holds_max_num_seqs,
)


def _longer_server(config: LaunchConfig, shape: ModelShape | None, length: int | None) -> str:
    """``, or ...``: the advice to raise ``vllm_max_model_len``, where the model reaches it."""
    limit = shape.max_model_len if shape else None
    if length is None or (limit is not None and length > limit):
        return ""
    return f", or {config.spelled(MODEL_LEN)} to {length}"
