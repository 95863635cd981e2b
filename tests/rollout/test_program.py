"""The program as a process: its statuses, and what is left of it when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rollout.server import Body, Reply, Server, completion, http, said

PLUGIN = """
import asyncio, time
from swift.rollout.gym_env import Env, envs

class Slow(Env):
    async def reset(self, config):
        return "go", {{}}, ""
    async def step(self, action):
        {how}
        return "", 1.0, True, {{}}
    async def close(self):
        pass

class Plain:
    def __init__(self, env_config): pass
    def reset(self, config): return "go", {{}}, ""
    def step(self, action): time.sleep(60)
    def close(self): pass

envs["slow"] = Slow
envs["plain"] = Plain
"""

BUSY_S = 2.0
"""What a busy machine may add."""

pytestmark = pytest.mark.slow


class Program:
    """A directory with settings and tasks, and the program that collects there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = directory / "out"

    def write(self, url: str, count: int, **settings: Any) -> None:
        tasks = self.directory / "tasks.jsonl"
        lines = (
            {"id": f"t{i}", "messages": [{"role": "user", "content": f"t{i}"}]}
            for i in range(count)
        )
        tasks.write_text("".join(json.dumps(line) + "\n" for line in lines))
        body = {"urls": [url], "train_tasks": str(tasks), "completion_threshold": 1.0, **settings}
        (self.directory / "collect.json").write_text(json.dumps(body))

    def plugin(self, how: str) -> str:
        path = self.directory / "plugin.py"
        path.write_text(PLUGIN.format(how=how))
        return str(path)

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "grpo_launch.rollout",
            str(self.directory / "collect.json"),
        ]
        return subprocess.Popen(
            [*command, "--output", str(self.output), *arguments],
            env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str, **environ: str) -> tuple[int, str]:
        process = self.start(*arguments, **environ)
        stdout, stderr = process.communicate(timeout=120)
        assert stdout == ""
        return process.returncode, stderr

    def episodes(self) -> list[dict[str, Any]]:
        text = (self.output / "episodes.jsonl").read_bytes()
        return [json.loads(line) for line in text.split(b"\n") if line]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def waited(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_it_says_what_it_has_done(program: Program) -> None:
    with Server() as server:
        program.write("http://127.0.0.1:1", 3)
        status, output = program.run("--url", server.url, "--version", "7", "--seed", "3")
    assert status == 0
    assert output.startswith("3 of 3 episodes, ")
    assert {row["version"] for row in program.episodes()} == {"7"}
    names = {path.name for path in program.output.iterdir() if not path.name.startswith(".")}
    assert names == {"episodes.jsonl", "progress.jsonl", "summary.json"}


def test_it_is_killed_again_and_again_and_nothing_is_missing_or_there_twice(
    program: Program,
) -> None:
    with Server(lambda *_: completion(after_s=0.01)) as server:
        program.write(server.url, 60, server_size=4, train_tasks_rollout_size=2)
        for kills in range(1, 4):
            process = program.start()
            waited(lambda k=kills: len(server.bodies) >= 20 * k)
            process.kill()
            process.communicate()
        status, output = program.run()
    assert status == 0
    assert "120 of 120 episodes, " in output
    pairs = Counter((row["task"], row["sample"]) for row in program.episodes())
    assert pairs == {(f"t{i}", k): 1 for i in range(60) for k in range(2)}
    # What was under way when it was killed is played again, and nothing else.
    assert len(server.bodies) <= 120 + 3 * 4


@pytest.mark.parametrize(
    ("environment", "how"),
    [
        (None, ""),
        ("slow", "await asyncio.sleep(60)"),
        ("slow", "time.sleep(60)"),
        ("plain", ""),
    ],
    ids=["requests", "coroutines", "a blocked loop", "threads"],
)
def test_a_signal_ends_it_within_two_seconds(
    environment: str | None, how: str, program: Program
) -> None:
    def answer(body: Body, count: int) -> Reply:
        return completion(after_s=0 if environment or len(server.bodies) <= 5 else 60)

    with Server(answer) as server:
        plugins = [program.plugin(how)]
        program.write(server.url, 20, environment=environment, plugins=plugins)
        process = program.start()
        waited(lambda: len(server.bodies) >= (1 if environment else 20))
        waited(lambda: environment is not None or len(program.episodes()) == 5)
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
        assert time.monotonic() - begun < 2 + BUSY_S
    assert process.returncode == 143
    assert "Traceback" not in stderr
    assert len(program.episodes()) == (0 if environment else 5)


def test_ctrl_c_while_a_plugin_is_imported_is_no_traceback(program: Program) -> None:
    reached = program.directory / "reached"
    plugin = program.directory / "waits.py"
    plugin.write_text(f"import signal\nopen({str(reached)!r}, 'x').close()\nsignal.pause()\n")
    program.write("http://127.0.0.1:1", 1, plugins=[str(plugin)])
    process = program.start()
    waited(reached.exists)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")


@pytest.mark.parametrize(
    ("reply", "settings", "status", "text"),
    [
        (http(404, {"error": "no such model"}), {}, 2, "status 404 (no such model), correct "),
        (http(500), {}, 5, "status 500, see the log of the server"),
        (http(400, {"error": "too long"}), {}, 1, "episodes failed (1 x status 400 (too long))"),
        (completion(), {"server_sise": 1}, 2, "server_sise: is not known; server_size?"),
        (completion(), {"train_tasks": None}, 2, "collector.train_tasks: is not set, name a "),
        (completion(), {"train_tasks": "none.jsonl"}, 2, "none.jsonl: No such file"),
        (completion(), {"key": "NO_SUCH_KEY"}, 2, "the variable NO_SUCH_KEY is not set, export "),
        (completion(), {"environment": "chess"}, 2, "no environment is called chess"),
        (completion(), {"urls": []}, 2, "collector.urls: no server, name one with --url"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line(
    reply: Reply, settings: dict[str, Any], status: int, text: str, program: Program
) -> None:
    with Server(lambda *_: reply) as server:
        program.write(server.url, 3, **settings)
        ended, output = program.run()
    assert ended == status
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert text in output


def test_a_key_is_nowhere(program: Program) -> None:
    key = "sk-very-secret-key"

    def answer(body: Body, count: int) -> Reply:
        refused = http(400, {"error": f"not with {key}"})
        return refused if said(body) == "t1" else completion()

    with Server(answer) as server:
        program.write(server.url, 3, key="MY_KEY", max_failed=1.0)
        status, output = program.run(MY_KEY=key)
        assert all(f"Bearer {key}" in head for head in server.headers)
    assert (status, key in output) == (0, False)
    files = [path for path in program.output.rglob("*") if path.is_file()]
    assert not [path for path in files if key.encode() in path.read_bytes()]
    assert "not with ****" in json.dumps(program.episodes())
