"""The rules that ms-swift's rollout server brings (``deploy_args.py`` of ms-swift 4.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grpo_launch.config import kinds
from grpo_launch.config.formats import lift
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Finding, Rule, rule
from grpo_launch.engines import serving
from grpo_launch.engines.model_shape import ModelShape
from grpo_launch.engines.swift.flag_rules import ROLLOUT_FLAG_RULES
from grpo_launch.engines.swift.lora_rules import LORA_RULES
from grpo_launch.engines.swift.memory import MODEL_LEN, OWN_LENGTH, model_len
from grpo_launch.engines.swift.memory_rules import MEMORY_RULES

_REQUIRED = ("vllm_tensor_parallel_size", "vllm_data_parallel_size", "vllm_max_model_len")


@rule
def required_server_flags_are_positive(context: Context) -> Iterator[Problem]:
    """TP, DP and the longest sequence are positive; ``custom.extra.rollout_server`` says all three.

    That block is the form whose contract requires them; null there means ms-swift's default (1, 1,
    the model's own length), as everywhere else a key that is not set does.
    """
    config = context.config
    for key in _REQUIRED:
        value = config.rollout_server.get(key)
        where = config.where(f"rollout_server.{key}")
        if value is None and _is_left_out(config, key):
            fix = "set it to a positive integer, or to null for ms-swift's default"
            yield Problem(where, f"is required in {'.'.join(lift.SERVER_BLOCK)}", fix)
        elif value is not None and value < 1:
            yield Problem(where, f"{value} is below 1", "use a positive integer")


@rule
def gpu_memory_utilization_is_a_fraction(context: Context) -> Iterator[Problem]:
    """``vllm_gpu_memory_utilization`` is above 0 and at most 1."""
    yield from serving.share_is_a_fraction(context.config, "vllm_gpu_memory_utilization")


@rule
def server_flags_are_not_empty(context: Context) -> Iterator[Problem]:
    """No flag is an empty string: it would swallow the flag after it."""
    yield from serving.are_not_empty(context.config)


@rule
def lora_policy_allows_lora_flags(context: Context) -> Iterator[Problem]:
    """LoRA flags of the server are refused where ``rollout_server.lora_policy`` forbids them.

    So does ``custom.extra.rollout_server`` unless it says otherwise: that is its contract.
    """
    config = context.config
    if config.allows_lora:
        return
    policy = f"set {config.spelled('rollout_server.lora_policy')} to allow"
    for key, fix in (
        ("vllm_enable_lora", "set it to false"),
        ("vllm_max_lora_rank", "remove it"),
    ):
        if config.rollout_server.get(key) not in (None, False):
            where = config.where(f"rollout_server.{key}")
            yield Problem(where, "LoRA on the rollout server is forbidden", f"{fix}, or {policy}")


@rule
def max_model_len_covers_global_max_length(context: Context) -> Iterator[Finding]:
    """``vllm_max_model_len``, or the model's own length, is at least ``global_max_length``."""
    config = context.config
    wanted = config.get("global_max_length")
    if wanted is None:
        return
    place = config.where("train.global_max_length")
    if not kinds.fits(int, wanted) or int(float(wanted)) < 1:
        yield Problem(place, f"{kinds.said(wanted)} is not a length", "use a positive integer")
        return
    wanted = int(float(wanted))
    said = config.rollout_server.get("vllm_max_model_len")
    longest = model_len(config, context.get(ModelShape)) if said is None else said
    if longest is None:
        yield OWN_LENGTH
    elif said is None and longest < wanted:
        what = f"{wanted} is above the model's own length {longest}"
        yield Problem(place, what, f"set it to {longest} or less")
    elif longest < wanted:
        where = config.where(MODEL_LEN)
        what = f"{longest} is below global_max_length {wanted} ({place})"
        yield Problem(where, what, f"set it to {wanted}")


RULES: Sequence[Rule] = (
    required_server_flags_are_positive,
    gpu_memory_utilization_is_a_fraction,
    server_flags_are_not_empty,
    lora_policy_allows_lora_flags,
    *LORA_RULES,
    max_model_len_covers_global_max_length,
    *ROLLOUT_FLAG_RULES,
    *MEMORY_RULES,
)
"""In the order in which their findings are reported."""


def _is_left_out(config: LaunchConfig, key: str) -> bool:
    """Whether the block of the contract is there and neither it nor an override says ``key``."""
    said = config.legacy
    if said is None or not said.server_below_custom:
        return False
    if config.where(f"rollout_server.{key}").startswith("command line"):
        return False
    block = lift.block(said.tree.data, lift.SERVER_BLOCK)
    return block is not None and key not in block
