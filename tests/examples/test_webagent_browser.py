"""The web agent's environment in real browsers, as ms-swift and the collector use it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from webagent_gym.browser import BrowserMissingError, programs
from webagent_gym.settings import SettingsError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "webagent"
TASKS = ("click-test-2", "click-button", "enter-text")


def _missing() -> str | None:
    if importlib.util.find_spec("miniwob") is None:
        return "needs miniwob: pip install 'grpo-launch[webagent]'"
    try:
        programs()
    except BrowserMissingError as error:
        return str(error)
    return None


@pytest.fixture(scope="module", autouse=True)
def chromium() -> None:
    """Skip without a browser, but not where it could be installed."""
    if reason := _missing():
        if os.environ.get("GRPO_LAUNCH_NEEDS_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)


pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def plugin(chromium: None) -> Iterator[Any]:
    """``plugin.py`` with what it needs of ms-swift; its browsers end with the tests."""
    gym: Any = types.ModuleType("swift.rollout.gym_env")
    gym.Env = type(
        "Env", (), {"__init__": lambda self, env_config: setattr(self, "env_config", env_config)}
    )
    gym.envs = {}
    utils: Any = types.ModuleType("swift.utils")
    utils.get_logger = lambda: __import__("logging").getLogger("swift")
    stand_in = {name: types.ModuleType(name) for name in ("swift", "swift.rollout")}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in (stand_in | {gym.__name__: gym, utils.__name__: utils}).items():
            patch.setitem(sys.modules, name, module)
        spec = importlib.util.spec_from_file_location(
            "example_webagent_plugin", EXAMPLE / "plugin.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    assert gym.envs == {"webagent": module.WebEnv}
    before = _children(os.getpid())  # of other tests of this process
    yield module
    module.POOL.close()
    deadline = time.monotonic() + 10
    while left := _children(os.getpid()) - before:
        assert time.monotonic() < deadline, {pid: _command(pid) for pid in left}
        time.sleep(0.05)


Hook = Callable[[Any, int], Awaitable[None]]


async def _play(
    plugin: Any, task: str, seed: int, hook: Hook | None = None, **more: Any
) -> tuple[float, dict[str, Any]]:
    """An episode of the policy that reads the page: its reward, and the last info."""
    env = plugin.WebEnv({"name": "webagent", "task": task, "seed": seed, "browsers": 2, **more})
    observation, _, system = await env.reset(None)
    messages = [{"role": "system", "content": system}]
    total, info = 0.0, {}
    for turn in range(10):
        messages.append({"role": "user", "content": observation})
        messages.append({"role": "assistant", "content": _policy(observation)})
        if hook:
            await hook(env, turn)
        observation, reward, done, info = await env.step(messages)
        total += reward
        if done:
            break
    await env.close()
    return total, info


def _policy(page: str) -> str:
    utterance, *lines = page.splitlines()
    quoted = re.search(r'"(.*)"', utterance)
    wanted = quoted[1] if quoted else "ONE"
    if utterance.startswith("Enter"):
        for line in lines:
            if "input_text" in line and "value" not in line:
                return f"type {line[1:].partition(']')[0]} {wanted}"
        wanted = "Submit"
    for line in lines:
        if line.endswith(f'button "{wanted}"'):
            return f"I see it.\nclick {line[1:].partition(']')[0]}"
    return "?"


def test_a_policy_that_reads_the_page_solves_three_tasks(plugin: Any) -> None:
    async def play() -> dict[str, float]:
        means: dict[str, float] = {}
        for task in TASKS:
            games = await asyncio.gather(*(_play(plugin, task, seed) for seed in range(20)))
            means[task] = sum(reward for reward, _ in games) / len(games)
            assert all(info["success"] == (reward == 1) for reward, info in games)
        return means

    means = asyncio.run(play())
    assert min(means.values()) >= 0.9, means


def test_a_page_depends_on_its_seed_alone(plugin: Any) -> None:
    async def pages(task: str, seeds: list[int]) -> list[str]:
        shown: list[str] = []
        for seed in seeds:
            env = plugin.WebEnv({"task": task, "seed": seed, "browsers": 1})
            shown.append((await env.reset(None))[0])
            await env.close()
        return shown

    for task in TASKS[1:]:
        once = asyncio.run(pages(task, [1, 2, 3]))
        assert asyncio.run(pages(task, [3, 2, 1])) == once[::-1]
        assert len(set(once)) == 3


@pytest.mark.parametrize("program", ["chromium", "chromedriver", "keeper"])
def test_a_killed_browser_is_replaced_and_the_episode_goes_on(plugin: Any, program: str) -> None:
    async def kill(env: Any, turn: int) -> None:
        keeper = env._episode._browser._keeper.pid
        if turn == 1:
            if program == "keeper":
                os.kill(keeper, signal.SIGKILL)
            else:
                _kill_named(keeper, program)

    reward, info = asyncio.run(_play(plugin, "enter-text", 3, kill))
    assert (reward, info["replaced"], info["steps"]) == (1.0, 1, 2)


def test_an_idle_browser_that_ended_is_replaced(plugin: Any) -> None:
    assert asyncio.run(_play(plugin, "click-test-2", 1))[0] == 1
    for browser in plugin.POOL._idle:
        os.kill(browser._keeper.pid, signal.SIGKILL)
    assert asyncio.run(_play(plugin, "click-test-2", 2))[0] == 1


def test_a_page_that_hangs_does_not_stay_with_the_pool(plugin: Any) -> None:
    async def play() -> float:
        env = plugin.WebEnv({"task": "click-test-2", "seed": 1, "browsers": 1})
        await env.reset(None)
        browser = env._episode._browser
        call = browser._call(lambda: browser._driver.execute_script("while (true) {}"))
        step = asyncio.ensure_future(env.step([{"role": "assistant", "content": "click 4"}]))
        await asyncio.sleep(0.1)
        step.cancel()
        await asyncio.wait([step])
        await env.close()
        reward, _ = await _play(plugin, "click-test-2", 2)
        assert call.exception() is not None
        return reward

    assert asyncio.run(play()) == 1


def test_a_task_that_does_not_exist_is_said(plugin: Any) -> None:
    async def reset(**more: Any) -> str:
        env = plugin.WebEnv({"task": "click-nothing", "seed": 1, **more})
        observation, _, _ = await env.reset(None)
        assert await env.step([{"content": "click 1"}]) == ("", 0.0, True, {"success": False})
        return observation

    with pytest.raises(SettingsError, match="click-nothing, MiniWoB\\+\\+ has no such task"):
        asyncio.run(reset())
    # What ms-swift needs: an exception would end its learner.
    assert asyncio.run(reset(on_failure="end")) == "No page."


def test_a_long_temporary_directory_is_not_used(tmp_path: Path, plugin: Any) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    plugin.POOL.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(long))
        assert asyncio.run(_play(plugin, "click-test-2", 1))[0] == 1


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary directory that the browsers of a test can use."""
    with tempfile.TemporaryDirectory(prefix="grpo-") as path:
        yield Path(path)


