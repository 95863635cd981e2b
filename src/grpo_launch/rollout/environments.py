"""Environments by the protocol of ms-swift's gym, and what stands in for one.

``envs[name](env_config)``, then ``reset(request) -> (observation, info, system)``,
``step(messages) -> (observation, reward, done, info)``, ``close()``: what ``GYMScheduler`` of
ms-swift 4.6 calls (``swift/rollout/multi_turn.py``). Methods may be plain functions, too; those
run in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, cast

from grpo_launch.errors import ConfigError
from grpo_launch.rollout import values
from grpo_launch.rollout.answers import EpisodeError
from grpo_launch.rollout.meter import Measured, Meter
from grpo_launch.rollout.tasks import STANDARD, Task

Messages = list[dict[str, Any]]

_CLOSES_S = 30.0
"""Seconds that an environment gets to close."""


@dataclass
class Request:
    """What ``reset`` gets: the fields of ms-swift's ``RolloutInferRequest`` that have a meaning.

    Attributes:
        messages: of the task; the environment's replace them.
        data_dict: the task's other columns, ``env_config`` as the environment got it.
        uuid: ``TASK/SAMPLE``.
        seed: for what is random in the environment; the same whenever the episode is repeated.
    """

    messages: Messages
    data_dict: dict[str, Any]
    uuid: str
    seed: int = 0
    images: list[Any] = field(default_factory=list[Any])
    audios: list[Any] = field(default_factory=list[Any])
    videos: list[Any] = field(default_factory=list[Any])
    tools: list[Any] | None = None
    objects: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, task: Task, env_config: Mapping[str, Any], uuid: str, seed: int) -> Request:
        """The request of an episode."""
        standard = {name: task.row[name] for name in STANDARD if task.row.get(name) is not None}
        rest = {key: value for key, value in task.row.items() if key not in STANDARD}
        standard["messages"] = [dict(message) for message in standard.get("messages", [])]
        return cls(data_dict={**rest, "env_config": env_config}, uuid=uuid, seed=seed, **standard)


@dataclass(frozen=True)
class Step:
    """What a turn came to.

    Attributes:
        observation: the next message of the user; None: there is none.
        reward: of the turn; None: nobody gives rewards.
        done: whether the episode is over.
        info: what else the environment tells, as JSON.
        success: what it tells by the names that gyms use; None: nothing.
    """

    observation: Any
    reward: float | None
    done: bool
    info: str = "{}"
    success: bool | None = None


@dataclass(frozen=True)
class Environments:
    """The environments that tasks may name.

    Attributes:
        envs: name -> what makes an instance from an ``env_config``.
        rewards: name -> what makes a reward function of ms-swift: an episode of one turn.
        name: the one of tasks that name none.
        env_config: for all; a task's own wins.
    """

    envs: Mapping[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict[str, Any])
    rewards: Mapping[str, Callable[[], Any]] = field(default_factory=dict[str, Any])
    name: str | None = None
    env_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    _scoring: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)

    def scoring(self, name: str) -> Any:
        """The reward function of this name, made once: it may hold a model.

        Raises:
            ConfigError: it cannot be made.
        """
        if name not in self._scoring:
            try:
                self._scoring[name] = self.rewards[name]()
            except (Exception, SystemExit) as error:
                what = f"{name!r} cannot be made ({values.shown(error)})"
                fix = "correct the reward function in collector.plugins"
                raise ConfigError("collector.environment", what, fix) from None
        return self._scoring[name]

    def config(self, task: Task) -> dict[str, Any]:
        """What the environment of a task is made from."""
        return {**copy.deepcopy(dict(self.env_config)), **copy.deepcopy(task.env_config)}

    def named(self, task: Task) -> str | None:
        """The environment of a task; None: it is a single turn without a reward.

        Raises:
            ConfigError: there is no such environment, or nothing to begin with.
        """
        config = {**self.env_config, **(task.row.get("env_config") or {})}
        name = config.get("name", self.name)
        if name is None or name in self.rewards:
            if not task.row.get("messages"):
                fix = "give it messages, or set collector.environment"
                raise ConfigError(f"task {task.id}", "has neither messages nor environment", fix)
        elif name not in self.envs:
            known = ", ".join(sorted((*self.envs, *self.rewards))) or "none"
            fix = f"use one of these: {known}; collector.plugins brings more"
            raise ConfigError(f"task {task.id}", f"no environment is called {name}", fix)
        return name


class Instance:
    """One environment while one episode lasts.

    Args:
        environments: what there is.
        name: which one.
        threads: for methods that are plain functions.
        meter: gets the time in which the environment blocks.
    """

    def __init__(
        self, environments: Environments, name: str | None, threads: Executor, meter: Meter
    ) -> None:
        self._environments = environments
        self._name = name
        self._threads = threads
        self._meter = meter
        self._made: Any = None
        self._row: Mapping[str, Any] = {}

    async def begin(self, task: Task, uuid: str, seed: int) -> Messages:
        """The first messages.

        Raises:
            EpisodeError: the environment cannot begin.
        """
        if self._name is None or self._name not in self._environments.envs:
            self._row = task.row
            return [dict(message) for message in task.row["messages"]]
        config = self._environments.config(task)
        request = Request.of(task, config, uuid, seed)
        kind = self._environments.envs[self._name]
        made = await self._call("__init__", functools.partial(kind, config), kind)
        self._made = made
        result = await self._call("reset", functools.partial(made.reset, request), made.reset)
        try:
            observation, _, system = result
        except (TypeError, ValueError):
            raise EpisodeError("environment: reset gave no (observation, info, system)") from None
        with values.meaningful("reset"):
            opening: Messages = (
                [{"role": "system", "content": values.sendable(system)}] if system else []
            )
            return [*opening, {"role": "user", "content": values.sendable(observation)}]

    async def step(self, messages: Messages) -> Step:
        """What the model's last message leads to.

        Raises:
            EpisodeError: the environment fails, or gives what is no step.
        """
        if self._name is None:
            return Step(None, None, True)
        if self._made is None:
            return await self._score(self._name, messages)
        played = copy.deepcopy(messages)
        step = self._made.step
        result = await self._call("step", functools.partial(step, played), step)
        try:
            observation, reward, done, info = result
        except (TypeError, ValueError):
            text = "environment: step gave no (observation, reward, done, info)"
            raise EpisodeError(text) from None
        with values.meaningful("step"):
            told = cast("Mapping[str, Any]", info) if isinstance(info, Mapping) else {}
            text = values.text(told)
            return Step(
                values.sendable(observation),
                values.finite(reward),
                bool(done),
                text,
                values.success(told),
            )

    async def close(self) -> None:
        """Let go of it; its errors are its own."""
        made, self._made = self._made, None
        close = getattr(made, "close", None)
        if close is not None:
            with contextlib.suppress(EpisodeError, asyncio.TimeoutError):
                await asyncio.wait_for(self._call("close", close, close), _CLOSES_S)

    async def _score(self, name: str, messages: Messages) -> Step:
        score = self._environments.scoring(name)
        columns = {key: [value] for key, value in self._row.items() if key != "messages"}
        call = functools.partial(score, [messages[-1]["content"]], **columns)
        result = await self._call("reward", call, type(score).__call__)
        try:
            return Step(None, values.finite(result[0]), True)
        except (TypeError, LookupError):
            raise EpisodeError("environment: the reward function gave no list") from None

    async def _call(self, what: str, call: Callable[[], Any], function: Any) -> Any:
        try:
            if _in_loop(function):
                begun = self._meter.clock()
                result = call()
                self._meter.blocked_s += self._meter.clock() - begun
            else:
                threaded = functools.partial(_threaded, call)
                result = await asyncio.get_running_loop().run_in_executor(self._threads, threaded)
            if inspect.iscoroutine(result):
                return await Measured[Any](result, self._meter)
            return await result if inspect.isawaitable(result) else result
        except EpisodeError:
            raise
        except (Exception, SystemExit) as error:  # a plugin must not end the collector
            raise EpisodeError(f"environment: {what}: {values.shown(error)}") from error


def _in_loop(function: Any) -> bool:
    """Whether calling it only makes a coroutine; the class of coroutines is made there, too."""
    if inspect.isclass(function):
        return inspect.iscoroutinefunction(getattr(function, "reset", None))
    return inspect.iscoroutinefunction(function)


def _threaded(call: Callable[[], Any]) -> Any:
    """What a call in a thread gives; a future takes every exception but ``StopIteration``."""
    try:
        return call()
    except StopIteration as error:
        raise RuntimeError("StopIteration") from error
