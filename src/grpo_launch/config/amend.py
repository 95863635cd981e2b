"""What is decided at the start of a run enters the configuration as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from grpo_launch.config import rollout
from grpo_launch.config.launch_config import LaunchConfig


def amended(config: LaunchConfig, values: Mapping[str, Any]) -> LaunchConfig:
    """``config`` with values of ``train`` and of ``rollout_server`` replaced.

    Args:
        config: left as it is.
        values: by dotted key: ``train.rlhf.vllm_server_port``, ``rollout_server.port``.
    """
    train, server = config.train, dict(config.rollout_server)
    for key, value in values.items():
        node, _, rest = key.partition(".")
        if node == rollout.NODE:
            server[rest] = value
        else:
            train = _with(train, rest.split("."), value)
    return replace(config, train=train, rollout_server=server)


def _with(node: Any, keys: Sequence[str], value: Any) -> Any:
    """A copy of ``node`` with one value; a section that is no mapping is left to validation."""
    if not keys:
        return value
    if node is not None and not isinstance(node, dict):
        return node
    mapping = cast("dict[Any, Any]", node or {})
    return {**mapping, keys[0]: _with(mapping.get(keys[0]), keys[1:], value)}
