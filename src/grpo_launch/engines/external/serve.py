"""An API with the OpenAI interface: ``GET /models``, ``POST /chat/completions``."""

from __future__ import annotations

from urllib.parse import urlsplit

from grpo_launch.engines import openai_api
from grpo_launch.engines.base import ServeRequest
from grpo_launch.plan import HttpCheck

_NO_SUCH_PATH = (404, 405)
"""Answers of an API without a list of its models."""


def base_of(url: str) -> str:
    """The path of the API below its base URL: nothing where the URL names one already."""
    return "" if urlsplit(url).path.strip("/") else openai_api.BASE


def health_path(request: ServeRequest, said: str) -> str:
    """The path that tells whether the API is there: its list of models, unless another is said."""
    models = f"{openai_api.BASE}/models"
    return f"{base_of(request.url)}/models" if said == models else said


def checks(request: ServeRequest, said: str) -> tuple[HttpCheck, ...]:
    """Whether the API is there, and gives a token of the model: its list may lack aliases."""
    health = HttpCheck(
        name="health",
        path=health_path(request, said),
        absent=_NO_SUCH_PATH,
        bearer=key_of(request),
    )
    return health, generation(request)


def generation(request: ServeRequest) -> HttpCheck:
    """One token; an API need not count it."""
    tokens = (openai_api.COUNTED, "choices")
    return openai_api.token(request.model, key_of(request), base_of(request.url), tokens)


def key_of(request: ServeRequest) -> str:
    """The variable with the API key; empty: the API asks for none."""
    return str(request.settings.get("api_key_env") or "")
