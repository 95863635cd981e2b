"""The card of a data set: what it was made of, as numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from grpo_launch.stages.episodes import REASONS, Collected, Episode

NAME = "card.json"

_MEASURES: dict[str, Callable[[Episode], float | None]] = {
    "reward": lambda episode: episode.reward,
    "turns": lambda episode: episode.turns,
    "characters": lambda episode: episode.characters,
    "tokens": lambda episode: episode.tokens,
}


def of(found: Collected, kept: Sequence[Episode], rows: int) -> dict[str, Any]:
    """The card of a selection.

    Args:
        found: what was collected.
        kept: what was selected of it.
        rows: of the data.

    Returns:
        ``episodes`` is how many there were; of these ``kept`` are in the data, ``unselected``
        are not though they could be, and the others are counted by reason. ``damaged`` and
        ``repeated`` are lines, and no episodes. ``before`` is about all with a reward.
    """
    counts: Counter[str] = found.left_out
    lines = counts["damaged"] + counts["repeated"]
    without = counts["failed"] + counts["unrewarded"]
    return {
        "episodes": len(found.episodes) + without,
        "kept": len(kept),
        "rows": rows,
        "unselected": len(found.episodes) - len(kept) - (counts.total() - lines - without),
        **{reason: counts[reason] for reason in REASONS},
        "tasks": {"before": _tasks(found.episodes), "after": _tasks(kept)},
        **{
            name: {"before": _spread(found.episodes, of_one), "after": _spread(kept, of_one)}
            for name, of_one in _MEASURES.items()
        },
        "versions": sorted(found.versions),
        "examples": found.examples,
    }


def sentence(card: dict[str, Any]) -> str:
    """A card in a line."""
    text = f"kept {card['kept']} of {card['episodes']} episodes"
    means = [card["reward"][when]["mean"] for when in ("before", "after")]
    if None not in means:
        text += f", mean reward {means[0]:.3g} -> {means[1]:.3g}"
    counted = [f"{card[reason]} {reason}" for reason in ("unselected", *REASONS) if card[reason]]
    return f"{text}; left out: {', '.join(counted)}" if counted else text


def _tasks(episodes: Iterable[Episode]) -> int:
    return len({episode.task for episode in episodes})


def _spread(
    episodes: Iterable[Episode], of_one: Callable[[Episode], float | None]
) -> dict[str, float | None]:
    values = [value for episode in episodes if (value := of_one(episode)) is not None]
    if not values:
        return dict.fromkeys(("mean", "std", "min", "max"))
    scale = max(map(abs, values)) or 1.0  # of what is nearly infinite there are no squares
    mean = math.fsum(value / scale / len(values) for value in values)
    variance = math.fsum((value / scale - mean) ** 2 for value in values) / len(values)
    return {
        "mean": mean * scale,
        "std": math.sqrt(variance) * scale,
        "min": min(values),
        "max": max(values),
    }
