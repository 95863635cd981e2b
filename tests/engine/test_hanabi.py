"""Hanabi with the real engines on the CPU: gym scheduler, async engine, OpenSpiel, many turns."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Project
from tests.engine.conftest import Ran
from tests.engine.real import (
    HANABI,
    LORA,
    Swift,
    arguments,
    finish,
    nightly,
    no_weight_was_lost,
    rows_of,
    run_directory,
    steps_of,
    wait_for_step,
)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

STEPS = 20


@nightly
def test_episodes_are_rewarded_by_the_environment_and_nothing_outlives_a_sigterm(
    elsewhere: Project,
) -> None:
    length = ["train.training.max_steps=1000", "train.training.save_steps=10"]
    process = elsewhere.start(*HANABI, *length, *arguments())
    wait_for_step(process, STEPS)
    # Launcher, two guards, API server, engine core, worker, learner.
    assert len(elsewhere.left_over()) >= 7
    process.send_signal(signal.SIGTERM)
    assert finish(process).status == 143
    assert elsewhere.left_over() == []
    run = run_directory(elsewhere)
    assert [step.step for step in steps_of(run)][:STEPS] == list(range(1, STEPS + 1))
    no_weight_was_lost(run)
    episodes_were_played(run, STEPS)
    # A game of four points makes single steps jump; the best five in a row tell that it learns.
    rewards = [row["reward"] for row in rewarded(run)[:STEPS]]
    means = [sum(rewards[start : start + 5]) / 5 for start in range(len(rewards) - 4)]
    assert max(means[5:]) > means[0] + 0.08, rewards


def test_several_servers_play_with_an_adapter(two_servers: Ran) -> None:
    episodes_were_played(two_servers.directory, 3, "server_0", "server_1")


def episodes_were_played(run: Path, steps: int, *servers: str) -> None:
    """The environment rewarded each episode, in which moves were made."""
    rows = rewarded(run)[:steps]
    assert len(rows) == steps
    assert all(row["rewards/gym_reward/mean"] == pytest.approx(row["reward"]) for row in rows)
    assert all(2 < row["num_turns"] <= 3 for row in rows)
    for server in servers or ("server",):
        log = (run / "logs" / f"{server}.log").read_text()
        # One: the launcher's own first request, which has no row.
        assert log.count("hanabi_env: no game: a request without env_config") == 1
        assert "hanabi_env: the episode ends" not in log
    conversations = [
        prompt
        for line in next(iter(run.glob("output/*/completions.jsonl"))).read_text().splitlines()
        for prompt in json.loads(line)["prompt"]
    ]
    boards = [board_of(conversation) for conversation in conversations]
    assert all(len(seen) >= 3 for seen in boards)
    # Legal moves happened: boards of one conversation differ.
    assert any(len(set(seen)) > 1 for seen in boards)


def rewarded(run: Path) -> list[dict[str, Any]]:
    """The rows of the learner's log that have a reward."""
    return [row for row in rows_of(run) if "reward" in row]


def board_of(conversation: str) -> list[str]:
    """The observations in a conversation."""
    turns = conversation.split("### Human:\n")[1:]
    return [turn.partition("\n\n### Assistant:")[0] for turn in turns]


@nightly
def test_the_game_is_played_to_the_end(elsewhere: Project) -> None:
    length = ["train.training.max_steps=3", "train.training.save_steps=3"]
    done = finish(elsewhere.start(*HANABI, *length, *arguments()))
    assert done.status == 0, done.stderr
    run = run_directory(elsewhere)
    assert [step.step for step in steps_of(run)] == [1, 2, 3]
    no_weight_was_lost(run)
    assert elsewhere.left_over() == []


@nightly
def test_lora_trains_to_the_end(elsewhere: Project) -> None:
    length = ["train.training.max_steps=2", "train.training.save_steps=2"]
    done = finish(elsewhere.start(*HANABI, *length, *arguments(), *LORA))
    assert done.status == 0, done.stderr
    run = run_directory(elsewhere)
    assert [step.step for step in steps_of(run)] == [1, 2]
    no_weight_was_lost(run)
    assert next(iter(run.glob("output/*/checkpoint-2/adapter_model.safetensors"))).is_file()
    assert elsewhere.left_over() == []


SCRIPT = """
import asyncio
from swift.rollout.gym_env import envs
from swift.utils import import_external_file

import_external_file({plugin!r})


async def play(env_config, answers):
    env = envs["hanabi_env"](env_config)
    observation, _, system = await env.reset(None)
    print(repr(observation[:14]), bool(system))
    messages = [{{"role": "user", "content": observation}}]
    for answer in answers:
        messages.append({{"role": "assistant", "content": answer}})
        observation, reward, done, info = await env.step(messages)
        print(repr(observation[:14]), reward, done, info)
        if done:
            break
        messages.append({{"role": "user", "content": observation}})
    await env.close()


async def main():
    for env_config in (
        {{"seed": 1, "ranks": 1, "hand_size": 2}}, {{"seed": 1, "players": 9}}, {{}}, None, "x",
    ):
        await play(env_config, ["\\ud800", "Play 0", None])
    env = envs["hanabi_env"]({{"seed": 1}})
    await env.reset(None)
    print(await env.step([]))


asyncio.run(main())
"""


def test_no_row_and_no_answer_raises_into_the_server(swift: Swift) -> None:
    plugin = str(ROOT / "examples" / "hanabi" / "plugin.py")
    done = swift.run(["-c", SCRIPT.format(plugin=plugin)])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "'Life tokens: 3' True",
        "'The answer nam' 0.0 False {'score': 0, 'legal': False}",
        "'Player 1: Reve' 0.2 False {'score': 1, 'legal': True}",
        "'The answer nam' 0.0 False {'score': 1, 'legal': False}",
        *["'No game.' False", "'' 0.0 True {}"] * 4,
        "('', 0.0, True, {})",
    ]
    assert "hanabi_env: no game: env_config.players is 9, choose a number from 2 to 5" in (
        done.stderr
    )


IMPOSSIBLE = "HANABI_REWARD is 'points', choose from score, shaped"


def test_an_impossible_option_ends_the_import_of_the_plugin(swift: Swift) -> None:
    plugin = str(ROOT / "examples" / "hanabi" / "plugin.py")
    load = "import sys; from swift.utils import import_external_file as load; load(sys.argv[1])"
    done = swift.run(["-c", load, plugin], HANABI_REWARD="points")
    assert done.returncode != 0
    assert IMPOSSIBLE in done.stderr


@nightly
def test_an_impossible_option_ends_the_server_before_it_loads_the_model(elsewhere: Project) -> None:
    done = finish(elsewhere.start(*HANABI, *arguments(), "env.set.HANABI_REWARD=points"))
    assert done.status == 4, done.stderr
    assert IMPOSSIBLE in done.stderr
    assert elsewhere.left_over() == []
