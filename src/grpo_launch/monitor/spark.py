"""Numbers as a line of blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """``values`` from left to right, the least as ``▁``, the greatest as ``█``.

    Args:
        values: None and what is not finite leaves a gap.
        width: characters at most; of more values each character is the mean of a few.
    """
    finite = [v if v is not None and math.isfinite(v) else None for v in values]
    means = [_mean(part) for part in _parts(finite, width)]
    known = [mean for mean in means if mean is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    return "".join(" " if mean is None else _block(mean, low, high) for mean in means)


def _parts(values: list[float | None], width: int) -> list[list[float | None]]:
    """``values`` in at most ``width`` parts of nearly the same length."""
    count = min(len(values), width)
    edges = [len(values) * i // count for i in range(count + 1)] if count > 0 else []
    return [values[a:b] for a, b in itertools.pairwise(edges)]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    # Divided first: the sum of what is finite need not be.
    return sum(value / len(known) for value in known) if known else None


def _block(value: float, low: float, high: float) -> str:
    # Halved: the distance of what is finite need not be.
    span = high / 2 - low / 2
    if span <= 0:
        return BLOCKS[len(BLOCKS) // 2 - 1]
    share = (value / 2 - low / 2) / span
    return BLOCKS[min(len(BLOCKS) - 1, max(0, int(share * len(BLOCKS))))]
