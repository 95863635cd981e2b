"""Names of ms-swift that plugins import, where ms-swift is not installed.

A plugin written for ``swift rollout --external_plugins`` registers environments in ``envs`` and
reward functions in ``orms``. Both are collected here; nothing else of ms-swift is.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Generator
from types import ModuleType
from typing import Any

from grpo_launch.rollout.environments import Messages, Request

envs: dict[str, Any] = {}
orms: dict[str, Any] = {}


class Env(ABC):
    """The base class of environments, as ``swift.rollout.gym_env.Env``."""

    def __init__(self, env_config: Any) -> None:
        self.env_config = env_config

    @abstractmethod
    async def reset(self, config: Request) -> tuple[str, dict[str, Any], str]:
        """Observation, info and system prompt of a new episode."""

    @abstractmethod
    async def step(self, action: Messages) -> tuple[str, float, bool, dict[str, Any]]:
        """Observation, reward, done and info after the last message."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what it holds."""


class ORM:
    """The base class of reward functions, as ``swift.rewards.ORM``."""

    def __init__(self, args: Any = None, **_: Any) -> None:
        self.args = args

    def __call__(self, **kwargs: Any) -> list[float]:
        """A reward for each of ``completions``."""
        raise NotImplementedError


class AsyncORM(ORM):
    """The base class of those that are coroutines."""


def get_logger(*_: Any, **__: Any) -> logging.Logger:
    """The logger ``swift``."""
    return logging.getLogger("swift")


_NAMES: dict[str, dict[str, Any]] = {
    "swift": {},
    "swift.rollout": {},
    "swift.rollout.gym_env": {"Env": Env, "envs": envs},
    "swift.utils": {"get_logger": get_logger},
    "swift.rewards": {"ORM": ORM, "AsyncORM": AsyncORM, "orms": orms},
    "swift.rewards.orm": {"ORM": ORM, "AsyncORM": AsyncORM, "orms": orms},
    "swift.template": {"Messages": Messages},
    "swift.infer_engine": {"RolloutInferRequest": Request},
    "swift.infer_engine.protocol": {"RolloutInferRequest": Request},
}


def is_needed() -> bool:
    """Whether ms-swift cannot be imported here."""
    try:
        return importlib.util.find_spec("swift.rollout") is None
    except (ImportError, ValueError):
        return True


@contextlib.contextmanager
def importable() -> Generator[None]:
    """While this lasts, the names can be imported; then ``sys.modules`` is as it was."""
    modules: dict[str, ModuleType] = {}
    for name, values in _NAMES.items():
        module = modules[name] = ModuleType(name, "Of grpo_launch: ms-swift is not installed.")
        module.__path__ = []
        vars(module).update(values)
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(modules[parent], last, module)
    before = {name: module for name, module in sys.modules.items() if _is_swift(name)}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_swift(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_swift(name: str) -> bool:
    return name.partition(".")[0] == "swift"
