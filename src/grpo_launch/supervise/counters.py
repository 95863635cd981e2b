"""The counters of a server, as it shows them to Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from grpo_launch.signs import Counters
from grpo_launch.supervise.plain_http import get

LONGEST = 4 * 1024 * 1024
"""Bytes of an answer that are read; vLLM's have some 100 KB."""


def read(url: str, counters: Counters, timeout_s: float) -> dict[str, float]:
    """The values of a server's counters now, by what people call them.

    Args:
        url: of the server.
        counters: what to look for; one that the server does not show is left out.
        timeout_s: seconds that the answer may take.

    Raises:
        OSError: no answer.
        ValueError: no such answer.
    """
    answer = get(url, counters.path, timeout_s, at_most=LONGEST)
    if answer.status != 200:
        raise ValueError(f"status {answer.status}")
    sums = summed(answer.body.decode("utf-8", "replace").splitlines(), counters.metrics.values())
    named = counters.metrics.items()
    return {label: sums[metric] for label, metric in named if metric in sums}


def summed(lines: Iterable[str], metrics: Iterable[str]) -> dict[str, float]:
    """The values of metrics in the text format of Prometheus, each summed over its labels.

    Source: ``NAME{LABEL="VALUE",...} NUMBER [TIMESTAMP]``, a line each (exposition format 0.0.4).
    """
    wanted = frozenset(metrics)
    sums: dict[str, float] = {}
    for line in lines:
        name = line.partition("{")[0].partition(" ")[0]
        if name not in wanted:
            continue
        words = line[len(name) :].rpartition("}")[2].split()
        try:
            sums[name] = sums.get(name, 0.0) + float(words[0])
        except (IndexError, ValueError):
            continue
    return sums
