"""What a collection came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpo_launch.rollout.meter import MODEL, Meter
from grpo_launch.rollout.settings import Settings

ALL, THRESHOLD, BUDGET = "all", "completion_threshold", "max_tokens_spent"
"""Why it ended."""

_ERRORS = 10


@dataclass(frozen=True)
class Summary:
    """``summary.json``: the figures of all attempts, rates and waiting of the last one.

    Attributes:
        ended: ``all``, ``completion_threshold`` or ``max_tokens_spent``.
        step, max_steps: finished episodes, and all that there should be.
        resumed: finished in attempts before.
        failed: not finished, with an error.
        abandoned: neither, as it ended before.
        reward: mean; None where nobody gives rewards.
        rewards: ``mean, std, min, max`` of the episodes' rewards.
        completion_length: mean completion tokens of an episode.
        completion_lengths: their spread.
        finish_reasons: episodes by finish reason.
        errors: failed episodes by reason, the most frequent ten.
        elapsed: seconds of the last attempt.
        episodes_per_s, tokens_per_s: of the last attempt; completion tokens.
        tokens_spent: prompt and completion tokens of all attempts.
        model_share: of the episodes' waiting, that for the model.
        blocked_s: seconds in which an environment kept the event loop.
        limit: ``model``, ``environment``, or neither.
        version, split: of the weights, of the tasks.
        tasks: a checksum of their ids.
    """

    ended: str
    step: int
    max_steps: int
    resumed: int
    failed: int
    abandoned: int
    reward: float | None
    rewards: Mapping[str, float] | None
    completion_length: float
    completion_lengths: Mapping[str, float] | None
    finish_reasons: Mapping[str, int]
    errors: Mapping[str, int]
    turns: int
    elapsed: float
    episodes_per_s: float
    tokens_per_s: float
    tokens_spent: int
    model_share: float | None
    blocked_s: float
    limit: str
    version: str
    split: str
    tasks: str

    @classmethod
    def of(
        cls, meter: Meter, total: int, ended: str, version: str, split: str, tasks: str
    ) -> Summary:
        """The summary of what a meter has counted."""
        figures = meter.figures(total)
        names = {each.name for each in dataclasses.fields(cls)}
        waited = sum(meter.waited_s.values())
        return cls(
            **{key: value for key, value in figures.items() if key in names},
            ended=ended,
            resumed=meter.resumed,
            abandoned=total - meter.ended,
            rewards=meter.rewards.as_dict(),
            completion_lengths=meter.lengths.as_dict(),
            finish_reasons=dict(meter.reasons),
            errors=dict(meter.errors.most_common(_ERRORS)),
            turns=meter.turns,
            model_share=round(meter.waited_s[MODEL] / waited, 4) if waited else None,
            blocked_s=round(meter.blocked_s, 3),
            version=version,
            split=split,
            tasks=tasks,
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    def line(self) -> str:
        """For a person, in one line."""
        parts = [f"{self.step} of {self.max_steps} episodes"]
        if self.resumed:
            parts.append(f"{self.resumed} of them from before")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.abandoned:
            parts.append(f"{self.abandoned} left out ({self.ended})")
        if self.reward is not None:
            parts.append(f"mean reward {self.reward:.3f}")
        parts.append(f"{self.elapsed:.1f} s")
        parts.append(f"{self.episodes_per_s:.1f} episodes/s, {self.tokens_per_s:.0f} tokens/s")
        if self.limit:
            parts.append(f"limit: {self.limit}")
        return ", ".join(parts)


def comes_to_the_same(
    summary: Mapping[str, Any], settings: Settings, total: int, **of: str
) -> bool:
    """Whether an attempt before has done all that this one would do.

    Args:
        summary: that it has left.
        settings: of this one.
        total: episodes of this one.
        of: ``version``, ``split`` and ``tasks`` of this one.
    """
    names = {each.name for each in dataclasses.fields(Summary)}
    if set(summary) != names or summary["max_steps"] != total:
        return False
    if any(summary[name] != value for name, value in of.items()):
        return False
    cap = settings.max_tokens_spent
    if summary["ended"] == BUDGET:
        return cap is not None and summary["tokens_spent"] >= cap
    if summary["ended"] == THRESHOLD:
        enough = settings.completion_threshold * total
        return summary["step"] + summary["failed"] >= enough
    return True
