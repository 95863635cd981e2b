"""Environments by ms-swift's protocol, as plugins bring them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.errors import ConfigError
from grpo_launch.rollout import Environments, EpisodeError, Task, load_plugins
from grpo_launch.rollout.environments import Instance, Request, Step
from grpo_launch.rollout.meter import Meter

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TASK = Task("a", {"env_config": {"size": 2}, "solution": "4", "images": ["x.png"]})


class Async:
    """A coroutine for each method, as ms-swift wants them."""

    def __init__(self, env_config: dict[str, Any]) -> None:
        self.env_config = env_config
        self.closed = 0

    async def reset(self, request: Request) -> tuple[Any, ...]:
        self.request = request
        return "observation", {}, "system"

    async def step(self, messages: list[dict[str, Any]]) -> tuple[Any, ...]:
        messages.clear()  # its copy
        return "next", 0.5, False, {"a": 1}

    async def close(self) -> None:
        self.closed += 1


class Plain:
    """Functions, each in a thread."""

    def __init__(self, env_config: dict[str, Any]) -> None:
        self.threads = {threading.get_ident()}

    def reset(self, request: Request) -> list[Any]:
        self.threads.add(threading.get_ident())
        time.sleep(0.05)
        return ["observation", None, None]

    def step(self, messages: list[dict[str, Any]]) -> list[Any]:
        self.threads.add(threading.get_ident())
        return [None, 1, 1, None]

    def close(self) -> None:
        self.threads.add(threading.get_ident())


def play(
    environments: Environments, task: Task, *answers: str, meter: Meter | None = None
) -> tuple[list[dict[str, Any]], list[Step], Any]:
    """The first messages, the steps, and the instance as it was made."""

    async def run() -> tuple[list[dict[str, Any]], list[Step], Any]:
        with ThreadPoolExecutor(1) as threads:
            name = environments.named(task)
            instance = Instance(environments, name, threads, meter or Meter())
            messages = await instance.begin(task, "a/0", 7)
            first = [dict(message) for message in messages]
            steps: list[Step] = []
            for answer in answers:
                messages.append({"role": "assistant", "content": answer})
                steps.append(await instance.step(messages))
                assert messages[-1]["content"] == answer
            made = instance._made
            await instance.close()
            await instance.close()
            return first, steps, made

    return asyncio.run(run())


def test_an_environment_of_coroutines() -> None:
    environments = Environments({"e": Async}, name="e", env_config={"size": 1, "colour": "red"})
    first, steps, made = play(environments, TASK, "hi")
    system = {"role": "system", "content": "system"}
    assert first == [system, {"role": "user", "content": "observation"}]
    assert steps == [Step("next", 0.5, False, '{"a": 1}')]
    assert made.env_config == {"size": 2, "colour": "red"}
    assert made.request == Request(
        [], {"env_config": made.env_config, "solution": "4"}, "a/0", 7, images=["x.png"]
    )
    assert made.closed == 1


def test_an_environment_of_plain_functions_never_blocks_the_loop() -> None:
    meter = Meter()
    first, steps, made = play(Environments({"e": Plain}, name="e"), TASK, "hi", meter=meter)
    assert first == [{"role": "user", "content": "observation"}]
    assert steps == [Step(None, 1.0, True)]
    assert threading.get_ident() not in made.threads
    assert meter.blocked_s < 0.05


def test_a_task_chooses_its_environment() -> None:
    environments = Environments({"e": Plain, "f": Async}, name="e")
    assert environments.named(Task("a", {"env_config": {"name": "f"}})) == "f"
    assert environments.named(Task("a", {})) == "e"
    with pytest.raises(ConfigError, match="no environment is called g, use one of these: e, f"):
        environments.named(Task("a", {"env_config": {"name": "g"}}))


def test_a_task_without_an_environment_is_one_turn_without_reward() -> None:
    messages = [{"role": "user", "content": "hi"}]
    first, steps, _ = play(Environments(), Task("a", {"messages": messages}), "ho")
    assert (first, steps) == (messages, [Step(None, None, True)])
    with pytest.raises(ConfigError, match="neither messages nor environment"):
        Environments().named(Task("a", {}))


def broken(**methods: Any) -> Environments:
    return Environments({"e": type("Broken", (Async,), methods)}, name="e")


UNUSABLE, JSON = "cannot be used: TypeError", "JSON serializable"
KEYS = "str, int, float, bool or None, not tuple"


class Vague:
    """Neither true nor false, as an array is."""

    def __bool__(self) -> bool:
        raise ValueError("which?")


async def gives(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("method", "value", "reason"),
    [
        ("reset", "x", "reset gave no (observation, info, system)"),
        ("reset", None, "reset gave no (observation, info, system)"),
        ("step", ("x", 1.0, True), "step gave no (observation, reward, done, info)"),
        ("step", ("x", None, True, {}), "the reward is None"),
        ("step", ("x", float("nan"), True, {}), "the reward is nan"),
        ("step", ("x", "much", True, {}), "the reward is much"),
        ("step", ("x", 10**400, True, {}), f"the reward is 1{'0' * 199}"),
        ("reset", (b"x", {}, ""), f"reset: {UNUSABLE}: Object of type bytes is not {JSON}"),
        ("reset", ("x", {}, {1}), f"reset: {UNUSABLE}: Object of type set is not {JSON}"),
        ("step", ({1}, 1.0, False, {}), f"step: {UNUSABLE}: Object of type set is not {JSON}"),
        ("step", ("x", 1.0, Vague(), {}), "step: cannot be used: ValueError: which?"),
        (
            "step",
            ("x", 1.0, True, {"success": Vague()}),
            "step: cannot be used: ValueError: which?",
        ),
        ("step", ("x", 1.0, True, {(1, 2): 3}), f"step: {UNUSABLE}: keys must be {KEYS}"),
    ],
)
def test_what_is_not_the_protocol_ends_the_episode(method: str, value: Any, reason: str) -> None:
    with pytest.raises(EpisodeError) as error:
        play(broken(**{method: lambda *_: gives(value)}), TASK, "hi")
    assert str(error.value) == f"environment: {reason}"


@pytest.mark.parametrize("method", ["__init__", "reset", "step"])
def test_an_error_of_an_environment_ends_the_episode(method: str) -> None:
    def fail(*_: Any) -> Any:
        raise KeyError("board")

    with pytest.raises(EpisodeError) as error:
        play(broken(**{method: fail}), TASK, "hi")
    assert str(error.value) == f"environment: {method}: KeyError: 'board'"


@pytest.mark.parametrize("error", [SystemExit(0), StopIteration()])
def test_neither_an_exit_nor_an_exhausted_iterator_goes_further_than_the_episode(
    error: BaseException,
) -> None:
    async def waits_and_fails(*_: Any) -> Any:
        await asyncio.sleep(0)
        raise error

    def fails(*_: Any) -> Any:
        raise error

    for method in (waits_and_fails, fails):  # in the loop, and in a thread
        with pytest.raises(EpisodeError, match=type(error).__name__):
            play(broken(step=method), TASK, "hi")


def test_a_reward_function_that_cannot_be_made_is_named() -> None:
    task = Task("a", {"messages": [{"role": "user", "content": "hi"}]})
    with pytest.raises(ConfigError, match="'better' cannot be made \\(TypeError: "):
        play(Environments(rewards={"better": lambda _: None}, name="better"), task, "ho")


def test_an_error_while_closing_is_of_no_interest() -> None:
    def fail(*_: Any) -> Any:
        raise KeyError("board")

    assert play(broken(close=fail), TASK, "hi")[1]


def test_time_in_which_a_coroutine_blocks_is_measured() -> None:
    async def step(*_: Any) -> Any:
        time.sleep(0.05)
        await asyncio.sleep(0.3)
        return None, 0, True, {}

    meter = Meter()
    play(broken(step=step), TASK, "hi", meter=meter)
    assert 0.05 <= meter.blocked_s < 0.3


def test_the_plugin_of_the_digits_gives_rewards_as_it_is() -> None:
    environments = load_plugins([str(EXAMPLES / "digits" / "plugin.py")], "digits.share")
    task = Task("a", {"messages": [{"role": "user", "content": "digits!"}], "id": "a"})
    _, steps, _ = play(environments, task, "12ab")
    assert steps == [Step(None, 0.5, True)]


@pytest.mark.skipif(importlib.util.find_spec("pyspiel") is None, reason="needs OpenSpiel")
def test_the_plugin_of_hanabi_plays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    environments = load_plugins([str(EXAMPLES / "hanabi" / "plugin.py")], "hanabi_env")
    config = {"players": 2, "seed": 1, "hand_size": 2, "colors": 2, "ranks": 2}
    task = Task("a", {"env_config": {"name": "hanabi_env", **config}})
    first, steps, _ = play(environments, task, *["nonsense"] * 3)
    assert [message["role"] for message in first] == ["system", "user"]
    assert all({"score", "legal"} <= set(json.loads(step.info)) for step in steps)


def test_a_stand_in_leaves_nothing_behind() -> None:
    load_plugins([str(EXAMPLES / "digits" / "plugin.py")])
    assert not [name for name in sys.modules if name.partition(".")[0] == "swift"]


def test_what_is_installed_as_swift_is_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "swift.py").write_text("")  # of OpenStack, for example
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    other = importlib.import_module("swift")
    try:
        load_plugins([str(EXAMPLES / "digits" / "plugin.py")], "digits.share")
        assert sys.modules["swift"] is other
    finally:
        del sys.modules["swift"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("raise SystemExit('bad options')", "SystemExit: bad options"),
        ("from swift.llm import x", "No module named 'swift.llm'"),
        ("x = (", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported(
    text: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "plugin.py"
    with pytest.raises(ConfigError, match="no such plugin"):
        load_plugins([str(path)])
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_plugins([str(path)])
    assert error.value.where == str(path)
    assert what in error.value.what


def test_a_name_that_no_plugin_brings() -> None:
    with pytest.raises(ConfigError, match="no environment is called chess"):
        load_plugins([str(EXAMPLES / "digits" / "plugin.py")], "chess")


def test_requests_have_what_environments_may_want() -> None:
    row = {"messages": [{"role": "user", "content": "hi"}], "a": 5}
    request = Request.of(Task("a", row), {"b": 1}, "a/1", 3)
    assert request.messages == row["messages"]
    assert request.data_dict == {"a": 5, "env_config": {"b": 1}}
