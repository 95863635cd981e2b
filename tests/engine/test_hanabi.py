"""Hanabi with the real engines on the CPU: gym scheduler, async engine, OpenSpiel, many turns."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Project
from tests.engine.test_real_engines import (
    ENGINE,
    arguments,
    elsewhere,
    finish,
    no_weight_was_lost,
    run_directory,
    steps_of,
)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

__all__ = ["elsewhere"]

CPU = ["role=both", "config=hanabi", "accelerator=cpu"]
LORA = [
    "train.tuner.tuner_type=lora", "train.tuner.lora_rank=8", "train.tuner.lora_alpha=16",
    "train.tuner.target_modules=[all-linear]",
    "rollout_server.vllm_enable_lora=true", "rollout_server.vllm_max_lora_rank=8",
]  # fmt: skip


def learn(project: Project, steps: int, *overrides: str) -> tuple[Path, list[dict[str, Any]]]:
    """A whole run of that many steps: its directory, and the log's rows that have a reward."""
    length = [f"train.training.max_steps={steps}", f"train.training.save_steps={steps}"]
    done = finish(project.start(*CPU, *length, *arguments(project), *overrides))
    assert done.status == 0, done.stderr
    run = run_directory(project)
    assert [step.step for step in steps_of(run)] == list(range(1, steps + 1))
    no_weight_was_lost(run)
    assert project.left_over() == []
    log = next(iter(run.glob("output/*/logging.jsonl"))).read_text()
    rows = [json.loads(line) for line in log.splitlines()]
    return run, [row for row in rows if "reward" in row]


def test_episodes_have_several_turns_and_the_environment_rewards_them(elsewhere: Project) -> None:
    run, rows = learn(elsewhere, 20)
    assert all(row["rewards/gym_reward/mean"] == pytest.approx(row["reward"]) for row in rows)
    assert all(2 < row["num_turns"] <= 3 for row in rows)
    # A game of four points makes single steps jump; the best five in a row tell that it learns.
    rewards = [row["reward"] for row in rows]
    means = [sum(rewards[start : start + 5]) / 5 for start in range(len(rewards) - 4)]
    assert max(means[5:]) > means[0] + 0.08, rewards
    server = (run / "logs" / "server.log").read_text()
    # One: the launcher's own first request, which has no row.
    assert server.count("hanabi_env: no game: a request without env_config") == 1
    assert "hanabi_env: the episode ends" not in server
    conversations = [
        prompt
        for line in next(iter(run.glob("output/*/completions.jsonl"))).read_text().splitlines()
        for prompt in json.loads(line)["prompt"]
    ]
    boards = [board_of(conversation) for conversation in conversations]
    assert all(len(seen) >= 3 for seen in boards)
    # Legal moves happened: boards of one conversation differ.
    assert any(len(set(seen)) > 1 for seen in boards)


def board_of(conversation: str) -> list[str]:
    """The observations in a conversation."""
    turns = conversation.split("### Human:\n")[1:]
    return [turn.partition("\n\n### Assistant:")[0] for turn in turns]


def test_lora_adapters_reach_the_server(elsewhere: Project) -> None:
    run, rows = learn(elsewhere, 2, *LORA)
    assert len(rows) == 2
    server = (run / "logs" / "server.log").read_text()
    assert server.count('POST /update_adapter_flattened_param/ HTTP/1.1" 200') >= 1
    assert next(iter(run.glob("output/*/checkpoint-2/adapter_model.safetensors"))).is_file()


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


def test_no_row_and_no_answer_raises_into_the_server() -> None:
    plugin = str(ROOT / "examples" / "hanabi" / "plugin.py")
    done = subprocess.run(
        [str(ENGINE / "bin" / "python"), "-c", SCRIPT.format(plugin=plugin)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
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


def test_an_impossible_option_ends_the_server_before_it_loads_the_model(elsewhere: Project) -> None:
    done = finish(elsewhere.start(*CPU, *arguments(elsewhere), "env.set.HANABI_REWARD=points"))
    assert done.status == 4, done.stderr
    assert "HANABI_REWARD is 'points', choose from score, shaped" in done.stderr
    assert elsewhere.left_over() == []
