"""The flags of ``swift rollout``."""

from __future__ import annotations

from pathlib import Path

from grpo_launch.engines.snapshot import FlagQuestion

_HERE = Path(__file__).parent

FLAGS = FlagQuestion(
    program="swift rollout",
    distribution="ms_swift",
    package="swift",
    others=("transformers",),
    script=_HERE / "ask_flags.py",
    snapshot=_HERE / "flags.json",
    given={
        "model": "model.model",
        "host": "rlhf.vllm_server_host",
        "port": "rlhf.vllm_server_port",
    },
)
"""``RolloutArguments`` of ms-swift; the shipped snapshot says of which version."""
