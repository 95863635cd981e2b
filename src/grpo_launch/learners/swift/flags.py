"""The flags of ``swift rlhf``, ``swift sft`` and ``swift pt``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from grpo_launch.engines.swift import flags

FLAGS = dataclasses.replace(
    flags.FLAGS,
    program="swift rlhf",
    snapshot=Path(__file__).with_name("flags.json"),
    given={},
)
"""``RLHFArguments`` of ms-swift, which has the others. One script tells those of all programs."""

SFT = dataclasses.replace(
    FLAGS, program="swift sft", snapshot=Path(__file__).with_name("flags_sft.json")
)
"""``SftArguments``."""

PT = dataclasses.replace(
    FLAGS, program="swift pt", snapshot=Path(__file__).with_name("flags_pt.json")
)
"""``PretrainArguments``."""
