"""ms-swift plugin: the reward function ``digits.share``, and the gym environment ``digits``.

Pass it to the learner as ``--external_plugins plugin.py --reward_funcs digits.share``, or to the
loop's collector as ``collector.plugins`` with ``collector.environment=digits``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swift.rewards import ORM, orms
from swift.rollout.gym_env import Env, envs

__all__ = ["DigitsEnv", "digit_share"]


def digit_share(completion: str) -> float:
    """Share of ASCII digits among the completion's characters.

    Returns:
        A number in [0, 1]; 0 for an empty completion.
    """
    if not completion:
        return 0.0
    return sum(character in "0123456789" for character in completion) / len(completion)


def _score_batch(self: object, completions: Sequence[str], **columns: object) -> list[float]:
    del self, columns
    return [digit_share(completion) for completion in completions]


orms["digits.share"] = type("digits.share", (ORM,), {"__call__": _score_batch})
# ms-swift names a metric after the class: rewards/digits.share/mean.


class DigitsEnv(Env):  # pyright: ignore[reportUntypedBaseClass]
    """One answer to the row's prompt; its reward is the share of digits."""

    async def reset(self, config: Any) -> tuple[str, dict[str, Any], str]:
        """The prompt, nothing more, no system prompt."""
        return str(config.messages[-1]["content"]), {}, ""

    async def step(self, action: list[dict[str, Any]]) -> tuple[str, float, bool, dict[str, Any]]:
        """No observation, the share of digits in the last message, the end, nothing more."""
        return "", digit_share(str(action[-1]["content"])), True, {}

    async def close(self) -> None:
        """It holds nothing."""


envs["digits"] = DigitsEnv
