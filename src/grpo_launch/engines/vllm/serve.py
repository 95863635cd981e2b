"""vLLM's OpenAI-compatible server, ``vllm serve``.

Flags: ``make_arg_parser`` of vLLM 0.32 (``vllm/entrypoints/launchers/cli_args.py``).
HTTP: ``GET /health``, ``GET /v1/models``, ``POST /v1/chat/completions``, ``GET /metrics``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from grpo_launch.engines import openai_api
from grpo_launch.engines.base import OwnPorts, ServeRequest
from grpo_launch.engines.vllm.flags import API_KEY, FLAGS
from grpo_launch.plan import Counters, HttpCheck, Signs

SERVE = "serve"
"""The command whose model is its first argument; every other entry takes ``--model``."""

HEALTH_PATH = "/health"

GENERATED = "generated tokens"

COUNTERS = Counters(
    path="/metrics",
    metrics={
        "running": "vllm:num_requests_running",
        "waiting": "vllm:num_requests_waiting",
        GENERATED: "vllm:generation_tokens_total",
    },
    progress=GENERATED,
)
"""``vllm/v1/metrics/loggers.py``; with data parallelism each engine has its own."""

SIGNS = Signs(
    # In the access log, of chat completions and completions alike.
    served="POST /v1/",
    # vLLM's own processes (``set_process_title``, vllm/utils/system_utils.py). A server whose
    # engine has died ends within seconds by itself, with status 0.
    vital=("VLLM::EngineCore", "VLLM::Worker", "VLLM::APIServer", "VLLM::DPCoordinator"),
    # What its processes put before each line (vllm/logger.py, ``decorate_logs``).
    prefix=r"(\(\w+ pid=\d+\)) (?:[A-Z]+ \S+ \S+ \[[^\]]+\] )?",
    wrappers=("Engine core initialization failed", "WorkerProc initialization failed"),
    access=r'(?:\(\w+ pid=\d+\) )?\s*INFO:\s+\S+ - "[A-Z]+ \S+ HTTP/[\d.]+" \d{3}',  # uvicorn
    counters=COUNTERS,
)

OWN_KEYS = ("model", "host", "port", "development_mode")
"""Settings that are no flags by their own name, or that the launcher gives."""

DEVELOPMENT = "VLLM_SERVER_DEV_MODE"

_SIZES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def argv(request: ServeRequest) -> list[str]:
    """The command line of one server."""
    model = [request.model] if SERVE in request.entry else ["--model", request.model]
    command = [*request.entry, *model, "--host", request.host, "--port", str(request.port)]
    return [*command, *_flags(request.settings)]


def env(settings: Mapping[str, Any]) -> dict[str, str]:
    """The variables that settings stand for."""
    return {DEVELOPMENT: "1"} if settings.get("development_mode") else {}


def served_name(request: ServeRequest) -> str:
    """The name of the model in requests (``served_model_name``, ``api_server/app_state.py``)."""
    name = request.settings.get("served_model_name")
    names = cast("list[Any]", name) if isinstance(name, list) else [name]
    return str(names[0]) if names and names[0] is not None else request.model


def checks(request: ServeRequest, health_path: str) -> tuple[HttpCheck, ...]:
    """The questions that tell whether a server is ready, and is the one that was planned.

    It has no endpoint that tells its world size. Only a token shows that its engine works: some
    models load, and end it with the first generation.
    """
    health = HttpCheck(name="health", path=health_path)
    return health, openai_api.serves(served_name(request), API_KEY), generation(request)


def generation(request: ServeRequest) -> HttpCheck:
    """One token."""
    return openai_api.token(served_name(request), API_KEY)


def own_ports(settings: Mapping[str, Any]) -> OwnPorts | None:
    """The rendezvous ports of vLLM, where one process alone chooses them.

    Source: ``get_open_port`` (``vllm/utils/network_utils.py``, 0.32) counts on from VLLM_PORT. With
    data parallelism each replica would begin there at once, so these are left to the kernel.
    """
    return None if (settings.get("data_parallel_size") or 1) > 1 else OwnPorts("VLLM_PORT", 20)


def length(value: Any) -> int | None:
    """``max_model_len`` as vLLM reads it (``human_readable_int_or_auto``).

    None where it is not set, ``auto``, or no such text.
    """
    text = str(value).strip()
    if re.fullmatch(r"\d+(_\d+)*", text):
        return int(text)
    found = re.fullmatch(r"(\d+)(?:(\.\d+)?([kmgt])|([KMGT]))", text)
    if found is None:
        return None
    whole, part, decimal, binary = found.groups()
    if decimal:
        return int(float(f"{whole}{part or ''}") * _SIZES[decimal])
    return int(whole) * _BINARY.get(binary, 1)


def _flags(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if key not in OWN_KEYS:
            yield from words(key, value)


def words(key: str, value: Any) -> list[str]:
    """A setting as vLLM's parser reads it."""
    option = f"--{key.replace('_', '-')}"
    flag = FLAGS.shipped().table.flags.get(key)
    kind = flag.kind if flag else "any"
    if kind == "switch":  # ``store_true``: it has no opposite
        return [option] if value is True else []
    if kind == "bool":  # ``argparse.BooleanOptionalAction``
        return [option if value is True else f"--no-{option[2:]}"]
    if flag is not None and flag.is_list:
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        return [option, *map(render, items)]
    if isinstance(value, list) and kind != "json" and len(cast("list[Any]", value)) == 1:
        value = cast("list[Any]", value)[0]
    word = render(value)
    # argparse would take it for a flag, and vLLM -0.5 for a key in JSON (``parse_args``).
    return [f"{option}={word}"] if word.startswith("-") else [option, word]


def render(value: Any) -> str:
    """A value as one word: containers as JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