OWNER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from webagent_gym.pool import Pool
import asyncio

async def main():
    pool = Pool()
    browser = await pool.borrow(1)
    await asyncio.wrap_future(browser.open("click-test", 1))
    return pool

pool = asyncio.run(main())
print("open", flush=True)
end = sys.stdin.readline().strip()
if end == "close":
    pool.close()
    print("closed", flush=True)
    sys.stdin.readline()
if end == "exit at once":
    os._exit(0)
"""


@pytest.mark.parametrize(
    "end", ["kill", "terminate", "close", "exit", "exit at once", "kill all keepers"]
)
def test_nothing_is_left_of_a_process_that_ended(end: str, short_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(short_path)}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(EXAMPLE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    try:
        assert owner.stdout.readline() == "open\n"
        started = _children(owner.pid)
        assert {_name(pid) for pid in started} >= {"chromium", "chromedriver", "chrome_crashpad"}
        if end == "kill all keepers":
            for pid in started:
                if "keeper.py" in _command(pid):
                    os.kill(pid, signal.SIGKILL)
        if end in ("kill", "kill all keepers"):
            owner.kill()
        elif end == "terminate":
            owner.terminate()
        else:
            owner.stdin.write(f"{end}\n")
            owner.stdin.flush()
        if end == "close":
            assert owner.stdout.readline() == "closed\n"
            # Zombies would still be its children.
            assert _children(owner.pid) == set()
    finally:
        if end == "close":
            owner.kill()
        owner.communicate()
    deadline = time.monotonic() + 30
    while left := {pid for pid in started if _runs(pid)}:
        assert time.monotonic() < deadline, {pid: _command(pid) for pid in left}
        time.sleep(0.05)
    if end != "kill all keepers":
        assert list(short_path.iterdir()) == []


def _children(root: int) -> set[int]:
    """Every descendant, zombies included."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    found: set[int] = set()
    pending = {root}
    while pending:
        pending = {pid for pid, parent in parents.items() if parent in pending} - found
        found |= pending
    return found


def _kill_named(root: int, name: str) -> None:
    for pid in _children(root):
        if _name(pid) == name:
            os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _runs(pid: int) -> bool:
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False
