"""The node ``rollout_server``: the flags of ms-swift's rollout server.

The annotations are no text (``from __future__``): OmegaConf would compile each of them again
whenever it makes a node.
"""

from dataclasses import dataclass
from typing import Any

from grpo_launch.config.choices import LoraPolicy
from grpo_launch.engines.base import SizeKeys

SIZE_KEYS = SizeKeys("vllm_tensor_parallel_size", "vllm_data_parallel_size", "vllm_max_num_seqs")


@dataclass
class SwiftSettings:
    """The rollout server's flags (`custom.extra.rollout_server` of a legacy experiment).

    Each key becomes `--key value` of `swift rollout`; unset keys are left to the
    engine. These are the usual ones: every other flag is a key as well.
    Source: `VllmArguments` and `RolloutArguments` of ms-swift 4.6.
    """

    vllm_tensor_parallel_size: int | None = None
    """TP: devices that one replica of the model is split over; unset: 1."""
    vllm_data_parallel_size: int | None = None
    """DP: replicas of the model; unset: 1. TP x DP is the number of server devices."""
    vllm_max_model_len: int | None = None
    """Tokens of prompt plus completion that the server accepts; unset: the model's own length."""
    vllm_gpu_memory_utilization: float | None = None
    """Share of each device's memory that vLLM takes, above 0 up to 1."""
    vllm_max_num_seqs: int | None = None
    """Sequences that one replica decodes at a time."""
    vllm_enable_prefix_caching: bool | None = None
    """Reuse the KV cache of shared prompt prefixes (the completions of one group)."""
    vllm_enforce_eager: bool | None = None
    """No CUDA graphs: slower, less memory, faster start."""
    vllm_enable_lora: bool | None = None
    """Serve LoRA adapters; refused where `lora_policy` forbids it."""
    vllm_max_lora_rank: int | None = None
    """The largest LoRA rank to serve; refused where `lora_policy` forbids it."""
    lora_policy: LoraPolicy | None = None
    """`forbid`: LoRA flags are errors; `allow`: they reach the server. No flag itself. Unset, only
    the block `custom.extra.rollout_server` forbids them."""
    vllm_quantization: str | None = None
    """vLLM's quantisation method."""
    vllm_disable_custom_all_reduce: bool | None = None
    """Use NCCL's all-reduce instead of vLLM's own."""
    vllm_disable_cascade_attn: bool | None = None
    """Turn cascade attention off."""
    vllm_limit_mm_per_prompt: Any = None
    """Multimodal items a prompt may hold, for example `{image: 2}`."""
    vllm_mm_processor_cache_gb: float | None = None
    """GiB of cache for the multimodal processor."""
    vllm_use_async_engine: bool | None = None
    """Use vLLM's asynchronous engine (multi-turn rollouts need it)."""
    vllm_engine_kwargs: Any = None
    """Further vLLM engine arguments, as a mapping; passed as JSON."""
    external_plugins: list[str] | None = None
    """Python files that the server imports: environments and schedulers register there."""
    multi_turn_scheduler: str | None = None
    """Who decides on a next turn of a conversation: `gym_scheduler` asks an environment."""
    max_turns: int | None = None
    """Turns of a conversation at most."""
    use_gym_env: bool | None = None
    """The environment gives the reward; unset: where `gym_env` is set."""
    gym_env: str | None = None
    """The environment of rows whose `env_config` names none."""
