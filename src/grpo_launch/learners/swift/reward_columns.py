"""What rewards demand: the columns of a row, and packages.

Source: ``swift/rewards/orm.py`` of ms-swift 4.6.0. A reward is called with the completions and
every column of the rows by name (``compute_rewards_per_func`` in
``swift/rl_core/grpo_algorithm.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VERSION = "ms-swift 4.6.0"


@dataclass(frozen=True)
class Reward:
    """A reward function.

    Attributes:
        columns: that it cannot do without.
        packages: that it imports as it is made.
    """

    columns: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


BUILT_IN: Mapping[str, Reward] = {
    "accuracy": Reward(("solution",), ("math_verify",)),
    "cosine": Reward(("solution",), ("math_verify",)),  # makes an ``accuracy`` of its own
    "format": Reward(),
    "math": Reward(("ground_truths",)),
    "react_format": Reward(),
    "repetition": Reward(),
    "soft_overlong": Reward(),
    "toolbench": Reward(("solution",)),
}
"""``orms``, by name."""

ALWAYS = frozenset(
    (
        *("messages", "prompt_id", "request_id", "finish_reason", "is_truncated", "rollout_infos"),
        *("response_token_ids", "trainer_state", "trajectory_inputs", "dataset"),
        *("images", "videos", "audios", "tools", "objects"),
    )
)
"""What a reward gets without a column of that name (``OnPolicySample.to_reward_row``)."""
