"""From the lines of a learner's log to rows: fields by name, as ``signs.Metrics`` describes them.

In a row the field ``Metrics.step`` counts optimizer steps that have been made, wherever the
learner begins to count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, cast

from grpo_launch.base import files
from grpo_launch.signs import JSON, PAIRS, Metrics

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|nan|inf|-inf"
_PAIR = re.compile(
    rf"""(?<![^\s,{{(])['"]?(?P<name>[A-Za-z_][^\s=:'",]*)['"]?\s?[=:]\s?['"]?(?P<value>{_NUMBER})"""
    r"""(?:s|%)?(?=['"]?(?:[\s,;)}]|$))"""
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_KEPT = 64
"""Steps whose lines may still come."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        fields: values by name; those of objects within objects by dotted names.
        again: whether the learner made this step before, and so went back to it.
    """

    fields: dict[str, Any]
    again: bool = False


class Rows:
    """The rows of one log, whose lines are handed in as they come.

    Args:
        metrics: what a line looks like.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._patterns = [re.compile(pattern) for pattern in metrics.patterns]
        self._open: dict[int, dict[str, Any]] = {}
        self._newest: int | None = None

    def take(self, lines: Iterable[bytes]) -> list[Row]:
        """The rows of these lines.

        Where lines are merged, a row for each step that they say something of, with all that is
        known of it by now, in ascending order.
        """
        metrics = self._metrics
        if not metrics.merges:
            return [Row(self._counted(row)) for line in lines for row in self._parsed(line)]
        changed: dict[int, bool] = {}
        for row in (row for line in lines for row in self._parsed(line)):
            step, fields = self._of_step(row)
            if step is None:
                continue
            known = self._open.get(step)
            new = fields.keys() - {metrics.step, metrics.max_steps}
            again = not new.isdisjoint(known or ()) or step + _KEPT < (self._newest or 0)
            if again:
                self._open = {n: fields for n, fields in self._open.items() if n < step}
                changed = {n: before for n, before in changed.items() if n < step}
            self._open.setdefault(step, {}).update(fields)
            self._newest = step
            changed[step] = again or changed.get(step, False)
            for old in sorted(self._open)[:-_KEPT]:
                del self._open[old]
        return [
            Row(self._open[step] | {metrics.step: step}, again)
            for step, again in sorted(changed.items())
            if step in self._open
        ]

    def _parsed(self, line: bytes) -> Iterator[dict[str, Any]]:
        """What one line says; in a log several may stand in it, drawn over each other."""
        if self._metrics.form == JSON:
            if self._metrics.files or line.lstrip().startswith(b"{"):
                yield from _objects(line)
            return
        for part in _COLOUR.sub("", line.decode("utf-8", "replace")).split("\r"):
            if self._metrics.form == PAIRS:
                row = {found["name"]: number(found["value"]) for found in _PAIR.finditer(part)}
            else:
                row: dict[str, Any] = {}
                for found in (pattern.search(part) for pattern in self._patterns):
                    said = found.groupdict() if found else {}
                    row |= {name: number(text) for name, text in said.items() if text is not None}
            if row:
                yield row

    def _of_step(self, row: dict[str, Any]) -> tuple[int | None, dict[str, Any]]:
        """The step that a row belongs to, None for none, and its fields."""
        metrics = self._metrics
        said, first = row.get(metrics.step), metrics.first_step
        if metrics.event:
            name = row.get(metrics.event)
            if not isinstance(name, str) or not isinstance(said, int):
                return None, {}
            matching = (n for p, n in metrics.first_steps.items() if fnmatch(name, p))
            return said - next(matching, first) + 1, {name: row.get(metrics.value)}
        if isinstance(said, int) and not isinstance(said, bool):
            return said - first + 1, row
        in_a_log = said is None and not metrics.files
        return (self._newest, row) if in_a_log else (None, {})

    def _counted(self, row: dict[str, Any]) -> dict[str, Any]:
        step, first = row.get(self._metrics.step), self._metrics.first_step
        if first == 1 or not isinstance(step, int):
            return row
        return row | {self._metrics.step: step - first + 1}


def _objects(line: bytes) -> Iterator[dict[str, Any]]:
    try:
        row: Any = files.loads(line)
    except ValueError:
        return
    if isinstance(row, dict):
        fields = cast("dict[str, Any]", row)
        nested = any(isinstance(value, dict) for value in fields.values())
        yield dict(_flat(fields, "")) if nested else fields


def _flat(node: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _flat(cast("dict[str, Any]", value), f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def number(text: str) -> Any:
    """The number that a text is, or the text."""
    try:
        return int(text) if len(text) < 16 else float(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
