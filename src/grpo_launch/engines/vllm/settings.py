"""The node ``rollout_server``: the flags of vLLM's server.

The annotations are no text (``from __future__``): OmegaConf would compile each of them again
whenever it makes a node.
"""

from dataclasses import dataclass
from typing import Any


@dataclass
class VllmSettings:
    """The flags of `vllm serve`, and where it is served.

    Each key becomes a flag (`max_model_len` is `--max-model-len`); unset keys are left to vLLM.
    These are the usual ones: every other flag is a key as well. The API key is no setting:
    both vLLM and the launcher read it from the variable VLLM_API_KEY.
    Source: `AsyncEngineArgs` and `FrontendArgs` of vLLM 0.32.
    """

    model: str | None = None
    """Name or directory of the model; unset: the one that the learner trains."""
    host: Any = None
    """Address to listen on; a list for several servers. Unset: this machine alone (127.0.0.1)."""
    port: Any = None
    """Port to listen on; a list for several servers. Unset: 8000."""
    served_model_name: Any = None
    """Name of the model in requests, or a list of names; unset: `model`."""
    tensor_parallel_size: int | None = None
    """TP: devices that one replica of the model is split over; unset: 1."""
    data_parallel_size: int | None = None
    """DP: replicas of the model; unset: 1. TP x DP is the number of server devices."""
    max_model_len: Any = None
    """Tokens of prompt plus completion (`32k` is 32000, `32K` 32768), or `auto`: what fits;
    unset: the model's own length."""
    gpu_memory_utilization: float | None = None
    """Share of each device's memory that vLLM takes, above 0 up to 1."""
    max_num_seqs: int | None = None
    """Sequences that one replica decodes at a time."""
    max_num_queued_reqs: int | None = None
    """Requests, running and waiting, until further ones are refused with status 503; unset: any
    number waits."""
    dtype: str | None = None
    """Precision of the weights: `auto`, `bfloat16`, `float16`, `float32`."""
    enforce_eager: bool | None = None
    """No CUDA graphs: slower, less memory, faster start."""
    enable_prefix_caching: bool | None = None
    """Reuse the KV cache of shared prompt prefixes."""
    trust_remote_code: bool | None = None
    """Run Python code that comes with the model."""
    reasoning_parser: str | None = None
    """Parser that takes the reasoning out of answers, for example `qwen3`."""
    limit_mm_per_prompt: Any = None
    """Multimodal items a prompt may hold, for example `{image: 2, video: 0}`."""
    chat_template: str | None = None
    """File with a chat template, or its text; unset: the model's own."""
    enable_lora: bool | None = None
    """Serve LoRA adapters."""
    weight_transfer_config: Any = None
    """How a learner sends weights, for example `{backend: nccl}`."""
    logprobs_mode: str | None = None
    """What logprobs are: `raw_logprobs`, `processed_logprobs`, `raw_logits`, `processed_logits`."""
    development_mode: bool | None = None
    """vLLM's development endpoints (VLLM_SERVER_DEV_MODE=1): reload weights, pause, sleep. Whoever
    reaches them controls the server, so only on a loopback address. No flag itself."""
