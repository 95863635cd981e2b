"""What a server's answer means. Pure."""

from __future__ import annotations

import email.utils
import json
import math
from dataclasses import dataclass
from typing import Any, cast

OK, BUSY, EPISODE, CONFIGURATION, DEAD = "ok", "busy", "episode", "configuration", "dead"

_BUSY = (408, 425, 429, 502, 503, 504, 529)
_CONFIGURATION = (401, 403, 404, 405)
_SHOWN = 200
"""Characters of an answer in a reason."""


class EpisodeError(Exception):
    """One episode fails; ``str`` is the reason, the same text for the same cause."""


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
        text: the message; empty where it has none.
        finish_reason: ``stop``, ``length``, or what else the server says.
        token_ids: of the answer; empty where the server does not give them.
        prompt_token_ids: of what it answered.
        logprobs: of the answer's tokens.
        prompt_tokens, completion_tokens: as the server counts them, else by the ids.
        reasoning: what a reasoning parser has taken out of the message.
    """

    text: str
    finish_reason: str = "stop"
    token_ids: tuple[int, ...] = ()
    prompt_token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning: str = ""


def meaning(status: int) -> str:
    """What an HTTP status asks of the collector.

    vLLM 0.32 says 503 where its queue is full, 400 to a prompt that is too long, 404 to a model
    that it does not serve, and 500 only once its engine is gone.

    Returns:
        ``BUSY``: try again later. ``EPISODE``: this conversation cannot go on. ``CONFIGURATION``:
        no request will succeed. ``DEAD``: the server has to be started again.
    """
    if status == 200:
        return OK
    if status in _BUSY:
        return BUSY
    if status in _CONFIGURATION or status < 400:
        return CONFIGURATION
    return EPISODE if status < 500 else DEAD


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds of a header ``Retry-After``.

    Args:
        value: the header: seconds, or a date.
        now: seconds since the epoch.

    Returns:
        At least 0; None without a header that can be read.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def read(body: bytes) -> Answer:
    """The first choice of a chat completion.

    Raises:
        EpisodeError: it is none, or was aborted.
    """
    try:
        whole: Any = json.loads(body)
        choice = whole["choices"][0]
        message = choice["message"]
        text = _text(message, "content")
        reasoning = _text(message, "reasoning_content") or _text(message, "reasoning")
        finish = choice.get("finish_reason") or "stop"
        ids = _integers(choice.get("token_ids"))
        prompt_ids = _integers(whole.get("prompt_token_ids"))
        content: Any = (choice.get("logprobs") or {}).get("content") or ()
        logprobs = _numbers([each["logprob"] for each in content])
        usage: Any = whole.get("usage") or {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        prompt_tokens, completion_tokens = (
            count if type(count) is int and count >= 0 else len(known)
            for count, known in zip(counts, (prompt_ids, ids or logprobs), strict=True)
        )
        if not isinstance(finish, str):
            raise TypeError("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise EpisodeError("the answer is no chat completion") from None
    if finish == "abort":
        raise EpisodeError("aborted by the server")
    return Answer(
        text, finish, ids, prompt_ids, logprobs, prompt_tokens, completion_tokens, reasoning
    )


def complaint(body: bytes) -> str:
    """What a server says of an error, for people."""
    try:
        whole: Any = json.loads(body)
        error: Any = whole.get("error", whole)
        said = error.get("message") if isinstance(error, dict) else error
        text = said if isinstance(said, str) else body.decode(errors="replace")
    except (ValueError, AttributeError, RecursionError):
        text = body.decode(errors="replace")
    return " ".join(text.split())[:_SHOWN]


def _text(message: dict[str, Any], name: str) -> str:
    value: Any = message.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _integers(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or set(map(type, value)) - {int}:
        raise TypeError("token ids")
    return tuple(cast("list[int]", value))


def _numbers(values: list[Any]) -> tuple[float, ...]:
    if set(map(type, values)) - {int, float} or not math.isfinite(sum(values)):
        raise TypeError("logprob")
    return tuple(map(float, values))
