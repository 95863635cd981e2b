"""Which episodes are trained on; pure, and the same whatever order they were collected in."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from grpo_launch.stages.episodes import Episode
from grpo_launch.stages.rows import Data

SUCCESS, THRESHOLD, TOP, BEST, BALANCED = "success", "threshold", "top", "best", "balanced"
RULES = (SUCCESS, THRESHOLD, TOP, BEST, BALANCED)


@dataclass(frozen=True)
class Selection:
    """How episodes are selected (``update`` of the configuration).

    Attributes:
        select: ``success``, those that the environment calls a success, or, where it says
            nothing of it, with a reward of at least ``threshold``; ``threshold``, by the reward
            alone; ``top``, the ``share`` with the highest rewards; ``best``, the ``per_task``
            best of each task; ``balanced``, successes, as many of each task as of the task with
            the fewest, but at least ``per_task``.
        threshold, share, per_task: see ``select``.
        max_episodes: at most so many, those with the highest rewards; None: all.
        min_episodes: where there are fewer, none is kept.
        truncated: whether episodes that were cut at a length may be selected.
        data: what they become.

    Raises:
        ValueError: a value is none.
    """

    select: str = SUCCESS
    threshold: float = 1.0
    share: float = 0.25
    per_task: int = 1
    max_episodes: int | None = None
    min_episodes: int = 1
    truncated: bool = False
    data: Data = field(default_factory=Data)

    def __post_init__(self) -> None:
        """``ValueError`` for a value that is none."""
        if self.select not in RULES:
            raise ValueError(f"select: {self.select} is none of {', '.join(RULES)}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {self.share} is not above 0 and at most 1")
        for name in ("per_task", "max_episodes", "min_episodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} is below 1")


def chosen(episodes: Iterable[Episode], how: Selection) -> list[Episode]:
    """The episodes that are trained on, by task and sample.

    Args:
        episodes: that may be.
        how: the rule.
    """
    ranked = sorted(episodes, key=_rank)
    kept = _selected(ranked, how)
    kept = sorted(kept, key=_rank)[: how.max_episodes]
    if len(kept) < how.min_episodes:
        return []
    return sorted(kept, key=lambda episode: (episode.task, episode.sample, episode.id))


def _selected(ranked: Sequence[Episode], how: Selection) -> list[Episode]:
    if how.select == THRESHOLD:
        return [episode for episode in ranked if episode.reward >= how.threshold]
    if how.select == TOP:
        count = math.ceil(round(how.share * len(ranked), 6))  # 0.1 * 30 is above 3
        return [*ranked[:count]]
    if how.select == BEST:
        return _of_each(ranked, how.per_task)
    successes = [episode for episode in ranked if _is_success(episode, how.threshold)]
    if how.select == SUCCESS:
        return successes
    counts = {episode.task: 0 for episode in successes}
    for episode in successes:
        counts[episode.task] += 1
    return _of_each(successes, max(how.per_task, min(counts.values(), default=0)))


def _is_success(episode: Episode, threshold: float) -> bool:
    return episode.reward >= threshold if episode.success is None else episode.success


def _of_each(ranked: Iterable[Episode], count: int) -> list[Episode]:
    """The first of each task."""
    found: dict[str, list[Episode]] = {}
    for episode in ranked:
        of_task = found.setdefault(episode.task, [])
        if len(of_task) < count:
            of_task.append(episode)
    return [episode for of_task in found.values() for episode in of_task]


def _rank(episode: Episode) -> tuple[float, int, str]:
    """Highest rewards first; of equal ones the first samples of all tasks, in no order of tasks."""
    digest = hashlib.sha256(episode.id.encode("utf-8", "surrogatepass")).hexdigest()
    return (-episode.reward, episode.sample, digest)
