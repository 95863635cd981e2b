"""What a role of a loop is about, and what its settings mean where nothing says them."""

from __future__ import annotations

from grpo_launch.config import schema
from grpo_launch.config.amend import amended
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rollout import NODE
from grpo_launch.plugins import LEARNERS

LOOP = "loop"
ROLLOUT = "rollout"
UPDATE = "update"

ROLES = (LOOP, ROLLOUT, UPDATE)
"""Roles that do stages of a loop."""


def is_loop(config: LaunchConfig) -> bool:
    """Whether the role does stages of a loop."""
    return config.role in ROLES


def collects(config: LaunchConfig) -> bool:
    """Whether an experiment is one of a loop, whatever the role: it says what to collect."""
    return config.collector.train_tasks is not None or config.collector.eval_tasks is not None


def shares_devices(config: LaunchConfig) -> bool:
    """Whether servers and learner take the devices one after the other."""
    return is_loop(config) and config.loop.swap is schema.Swap.restart


def with_model(config: LaunchConfig, model: str) -> LaunchConfig:
    """``config`` that serves and trains another model.

    Args:
        config: left as it is.
        model: a directory, absolute, or the name of one that a hub has.
    """
    values: dict[str, str] = {}
    if key := LEARNERS.get(config.learner.name).model_key:
        values[f"train.{key}"] = model
    if config.rollout_server.get("model") is not None or not values:
        values[f"{NODE}.model"] = model
    return amended(config, values)


def trained_model(config: LaunchConfig) -> str:
    """The model that a loop begins with: what is trained, or where nothing is, what is served."""
    key = LEARNERS.get(config.learner.name).model_key
    return str(config.get(key, config.model) if key else config.model)
