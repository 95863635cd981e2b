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
            (seconds, row.step - before.step)
            for before, row in window
            if (seconds := _seconds_between(before, row)) is not None
        ]
        if known:
            return sum(time for time, _ in known) / sum(count for _, count in known)
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


def newest_loss(steps: Sequence[Step]) -> float | None:
    """The loss that was logged last."""
    return next((step.loss for step in reversed(steps) if step.loss is not None), None)


def newest(steps: Sequence[Step]) -> str | None:
    """The newest reward in words, ``reward 0.94``; where there are no rewards the loss."""
    if (reward := newest_reward(steps)) is not None:
        return f"reward {written_reward(reward)}"
    loss = newest_loss(steps)
    return None if loss is None else f"loss {written_loss(loss)}"


def change(steps: Sequence[Step]) -> str | None:
    """From which reward to which the steps went, in words; where there are no rewards the loss.

    None where neither was logged.
    """
    rewards = [written_reward(step.reward) for step in steps if step.reward is not None]
    losses = [written_loss(step.loss) for step in steps if step.loss is not None]
    name, values = ("reward", rewards) if rewards else ("loss", losses)
    return f"{name} {values[0]} -> {values[-1]} in {steps[-1].step} steps" if values else None


def written_reward(value: float) -> str:
    """``0.94``."""
    return f"{value:.2f}"


def written_loss(value: float) -> str:
    """In three digits, as a loss may become small: ``5.12``, ``0.00312``."""
    return f"{value:.3g}"


def _seconds_between(before: Step, row: Step) -> float | None:
    """Seconds of all the steps that a row stands for."""
    if row.step_time is not None:
        return row.step_time * (row.step - before.step)
    if row.elapsed is None or before.elapsed is None:
        return None
    return row.elapsed - before.elapsed


def _begins(steps: Sequence[Step], index: int) -> bool:
    before, row = steps[index - 1], steps[index]
    is_reset = (row.elapsed or 0.0) < (before.elapsed or 0.0)  # the clock, of a start of its own
    return row.begins or row.step <= before.step or is_reset


def _whole_generations(start: Sequence[Step]) -> list[tuple[Step, Step]]:
    """The rows of one start of the learner that count, each with the one before it."""
    rows = list(itertools.pairwise(start))  # not the first, which warms up
    heads = [i for i, (_, row) in enumerate(rows) if row.reward is not None]
    if len(heads) == len(rows) or all(row.reward is None for row in start):
        return rows[-_RECENT:]
    return rows[heads[-_RECENT - 1 :][0] : heads[-1]] if heads else []
