"""The flags of ``swift rlhf``."""

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
"""``RLHFArguments`` of ms-swift. One script tells those of both programs."""
