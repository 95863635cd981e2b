"""How a vLLM server takes new weights from a directory; seen with vLLM 0.32 on a CPU.

``entrypoints/serve/dev/rpc``, ``serve/dev/cache`` and ``rl/online`` of vLLM. All of these paths
are there in development mode only (``VLLM_SERVER_DEV_MODE=1``). Which files it loads:
``DefaultModelLoader._prepare_weights`` (``model_executor/model_loader/default_loader.py``).
"""

from __future__ import annotations

from grpo_launch.transfer import Probe, Reload, ReloadStep

_PROMPT = tuple(range(3, 51))
"""Tokens that every vocabulary has; longer than a block of the prefix cache on a GPU (16)."""

RELOAD = Reload(
    # While it waits, requests that come are queued.
    pause=ReloadStep("pause", "/pause?mode={mode}", answer={"status": "paused"}, timeout_s=600.0),
    steps=(
        # A directory that is missing: 500, and no weights. Other shapes: 500, and the engine is
        # dead. Tensors that are missing: 200, and a line in the log.
        ReloadStep(
            "load",
            "/collective_rpc",
            body={"method": "reload_weights", "kwargs": {"weights_path": "{path}"}},
            answer={"results": [None]},
            spoils=True,
            timeout_s=600.0,
        ),
        # Frozen requests hold blocks of the cache, and it is not reset before they let go.
        ReloadStep(
            "reset of the prefix cache",
            "/reset_prefix_cache?reset_running_requests=true",
            answer={"success": True},
            spoils=True,
        ),
        ReloadStep(
            "version",
            "/update_weight_version",
            body={"new_version": "{version}"},
            answer={"success": True},
        ),
    ),
    resume=ReloadStep("resume", "/resume", answer={"status": "resumed"}),
    probe=Probe(
        path="/v1/completions",
        body={
            "prompt": list(_PROMPT),
            "max_tokens": 8,
            "temperature": 0,
            "logprobs": 0,
            "ignore_eos": True,
            "return_tokens_as_token_ids": True,
        },
        tokens="choices.0.logprobs.tokens",
        logprobs="choices.0.logprobs.token_logprobs",
        timeout_s=120.0,  # the first generation of an engine takes longest
    ),
    modes={"wait": "wait", "abort": "abort", "keep": "keep"},
    bearer="VLLM_API_KEY",
    # ``AutoWeightsLoader`` (model_executor/models/utils.py).
    unloaded=(r".*\.rotary(_pos)?_emb\.(inv_freq|cos_cached|sin_cached)",),
    absent="vLLM takes new weights in development mode only",
    enable="start the server with rollout_server.development_mode=true",
)
