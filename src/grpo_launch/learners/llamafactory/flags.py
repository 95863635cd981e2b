"""The keys of a training file of LLaMA-Factory."""

from __future__ import annotations

from pathlib import Path

from grpo_launch.engines.snapshot import FlagQuestion

_HERE = Path(__file__).parent

FLAGS = FlagQuestion(
    program="llamafactory-cli train",
    distribution="llamafactory",
    package="llamafactory",
    others=("transformers",),
    script=_HERE / "ask_flags.py",
    snapshot=_HERE / "flags.json",
)
"""The dataclasses of ``llamafactory/hparams``; the shipped snapshot says of which version."""
