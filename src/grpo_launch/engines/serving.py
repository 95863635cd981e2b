"""What a server asks of its model and of the memory of its devices, whatever its flags are called.

Source: vLLM 0.32, named at each function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from grpo_launch.config.arguments import size
from grpo_launch.config.env import of_half
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Finding, Unknown
from grpo_launch.engines.base import SizeKeys
from grpo_launch.engines.model_memory import MemoryEstimate
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.plan import SERVER

DEFAULT_UTILIZATION = 0.9
"""Share of a device's memory that is taken where nobody says it (``CacheConfig`` of vLLM)."""

_ALLOW_LONG = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
_LONG_ROPE = ("longrope", "su")
_NOT_ESTIMATED = Unknown("the memory of this model cannot be estimated")


@dataclass(frozen=True)
class Serving:
    """What the settings of a server ask for; None: not set, not known, or no such number.

    Attributes:
        names: what the settings of its size are called.
        length: what the setting of the longest sequence is called.
        tensor_parallel, data_parallel: 1 where not set.
        max_model_len: tokens of the longest sequence as set.
        utilization: share of each device's memory, as set or by default.
        estimate: the memory of a device with that many devices a replica.
    """

    names: SizeKeys
    length: str
    tensor_parallel: int | None
    data_parallel: int | None
    max_model_len: int | None
    utilization: Any
    estimate: Callable[[int], MemoryEstimate | None]

    def key(self, name: str | None) -> str:
        """The dotted key of a setting."""
        return f"rollout_server.{name}"


def longest(said: int | None, shape: ModelShape | None) -> int | None:
    """Tokens of the longest sequence, or None where they are not known.

    Unset, vLLM takes the model's own, of LongRoPE those before scaling
    (``_get_and_verify_max_len``, ``vllm/config/model.py``).
    """
    if said is None and shape is not None:
        return None if shape.rope_type in _LONG_ROPE else shape.max_model_len
    return said


def tensor_parallel_fits(
    config: LaunchConfig, serving: Serving, shape: ModelShape
) -> Iterator[Finding]:
    """TP divides the attention heads, and one of TP and the KV heads divides the other.

    Source: ``ModelConfig.verify_with_parallel_config`` (``vllm/config/model.py``, "Total number
    of attention heads must be divisible by tensor parallel size") and the assertions of
    each attention layer (``vllm/model_executor/models/qwen2.py``, ``llama.py``). With TP above
    the KV heads vLLM replicates them (``ModelConfig.get_num_kv_heads``).
    """
    tp, heads, kv_heads = (
        serving.tensor_parallel,
        shape.num_attention_heads,
        shape.num_key_value_heads,
    )
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
    yield Problem(config.where(serving.key(serving.names.tensor_parallel)), what, fix)


def length_fits(config: LaunchConfig, serving: Serving, shape: ModelShape) -> Iterator[Finding]:
    """The longest sequence, where it is set, is within the model's positions.

    Source: ``_get_and_verify_max_len`` (``vllm/config/model.py``): the positions times the
    factor of the rope scaling, except for YaRN, llama3 and LongRoPE, whose
    ``max_position_embeddings`` is taken to be scaled already. ``VLLM_ALLOW_LONG_MAX_MODEL_LEN``
    turns the error off.
    """
    length, limit = serving.max_model_len, shape.max_model_len
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
    yield Problem(config.where(serving.key(serving.length)), what, fix, severity)


