"""Rewards for two-line summaries of observed items.

A summary is a header and one JSON object, each on a line of its own::

    <DOMAIN=kitchen>, <TASK=SUMMARY>
    {"stats": [{"category": "chair", "count": 2, "colour": {"red": 2}}]}

Each entry of ``stats`` gives a category, how many items it has, and for each attribute (``colour``)
how many items have which value. Every reward is in [0, 1], 1 for the reference itself, and none
raises for any completion: text that cannot be read scores 0. A *reference* that cannot be read is
an error of the dataset and raises :class:`ValueError`.

The recalls do not punish what is listed beyond the reference; ``count_accuracy`` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, cast

__all__ = [
    "REWARDS",
    "Entry",
    "Summary",
    "attr_key_recall",
    "attr_value_recall",
    "category_recall",
    "count_accuracy",
    "format_shape",
    "header",
    "no_dup_keys",
    "parse",
    "read_summary",
]

_HEADER = re.compile(r"<DOMAIN=([^<>,=\n]+)>, <TASK=SUMMARY>")
_RESERVED = ("category", "count")


@dataclass(frozen=True)
class Entry:
    """One category of a summary.

    Attributes:
        count: number of items; ``None`` where it is absent or not an integer.
        attributes: the values that each attribute has; empty where it is not an object.
    """

    count: int | None = None
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])


@dataclass(frozen=True)
class Summary:
    """What can be read from the JSON line.

    Attributes:
        entries: by category; of a category that is repeated, the first entry.
        well_formed: ``stats`` is a list of objects that all have a category and an integer count.
        duplicate_keys: some object, at any depth, has a key twice.
    """

    entries: Mapping[str, Entry]
    well_formed: bool
    duplicate_keys: bool


def format_shape(completion: str) -> float:
    """Score the two-line shape, whatever the lines say.

    Returns:
        1 for exactly two lines, a header and one in braces; 0.5 for two lines of which one has
        its shape; 0 otherwise. One newline at the end is allowed.
    """
    lines = completion.removesuffix("\n").split("\n")
    if len(lines) != 2:
        return 0.0
    has_header = _HEADER.fullmatch(lines[0]) is not None
    has_object = len(lines[1]) >= 2 and lines[1][0] == "{" and lines[1][-1] == "}"
    return (has_header + has_object) / 2


def header(completion: str, reference: str) -> float:
    """Score the first line.

    Returns:
        1 for a header with the reference's domain, 0.5 for a header with another, 0 for none.

    Raises:
        ValueError: the reference has no header.
    """
    expected = _domain(reference)
    if expected is None:
        raise ValueError(f"the reference has no header: {reference[:80]!r}")
    found = _domain(completion)
    if found is None:
        return 0.0
    return 1.0 if found == expected else 0.5


def parse(completion: str) -> float:
    """Score whether what follows the first line can be read.

    Returns:
        1 for a JSON object whose ``stats`` is a list of objects, each with a category and an
        integer count; 0.5 for any other JSON object; 0 for anything else.
    """
    summary = read_summary(completion)
    if summary is None:
        return 0.0
    return 1.0 if summary.well_formed else 0.5


def no_dup_keys(completion: str) -> float:
    """Score that no object, at any depth, has a key twice.

    Returns:
        1 for a JSON object without repeated keys; 0 otherwise, and where there is none.
    """
    summary = read_summary(completion)
    return 0.0 if summary is None or summary.duplicate_keys else 1.0


def category_recall(completion: str, reference: str) -> float:
    """Score the share of the reference's categories that the completion lists.

    Returns:
        A number in [0, 1]; 0 where the completion cannot be read.

    Raises:
        ValueError: the reference cannot be read.
    """
    return _recall(completion, reference, _categories)


def attr_key_recall(completion: str, reference: str) -> float:
    """Score the share of the reference's (category, attribute) pairs that the completion has.

    Returns:
        A number in [0, 1]; 0 where the completion cannot be read.

    Raises:
        ValueError: the reference cannot be read.
    """
    return _recall(completion, reference, _attribute_keys)


def attr_value_recall(completion: str, reference: str) -> float:
    """Score the share of the reference's (category, attribute, value) triples that it has.

    Returns:
        A number in [0, 1]; 0 where the completion cannot be read.

    Raises:
        ValueError: the reference cannot be read.
    """
    return _recall(completion, reference, _attribute_values)


def count_accuracy(completion: str, reference: str) -> float:
    """Score the share of categories whose count is exactly the reference's.

    Categories of either side are counted, so one that the reference lacks lowers the score.

    Returns:
        A number in [0, 1]; 0 where the completion cannot be read.

    Raises:
        ValueError: the reference cannot be read.
    """
    expected = _read_reference(reference).entries
    summary = read_summary(completion)
    if summary is None:
        return 0.0
    categories = expected.keys() | summary.entries.keys()
    if not categories:
        return 1.0
    right = sum(
        category in summary.entries and summary.entries[category].count == entry.count
        for category, entry in expected.items()
    )
    return right / len(categories)


def read_summary(text: str) -> Summary | None:
    """Read the JSON object that follows the first line.

    Standard JSON only: ``NaN`` and ``Infinity`` are refused, and so is nesting beyond what
    Python's parser takes.

    Returns:
        The summary; ``None`` where there is no such object.
    """
    body = text.partition("\n")[2]
    duplicates: list[str] = []

    def collect(pairs: list[tuple[str, object]]) -> dict[str, object]:
        collected = dict(pairs)
        if len(collected) < len(pairs):
            duplicates.append("")
        return collected

    try:
        loaded: object = json.loads(
            body, object_pairs_hook=collect, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        return None
    top = _object(loaded)
    if top is None:
        return None
    stats = top.get("stats")
    well_formed = isinstance(stats, list)
    entries: dict[str, Entry] = {}
    for element in cast("list[object]", stats) if isinstance(stats, list) else []:
        item = _object(element)
        category = item.get("category") if item is not None else None
        if item is None or not isinstance(category, str):
            well_formed = False
            continue
        entry = _read_entry(item)
        well_formed = well_formed and entry.count is not None
        entries.setdefault(category, entry)
    return Summary(entries, well_formed, bool(duplicates))


def _object(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _read_entry(item: Mapping[str, object]) -> Entry:
    count = item.get("count")
    return Entry(
        count if isinstance(count, int) and not isinstance(count, bool) else None,
        {
            key: frozenset(_object(value) or ())
            for key, value in item.items()
            if key not in _RESERVED
        },
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _domain(text: str) -> str | None:
    match = _HEADER.fullmatch(text.partition("\n")[0])
    return match[1] if match else None


def _read_reference(reference: str) -> Summary:
    summary = read_summary(reference)
    if summary is None or not summary.well_formed:
        raise ValueError(f"the reference is not a summary: {reference[:80]!r}")
    return summary


def _recall(
    completion: str, reference: str, parts: Callable[[Summary], set[tuple[str, ...]]]
) -> float:
    expected = parts(_read_reference(reference))
    summary = read_summary(completion)
    if summary is None:
        return 0.0
    if not expected:
        return 1.0
    return len(expected & parts(summary)) / len(expected)


def _categories(summary: Summary) -> set[tuple[str, ...]]:
    return {(category,) for category in summary.entries}


def _attribute_keys(summary: Summary) -> set[tuple[str, ...]]:
    return {
        (category, key) for category, entry in summary.entries.items() for key in entry.attributes
    }


def _attribute_values(summary: Summary) -> set[tuple[str, ...]]:
    return {
        (category, key, value)
        for category, entry in summary.entries.items()
        for key, values in entry.attributes.items()
        for value in values
    }


def _of_completion(score: Callable[[str], float]) -> Callable[[str, str], float]:
    def scored(completion: str, reference: str) -> float:
        del reference
        return score(completion)

    return scored


REWARDS: Mapping[str, Callable[[str, str], float]] = {
    "summary.format": _of_completion(format_shape),
    "summary.header": header,
    "summary.parse": _of_completion(parse),
    "summary.no_dup_keys": _of_completion(no_dup_keys),
    "summary.category_recall": category_recall,
    "summary.attr_key_recall": attr_key_recall,
    "summary.attr_value_recall": attr_value_recall,
    "summary.count_accuracy": count_accuracy,
}
"""Reward functions of (completion, reference), by the name ms-swift knows them under."""
