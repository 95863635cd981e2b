"""What the code of an environment gives, made sure of: it is somebody else's."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Generator, Mapping
from typing import Any

from grpo_launch.rollout.answers import EpisodeError

_SHOWN = 200


@contextlib.contextmanager
def meaningful(what: str) -> Generator[None]:
    """Values of the environment that cannot be used are an error of the episode.

    Raises:
        EpisodeError: one of them cannot.
    """
    try:
        yield
    except EpisodeError:
        raise
    except Exception as error:
        raise EpisodeError(f"environment: {what}: cannot be used: {shown(error)}") from error


def sendable(content: Any) -> Any:
    """The content of a message, which JSON can say."""
    if not isinstance(content, str):
        json.dumps(content)
    return content


def success(info: Mapping[str, Any]) -> bool | None:
    """What an environment tells, by the names that gyms use."""
    for name in ("success", "is_success"):
        if info.get(name) is not None:
            return bool(info[name])
    return None


def text(info: Mapping[str, Any]) -> str:
    """What an environment tells besides, as JSON."""
    return json.dumps(dict(info), default=str) if info else "{}"


def shown(error: BaseException) -> str:
    """An exception of somebody else's code, in a line."""
    try:
        said = str(error)
    except Exception:
        said = "?"
    return " ".join(f"{type(error).__name__}: {said}".split())[:_SHOWN]


def finite(reward: Any) -> float:
    """A reward.

    Raises:
        EpisodeError: it is none.
    """
    try:
        value = float(reward)
    except (TypeError, ValueError, OverflowError):
        raise EpisodeError(f"environment: the reward is {str(reward)[:_SHOWN]}") from None
    if not math.isfinite(value):
        raise EpisodeError(f"environment: the reward is {value}")
    return value
