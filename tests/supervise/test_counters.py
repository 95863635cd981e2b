"""Counters in the text format of Prometheus."""

from __future__ import annotations

import pytest

from grpo_launch.supervise.counters import summed


@pytest.mark.parametrize(
    ("lines", "sums"),
    [
        (['a:b{engine="0",m="x"} 2.0', 'a:b{engine="1",m="x"} 3.5'], {"a:b": 5.5}),
        (["a:b 7"], {"a:b": 7.0}),
        (['a:b{m="} 9"} 1.0 1700000000000'], {"a:b": 1.0}),
        (["# HELP a:b words", "# TYPE a:b counter"], {}),
        (["a:bc 1", "a 1", "a:b_bucket 1"], {}),
        (["a:b", "a:b{", "a:b{} many"], {}),
        (["a:b 1e3"], {"a:b": 1000.0}),
    ],
)
def test_values_are_summed_over_labels(lines: list[str], sums: dict[str, float]) -> None:
    assert summed(lines, ["a:b"]) == sums
