"""Numbers as blocks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.monitor.spark import BLOCKS, sparkline

VALUES = st.lists(st.none() | st.floats(), max_size=50)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], ""),
        ([None, math.nan], ""),
        ([0.0, 1.0], "▁█"),
        ([1.0, 0.0], "█▁"),
        ([5.0, 5.0], "▄▄"),
        ([0.0, None, 1.0], "▁ █"),
        ([0.0, math.inf, 1.0], "▁ █"),
        ([float(i) for i in range(8)], BLOCKS),
    ],
)
def test_the_least_is_low_and_the_greatest_high(values: list[float | None], shown: str) -> None:
    assert sparkline(values, 20) == shown


def test_more_values_than_room_are_means() -> None:
    assert sparkline([float(i) for i in range(80)], 8) == BLOCKS
    assert sparkline([0.0, 0.0, 1.0], 1) == "▄"
    assert sparkline([1.0], 0) == ""


@given(VALUES, st.integers(0, 30))
def test_any_numbers_fit(values: list[float | None], width: int) -> None:
    shown = sparkline(values, width)
    assert len(shown) <= min(width, len(values))
    assert set(shown) <= {" ", *BLOCKS}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_what_grows_never_falls(values: list[float]) -> None:
    shown = sparkline(sorted(values), 20)
    assert list(shown) == sorted(shown, key=BLOCKS.index)