def one_sequence_fits(
    config: LaunchConfig, serving: Serving, shape: ModelShape, gib: float
) -> Iterator[Finding]:
    """The weights fit, and beside them the KV cache of one sequence of full length.

    Source: ``_check_enough_kv_cache_memory`` (``vllm/v1/core/kv_cache_utils.py``), which ends
    the server. A warning, since the memory of the device may be another one.
    """
    memory = serving.estimate(serving.tensor_parallel) if serving.tensor_parallel else None
    if memory is None or memory.tokens is None:
        yield _NOT_ESTIMATED
        return
    if memory.sequences != 0:
        return
    split = _split_that_fits(config, serving, shape)
    tp_key, length_key = serving.key(serving.names.tensor_parallel), serving.key(serving.length)
    device = f"({gib:.1f} GiB per device, utilization {serving.utilization})"
    if memory.tokens <= 0:
        what = f"{memory.weights_gib:.1f} GiB of weights per device "
        what += f"leave no room for the KV cache {device}"
        fix = f"set it to {split}" if split else "use a smaller model, or more or larger devices"
        yield Problem(config.where(tp_key), what, fix, Severity.WARNING)
        return
    own = "" if serving.length in config.rollout_server else ", the model's own length"
    what = f"the KV cache holds at most {memory.tokens} tokens, "
    what += f"not one sequence of {memory.max_model_len}{own} {device}"
    fix = f"set it to {memory.tokens} or less"
    fix += f", or {config.spelled(tp_key)} to {split}" if split else ""
    yield Problem(config.where(length_key), what, fix, Severity.WARNING)


def sequences_fit(config: LaunchConfig, serving: Serving, gib: float) -> Iterator[Finding]:
    """So many sequences of full length as may be decoded at a time fit into the KV cache.

    vLLM starts all the same and preempts sequences when the cache is full
    (``vllm/v1/core/sched/scheduler.py``), which costs their tokens.
    """
    memory = serving.estimate(serving.tensor_parallel) if serving.tensor_parallel else None
    if memory is None or memory.tokens is None:
        yield _NOT_ESTIMATED
        return
    if not memory.sequences or memory.sequences >= (memory.max_num_seqs or 0):
        return
    what = f"{memory.max_num_seqs} sequences of {memory.max_model_len} tokens do not fit, "
    what += f"the KV cache holds at most {memory.sequences} ({gib:.1f} GiB per device, "
    what += f"utilization {serving.utilization})"
    fix = f"set it to {memory.sequences}, unless sequences are mostly shorter"
    where = config.where(serving.key(serving.names.max_num_seqs))
    yield Problem(where, what, fix, Severity.WARNING)


def share_is_a_fraction(config: LaunchConfig, name: str) -> Iterator[Problem]:
    """The share of a device's memory is above 0 and at most 1."""
    share = config.rollout_server.get(name)
    if share is None or 0 < share <= 1:
        return
    where = config.where(f"rollout_server.{name}")
    fix = f"did you mean {share / 100:g}?" if 1 < share <= 100 else "use a number in (0, 1]"
    yield Problem(where, f"{share:g} is not a fraction of the memory", fix)


def are_not_empty(config: LaunchConfig) -> Iterator[Problem]:
    """No flag is an empty string: it would swallow the flag after it."""
    for key, value in config.rollout_server.items():
        if isinstance(value, str) and not value.strip():
            where = config.where(f"rollout_server.{key}")
            yield Problem(where, "is empty", "remove it or give a value")


def figures(memory: MemoryEstimate | None) -> dict[str, Any]:
    """What ``role=check`` tells of the memory of a device, as far as it is known."""
    if memory is None:
        return {}
    known = {
        "weights, GiB a device": memory.weights_gib,
        "KV cache, bytes a token": memory.kv_bytes_per_token,
        "tokens that fit": memory.tokens,
        "full sequences that fit": memory.sequences,
    }
    return {name: round(value, 3) for name, value in known.items() if value is not None}


def _tp_fits(shape: ModelShape, tp: int) -> bool:
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
    if heads and heads % tp:
        return False
    return not kv_heads or max(kv_heads, tp) % min(kv_heads, tp) == 0


def _split_that_fits(config: LaunchConfig, serving: Serving, shape: ModelShape) -> str | None:
    """The smallest larger TP, and the DP for as many devices, with which a sequence fits."""
    tp, dp = serving.tensor_parallel or 1, size(serving.data_parallel) or 1
    for more in range(tp + 1, min(tp * dp, shape.num_attention_heads or 0) + 1):
        if tp * dp % more or not _tp_fits(shape, more):
            continue
        memory = serving.estimate(more)
        if memory is not None and memory.sequences:
            data_parallel = config.spelled(serving.key(serving.names.data_parallel))
            return f"{more} and {data_parallel} to {tp * dp // more}"
    return None
