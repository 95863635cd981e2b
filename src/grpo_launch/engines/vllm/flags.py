"""The flags of ``vllm serve``."""

from __future__ import annotations

from pathlib import Path

from grpo_launch.engines.snapshot import FlagQuestion

API_KEY = "VLLM_API_KEY"
"""The variable with the key that vLLM asks of its clients (``vllm/envs.py``)."""

_HERE = Path(__file__).parent

FLAGS = FlagQuestion(
    program="vllm serve",
    distribution="vllm",
    package="vllm",
    others=(),
    script=_HERE / "ask_flags.py",
    snapshot=_HERE / "flags.json",
    given={
        "api_key": f"{API_KEY} in the environment",
        "hf_token": "HF_TOKEN in the environment",
        "config": "its keys below rollout_server",
    },
)
"""The parser of ``vllm serve``; the shipped snapshot says of which version."""
