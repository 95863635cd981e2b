"""How long a training takes for an optimizer step, and for those that are left: pure arithmetic.

A row of the log may stand for several steps (``logging_steps``), and a generation may last for
several rows, of which only the first has a reward. So seconds are means over whole generations,
each row weighed with the steps that it stands for. The first row of each start of the learner
warms up and does not count.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from grpo_launch.runs.metrics import Step

_RECENT = 20
"""Generations (or rows, where each has one) whose mean tells."""


def seconds_per_step(steps: Sequence[Step]) -> float | None:
    """Seconds of a recent optimizer step, on the mean; None where nothing tells yet.

    Args:
        steps: the rows that were logged, in the order of their logging.
    """
    begins = [i for i in range(len(steps)) if i == 0 or _begins(steps, i)]
    for first, end in reversed(list(itertools.pairwise([*begins, len(steps)]))):
        window = _whole_generations(steps[first:end])
        known = [
            (row.step_time, row.step - before.step)
            for before, row in window
            if row.step_time is not None
        ]
        if known:
            return sum(time * count for time, count in known) / sum(count for _, count in known)
    return None


def seconds_left(steps: Sequence[Step]) -> float | None:
    """Seconds until the last step; None where nothing tells."""
    each = seconds_per_step(steps)
    if each is None or not steps[-1].max_steps:
        return None
    return max(0, steps[-1].max_steps - steps[-1].step) * each


def newest_reward(steps: Sequence[Step]) -> float | None:
    """The reward that was logged last; a row inside of a generation has none."""
    return next((step.reward for step in reversed(steps) if step.reward is not None), None)


def change_of_reward(steps: Sequence[Step]) -> str | None:
    """From which reward to which the steps went, in words; None where none was logged."""
    rewards = [step.reward for step in steps if step.reward is not None]
    if not rewards:
        return None
    return f"reward {rewards[0]:.2f} -> {rewards[-1]:.2f} in {steps[-1].step} steps"


def _begins(steps: Sequence[Step], index: int) -> bool:
    return steps[index].begins or steps[index].step <= steps[index - 1].step


def _whole_generations(start: Sequence[Step]) -> list[tuple[Step, Step]]:
    """The rows of one start of the learner that count, each with the one before it."""
    rows = list(itertools.pairwise(start))  # not the first, which warms up
    heads = [i for i, (_, row) in enumerate(rows) if row.reward is not None]
    if len(heads) == len(rows) or all(row.reward is None for row in start):
        return rows[-_RECENT:]
    return rows[heads[-_RECENT - 1 :][0] : heads[-1]] if heads else []
