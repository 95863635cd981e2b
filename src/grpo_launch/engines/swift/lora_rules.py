"""What vLLM takes of LoRA adapters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule

ENABLE = "vllm_enable_lora"
MAX_RANK = "vllm_max_lora_rank"

MAX_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""``MaxLoRARanks`` of vLLM 0.32 (``vllm/config/lora.py``)."""

USUAL_MAX_RANK = 16
"""``vllm_max_lora_rank`` where it is not set (``RolloutArguments`` of ms-swift 4.6)."""


def max_rank_for(rank: int) -> int | None:
    """The smallest ``vllm_max_lora_rank`` that takes adapters of this rank; None: none does."""
    return next((allowed for allowed in MAX_RANKS if allowed >= rank), None)


@rule
def max_lora_rank_is_one_of_vllm(context: Context) -> Iterator[Problem]:
    """``vllm_max_lora_rank`` is a rank that vLLM has kernels for; unused without LoRA."""
    config = context.config
    rank = config.rollout_server.get(MAX_RANK)
    if not config.rollout_server.get(ENABLE) or rank is None or rank in MAX_RANKS:
        return
    nearest = max_rank_for(rank) or MAX_RANKS[-1]
    what = f"{rank} is none of {', '.join(map(str, MAX_RANKS))}"
    yield Problem(config.where(f"rollout_server.{MAX_RANK}"), what, f"set it to {nearest}")


LORA_RULES: Sequence[Rule] = (max_lora_rank_is_one_of_vllm,)
