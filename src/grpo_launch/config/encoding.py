"""What decides how a prompt is encoded: server and learner must agree on it."""

from __future__ import annotations

from typing import Any

from grpo_launch.config.arguments import find
from grpo_launch.config.launch_config import LaunchConfig

ENCODING = (
    "model.model_type",
    "model.model_revision",
    "model.torch_dtype",
    "model.use_hf",
    "model.rope_scaling",
    "model.max_model_len",
    "model.new_special_tokens",
    "model.model_kwargs",
    "template.template",
    "template.template_backend",
    "template.use_chat_template",
    "template.system",
    "template.agent_template",
    "template.response_prefix",
    "template.enable_thinking",
    "template.preserve_thinking",
    "template.add_non_thinking_prefix",
    "template.max_pixels",
    "template.norm_bbox",
)
"""Arguments of the learner that the server gets as well, each with its usual section.

They decide which weights, and which tokens, the same row becomes. Length and truncation are not
among them: the learner drops long rows before it asks, and padding and loss are its own.
"""


def of(config: LaunchConfig) -> dict[str, Any]:
    """What an experiment says of it, by name."""
    said = {name: find(config, name)[1] for name in (key.rpartition(".")[2] for key in ENCODING)}
    return {name: value for name, value in said.items() if value is not None}


def place(config: LaunchConfig, key: str) -> str:
    """The dotted key that says one of :data:`ENCODING`, or its usual one."""
    home, _, name = key.rpartition(".")
    return f"train.{find(config, name, home)[0]}"
