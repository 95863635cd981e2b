"""Make ``dataset.jsonl``: lists of observed items, and their summaries.

Usage: ``python make_dataset.py [OUT_FILE]``; the file beside this script by default. All items are
made up from a seed; the file is the same on every machine and Python.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar

__all__ = ["ROWS", "SEED", "Item", "Message", "Row", "main", "make_rows", "render", "summarise"]

ROWS = 96
SEED = 7

T = TypeVar("T")


class Message(TypedDict):
    """One message of a conversation, in ms-swift's form."""

    role: str
    content: str


class Row(TypedDict):
    """One row of the dataset.

    Attributes:
        messages: the prompt.
        solution: the reference summary; ms-swift hands the column to reward functions by name.
    """

    messages: list[Message]
    solution: str


class Item(TypedDict):
    """One observed item: its category, and a value for each attribute of its domain."""

    category: str
    attributes: dict[str, str]


_SYSTEM = (
    "Summarise the observed items in two lines. Line 1 is the header "
    "<DOMAIN=name>, <TASK=SUMMARY>. Line 2 is one JSON object: its key stats lists, for each "
    "category, the category, the count, and for each attribute how many items have which value."
)
_MIN_ITEMS, _MAX_ITEMS = 3, 9
_MAX_CATEGORIES = 4

_DOMAINS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "living_room": (
        ("chair", "table", "lamp", "sofa", "shelf", "rug"),
        {
            "colour": ("red", "blue", "white", "black"),
            "material": ("wood", "metal", "fabric"),
        },
    ),
    "street": (
        ("car", "bicycle", "bus", "truck", "motorcycle"),
        {
            "colour": ("silver", "white", "green", "yellow"),
            "state": ("parked", "moving"),
        },
    ),
    "kitchen": (
        ("cup", "plate", "bowl", "pan", "jar", "knife"),
        {
            "material": ("glass", "steel", "clay"),
            "state": ("clean", "dirty"),
        },
    ),
    "warehouse": (
        ("box", "pallet", "crate", "barrel", "drum"),
        {
            "size": ("small", "medium", "large"),
            "state": ("sealed", "open"),
        },
    ),
    "orchard": (
        ("apple", "pear", "plum", "cherry"),
        {
            "colour": ("red", "green", "yellow"),
            "ripeness": ("ripe", "unripe"),
        },
    ),
    "harbour": (
        ("boat", "ferry", "buoy", "crane", "container"),
        {
            "colour": ("orange", "blue", "white"),
            "size": ("small", "large"),
        },
    ),
}
"""Of each domain, its categories, and the values of each of its attributes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the dataset; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(__file__).with_name("dataset.jsonl")
    parser.add_argument("out_file", nargs="?", type=Path, default=default, metavar="OUT_FILE")
    out_file: Path = parser.parse_args(argv).out_file
    out_file.write_text(render(make_rows()), encoding="utf-8")
    print(f"{out_file}: {ROWS} rows")
    return 0


def make_rows(count: int = ROWS, seed: int = SEED) -> list[Row]:
    """Rows that take the domains in turn, the same for the same arguments.

    Args:
        count: number of rows.
        seed: of the items.
    """
    source = random.Random(seed)  # noqa: S311
    domains = list(_DOMAINS)
    return [_make_row(domains[index % len(domains)], source) for index in range(count)]


def render(rows: Sequence[Row]) -> str:
    """Text of the file: one JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def summarise(domain: str, items: Sequence[Item]) -> str:
    """The reference summary: categories, attributes and values by first appearance.

    Args:
        domain: name in the header.
        items: what was observed, in order.

    Returns:
        The header and the JSON object, two lines without a newline at the end.
    """
    stats: dict[str, dict[str, Any]] = {}
    for item in items:
        category = item["category"]
        entry = stats.setdefault(category, {"category": category, "count": 0})
        entry["count"] += 1
        for attribute, value in item["attributes"].items():
            values: dict[str, int] = entry.setdefault(attribute, {})
            values[value] = values.get(value, 0) + 1
    body = json.dumps({"stats": list(stats.values())}, ensure_ascii=False)
    return f"<DOMAIN={domain}>, <TASK=SUMMARY>\n{body}"


def _make_row(domain: str, source: random.Random) -> Row:
    categories, attributes = _DOMAINS[domain]
    start = _below(len(categories), source)
    width = 1 + _below(min(_MAX_CATEGORIES, len(categories)), source)
    chosen = [categories[(start + offset) % len(categories)] for offset in range(width)]
    items = [
        Item(
            category=_pick(chosen, source),
            attributes={name: _pick(values, source) for name, values in attributes.items()},
        )
        for _ in range(_MIN_ITEMS + _below(_MAX_ITEMS - _MIN_ITEMS + 1, source))
    ]
    lines = [
        f"{number}. {item['category']}: "
        + ", ".join(f"{name} {value}" for name, value in item["attributes"].items())
        for number, item in enumerate(items, start=1)
    ]
    prompt = f"Domain: {domain}. Observed items:\n" + "\n".join(lines)
    return Row(
        messages=[
            Message(role="system", content=_SYSTEM),
            Message(role="user", content=prompt),
        ],
        solution=summarise(domain, items),
    )


def _below(limit: int, source: random.Random) -> int:
    """An integer in [0, limit), from ``random()``.

    Of the methods of ``random.Random``, that one alone keeps its sequence from one Python to the
    next; see "Notes on Reproducibility" in the documentation of ``random``.
    """
    return int(source.random() * limit)


def _pick(choices: Sequence[T], source: random.Random) -> T:
    return choices[_below(len(choices), source)]


if __name__ == "__main__":
    sys.exit(main())
