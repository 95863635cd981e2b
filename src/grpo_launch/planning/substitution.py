"""Where a plan says its ports, and the same plan with others.

A restart may need other ports, in a process that can plan nothing any more. So the places are
found while the plan is made: whatever differs from the same plan with other ports.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from grpo_launch.base import codec
from grpo_launch.plan import LaunchPlan, PortUse

_NUMBER = re.compile(r"([0-9]+)")


def uses(
    plan: LaunchPlan, other: LaunchPlan, numbers: Mapping[int, int]
) -> dict[int, tuple[PortUse, ...]] | None:
    """Every place of ``plan`` that says one of the ports in ``numbers``.

    Args:
        plan: with the ports that are keys of ``numbers``.
        other: the same with the values of ``numbers`` in their place.
        numbers: distinct ports by distinct ports.

    Returns:
        A tuple of :class:`PortUse` for each key; None where the two plans differ in anything
        else, so that nobody knows what the ports mean to one of the programs.
    """
    found: dict[int, list[PortUse]] = {number: [] for number in numbers}
    for path, text, changed in _differences(_body(plan), _body(other)):
        before, after = _NUMBER.split(text), _NUMBER.split(changed)
        if len(before) != len(after):
            return None
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            if old == new:
                continue
            if index % 2 == 0 or str(numbers.get(int(old))) != new:
                return None
            found[int(old)].append(PortUse(path, index // 2))
    return {number: tuple(places) for number, places in found.items()}


def with_ports(plan: LaunchPlan, numbers: Mapping[int, int]) -> LaunchPlan:
    """``plan`` with other ports.

    Args:
        plan: its ``chosen`` ports have the keys of ``numbers``.
        numbers: the new port of each that changes.
    """
    body = _body(plan)
    for port in plan.chosen:
        for use in port.uses if port.number in numbers else ():
            _put(body, use, numbers[port.number])
    changed = codec.decode(LaunchPlan, body, [])
    chosen = (
        dataclasses.replace(port, number=numbers.get(port.number, port.number))
        for port in plan.chosen
    )
    return dataclasses.replace(changed, chosen=tuple(chosen))


def _body(plan: LaunchPlan) -> dict[str, Any]:
    """The plan as it is in JSON."""
    body = json.loads(plan.to_json())
    del body["format"]
    return body


def _differences(
    one: Any, other: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Path and texts of each leaf that differs; of a node, where that differs in its shape."""
    if type(one) is type(other) and isinstance(one, dict | list):
        pairs, others = dict(_items(one)), dict(_items(other))
        if pairs.keys() == others.keys():
            for key, value in pairs.items():
                yield from _differences(value, others[key], (*path, str(key)))
            return
    if one != other:
        yield path, str(one), str(other)


def _items(node: Any) -> Sequence[tuple[Any, Any]]:
    return [*(node.items() if isinstance(node, dict) else enumerate(node))]


def _put(body: Any, use: PortUse, number: int) -> None:
    """Replace one number of one text, or a number that is the whole leaf."""
    *above, last = use.path
    for key in above:
        body = body[_key(body, key)]
    key = _key(body, last)
    words = _NUMBER.split(str(body[key]))
    words[2 * use.at + 1] = str(number)
    text = "".join(words)
    body[key] = text if isinstance(body[key], str) else int(text)


def _key(node: Any, key: str) -> Any:
    return int(key) if isinstance(cast("object", node), list) else key
