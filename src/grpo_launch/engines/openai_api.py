"""What is asked of a server with the OpenAI interface, whoever made it."""

from __future__ import annotations

from grpo_launch.plan import HttpCheck

BASE = "/v1"
"""Where the interface is, unless a base URL says another path."""


COUNTED = "usage.completion_tokens"
"""Where an answer counts the tokens of its completions."""


def serves(model: str, bearer: str = "", base: str = BASE) -> HttpCheck:
    """Whether ``GET /models`` names a model.

    Args:
        model: its name in requests.
        bearer: the variable with the API key; empty: none is sent.
        base: the path of the interface.
    """
    return HttpCheck(
        name="model",
        path=f"{base}/models",
        field="data.*.id",
        value=model,
        meaning="the model",
        otherwise="this is no server with the OpenAI interface",
        bearer=bearer,
    )


def token(
    model: str, bearer: str = "", base: str = BASE, tokens: tuple[str, ...] = (COUNTED,)
) -> HttpCheck:
    """One token of a chat; of plain text where the model has no chat template.

    vLLM answers 400 to a chat without a template, a server without chats 404.

    Args:
        model: its name in requests.
        bearer: the variable with the API key; empty: none is sent.
        base: the path of the interface.
        tokens: where the answer has or counts them.
    """
    asked = {"model": model, "max_tokens": 1}
    return HttpCheck(
        name="token",
        path=f"{base}/chat/completions",
        body={**asked, "messages": [{"role": "user", "content": "1"}]},
        otherwise="the engine is dead or stuck",
        generates=True,
        tokens=tokens,
        bearer=bearer,
        fallback_path=f"{base}/completions",
        fallback_body={**asked, "prompt": "1"},
    )
