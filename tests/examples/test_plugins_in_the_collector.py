"""The plug-ins of the examples, imported by the collector where ms-swift is absent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.rollout import plugin_files

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(
    ("answer", "reward"), [("123", 1.0), ("12ab", 0.5), ("", 0.0), ("no", 0.0)]
)
def test_digits_rewards_the_share_of_digits(answer: str, reward: float) -> None:
    environments = plugin_files.load([str(EXAMPLES / "digits" / "plugin.py")], "digits")
    row = [{"role": "user", "content": "Write a line of digits."}]

    async def play() -> tuple[Any, Any]:
        env = environments.envs["digits"]({})
        request = type("Request", (), {"messages": row})()
        begun = await env.reset(request)
        return begun, await env.step([*row, {"role": "assistant", "content": answer}])

    begun, step = asyncio.run(play())
    assert begun == ("Write a line of digits.", {}, "")
    assert step == ("", reward, True, {})
