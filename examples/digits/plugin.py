"""ms-swift plugin: the reward function ``digits.share``.

Pass it to the learner as ``--external_plugins plugin.py --reward_funcs digits.share``.
"""

from __future__ import annotations

from collections.abc import Sequence

from swift.rewards import ORM, orms

__all__ = ["digit_share"]


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
