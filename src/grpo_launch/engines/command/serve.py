"""What the settings of a command say, as the plan needs it; wrong ones are for the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from grpo_launch.config import placeholders
from grpo_launch.engines.base import ServeRequest
from grpo_launch.plan import HttpCheck, Signs

HEALTH_PATH = "/health"

PLACES = (
    *("model", "host", "port", "group_port", "devices", "run_dir"),
    *("tensor_parallel_size", "data_parallel_size", "max_model_len", "max_num_seqs"),
)
"""What may stand in ``argv``, ``env`` and the bodies of requests."""

TOKENS = ("usage.completion_tokens",)
"""Where an answer counts its tokens unless the experiment says it: OpenAI's interface."""


def values(request: ServeRequest) -> dict[str, str]:
    """The texts of the placeholders of one server."""
    sizes = {name: request.settings.get(name) for name in PLACES[6:]}
    return {
        "model": request.model,
        "host": request.host,
        "port": str(request.port),
        **({} if request.group_port is None else {"group_port": str(request.group_port)}),
        "devices": ",".join(request.devices),
        "run_dir": str(request.cwd / request.run_dir),
        **{name: str(size) for name, size in sizes.items() if size is not None},
        "tensor_parallel_size": str(sizes["tensor_parallel_size"] or 1),
        "data_parallel_size": str(sizes["data_parallel_size"] or 1),
    }


def argv(request: ServeRequest) -> list[str]:
    """The words of ``argv``, filled in."""
    known = values(request)
    words = cast("list[Any]", request.settings.get("argv") or [])
    return [*request.entry, *(placeholders.fill(str(word), known) for word in words)]


def env(request: ServeRequest) -> dict[str, str]:
    """The variables, filled in."""
    known = values(request)
    own = cast("dict[str, Any]", request.settings.get("env") or {})
    return {name: placeholders.fill(str(value), known) for name, value in own.items()}


def checks(request: ServeRequest, health_path: str) -> Iterator[HttpCheck]:
    """Health, and what the experiment asks besides."""
    yield HttpCheck(name="health", path=health_path)
    known = values(request)
    for number, said in enumerate(_mappings(request.settings.get("checks"))):
        path, field = str(said.get("path", "/")), said.get("field")
        yield HttpCheck(
            name=str(said.get("name", path)),
            path=path,
            body=placeholders.fill_all(said.get("body"), known),
            field=None if field is None else str(field),
            value=placeholders.fill_all(said.get("value"), known),
            meaning=f"rollout_server.checks[{number}]",
        )


def generation(request: ServeRequest) -> HttpCheck | None:
    """The request that makes it generate, where the experiment says one."""
    said = request.settings.get("generation")
    if not isinstance(said, Mapping):
        return None
    known = cast("Mapping[str, Any]", said)
    tokens = known.get("tokens", TOKENS)
    return HttpCheck(
        name="token",
        path=str(known.get("path", "/")),
        body=placeholders.fill_all(known.get("body"), values(request)),
        generates=True,
        tokens=(tokens,) if isinstance(tokens, str) else tuple(map(str, tokens)),
    )


def signs(settings: Mapping[str, Any]) -> Signs:
    """What its log and its processes tell, as the experiment says it."""
    alarms = cast("dict[str, Any]", settings.get("alarms") or {})
    vital = settings.get("vital") or ()
    return Signs(
        alarms={text: str(meaning) for text, meaning in alarms.items()},
        served=str(settings.get("served") or ""),
        vital=(vital,) if isinstance(vital, str) else tuple(map(str, vital)),
        moves=settings.get("moves") is True,
    )


def _mappings(said: Any) -> list[dict[str, Any]]:
    items = cast("list[Any]", said) if isinstance(said, list) else []
    return [item for item in items if isinstance(item, dict)]
