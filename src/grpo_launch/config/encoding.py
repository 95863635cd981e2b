"""What decides how a prompt is encoded: server and learner must agree on it."""

from __future__ import annotations

from typing import Any

from grpo_launch.config.launch_config import LaunchConfig

ENCODING = (
    "model.model_type",
    "model.model_revision",
    "model.torch_dtype",
    "model.use_hf",
    "template.template",
)
"""Keys of an experiment."""


def of(config: LaunchConfig) -> dict[str, Any]:
    """What an experiment says of it, by name."""
    said = {key.rpartition(".")[2]: config.get(key) for key in ENCODING}
    return {name: value for name, value in said.items() if value is not None}
