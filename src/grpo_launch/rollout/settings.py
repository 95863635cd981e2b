"""What a collector is told: the node ``collector`` with the addresses of its servers, as JSON."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from grpo_launch.base import codec
from grpo_launch.errors import ConfigError

SPLITS = ("train", "eval")

_OURS = ("messages", "model", "n", "stream", "logprobs", "return_token_ids")
"""What a request has anyway, or what its answer could not be read with."""


@dataclass(frozen=True)
class Settings:
    """How episodes are collected; a value that makes no sense raises ``ValueError``.

    Attributes:
        urls: servers, with or without ``/v1`` at the end.
        api: what they speak; ``openai``: chat completions.
        model: the name in requests; None: the first that the server lists.
        key: NAME of the environment variable with the API key.
        weights: capacity of each server; None: 1 each.
        server_size: episodes at once on a server of weight 1.
        environments: instances at once; None: as many as episodes.
        environment: name in the registry ``envs`` (or ``orms``) of the plugins; None: tasks say
            theirs, or are single-turn without a reward.
        plugins: Python files, imported in this order.
        env_config: for every environment; a task's own wins.
        train_tasks, eval_tasks: JSONL files of tasks.
        train_tasks_rollout_size, eval_tasks_rollout_size: episodes of each task.
        train_limit, eval_limit: only the first N tasks.
        max_turns: answers in an episode; None: until the environment is done.
        sampling: goes into each request as it is.
        token_ids: ask for token ids and logprobs; a server that refuses is asked without.
        completion_threshold: share of episodes whose end starts the grace.
        grace_s: seconds that the others get then.
        episode_timeout_s, call_timeout_s: seconds of an episode, of one request.
        max_failed: share of episodes that may fail.
        sync_s: seconds between two syncs of the file.
        max_tokens_spent: prompt and completion tokens of all requests; None: no cap.
        seed: order of the tasks, and ``request.seed`` of environments. Servers never get one.
        runtime: of the launcher; not looked at.
    """

    urls: tuple[str, ...] = ()
    api: str = "openai"
    model: str | None = None
    key: str | None = None
    weights: tuple[float, ...] | None = None
    server_size: int = 64
    environments: int | None = None
    environment: str | None = None
    plugins: tuple[str, ...] = ()
    env_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    train_tasks: str | None = None
    eval_tasks: str | None = None
    train_tasks_rollout_size: int = 1
    eval_tasks_rollout_size: int = 1
    train_limit: int | None = None
    eval_limit: int | None = None
    max_turns: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    token_ids: bool = True
    completion_threshold: float = 0.98
    grace_s: float = 120.0
    episode_timeout_s: float = 1800.0
    call_timeout_s: float = 300.0
    max_failed: float = 0.1
    sync_s: float = 5.0
    max_tokens_spent: int | None = None
    seed: int = 0
    runtime: Any = None

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} is less than 1")
        for name in _SECONDS:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0) or (value == 0 and "timeout" in name):
                raise ValueError(f"{name}: {value} is no number of seconds")
        for name in ("completion_threshold", "max_failed"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not between 0 and 1")
        if self.api != "openai":
            raise ValueError(f"api: {self.api} is not known, only openai is")
        if self.weights is not None:
            if self.urls and len(self.weights) != len(self.urls):
                raise ValueError(f"weights: {len(self.weights)} for {len(self.urls)} servers")
            if not all(math.isfinite(weight) and weight > 0 for weight in self.weights):
                raise ValueError("weights: each must be more than 0")
        if "seed" in self.sampling:
            raise ValueError("sampling.seed: would make each sample of a task the same")
        for name in _OURS:
            if name in self.sampling:
                raise ValueError(f"sampling.{name}: is set by the collector")

    def tasks_file(self, split: str) -> Path | None:
        """The tasks of a split."""
        name = getattr(self, f"{split}_tasks")
        return None if name is None else Path(name)

    def samples(self, split: str) -> int:
        """Episodes of each task of a split."""
        return getattr(self, f"{split}_tasks_rollout_size")

    def limit(self, split: str) -> int | None:
        """How many tasks of a split are taken."""
        return getattr(self, f"{split}_limit")


_AT_LEAST_ONE = (
    *("server_size", "environments", "max_turns", "max_tokens_spent"),
    *("train_tasks_rollout_size", "eval_tasks_rollout_size", "train_limit", "eval_limit"),
)
_SECONDS = ("grace_s", "episode_timeout_s", "call_timeout_s", "sync_s")


def read(path: Path) -> Settings:
    """Settings from a JSON file.

    Raises:
        ConfigError: it cannot be read, has a key that is not known, or a value that is wrong.
    """
    try:
        body = codec.read(path)
        return parse(body)
    except (OSError, ValueError) as error:
        what = error.strerror or "cannot be read" if isinstance(error, OSError) else str(error)
        raise ConfigError(str(path), what, "correct it") from None


def parse(body: Mapping[str, Any]) -> Settings:
    """Settings from what JSON holds.

    Raises:
        ValueError: a key that is not known, or a value that is wrong; begins with the key.
    """
    known = [each.name for each in fields(Settings)]
    for key in body:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise ValueError(f"{key}: is not known{f'; {near[0]}?' if near else ''}")
    return codec.decode(Settings, dict(body), [])
