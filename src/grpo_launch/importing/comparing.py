"""One process of a plan against the launch that it was read from."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_launch.bash.script import Value
from grpo_launch.importing.addresses import is_reached
from grpo_launch.importing.flags import Flag, parsed, same, same_data, texts
from grpo_launch.importing.parts import DEVICES, Part
from grpo_launch.importing.reading import LEARNER, fact, plugin, split
from grpo_launch.learners.base import Counting, TakesData
from grpo_launch.planning.nodes import PROCESSES

_OF_TORCHRUN = (PROCESSES, "NNODES")


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        flags: how many are the same.
        variables: the same, of variables.
        differences: what is not, one line each.
        added: what only the plan has, shortly.
    """

    flags: int = 0
    variables: int = 0
    differences: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def with_(self, other: Compared) -> Compared:
        """Both together."""
        return Compared(
            self.flags + other.flags,
            self.variables + other.variables,
            (*self.differences, *other.differences),
            (*self.added, *other.added),
        )


def compared_flags(
    part: Part, planned: Sequence[Value], head: Iterable[tuple[str, Any, Any]]
) -> Compared:
    """The command line of a part against that of the plan.

    Args:
        part: the launch; flags whose words are not known are left out.
        planned: the command of the plan, an arguments file as flags.
        head: keys that the words before the flags say, as read and as composed.
    """
    if part.is_command:
        words = texts(part.launch.words, unknown="?")
        if any(word.unknowns for word in part.launch.words):
            return Compared()
        ours = texts(planned)
        if words == ours:
            return Compared(flags=max(1, sum(flag.name != "" for flag in part.reading.flags)))
        return Compared(differences=(f"the plan starts {' '.join(ours)}",))
    differences = [
        f"{key} is {composed!r}, the script says {value!r}"
        for key, value, composed in head
        if not _is_same_value(value, composed)
    ]
    ours = _last(parsed(split(planned, len(part.launch.bare.before))[1]))
    theirs = _last(flag for flag in part.reading.flags if not flag.unknowns)
    unknown = {flag.key for flag in part.reading.flags if flag.unknowns}
    count, added = 0, list[str]()
    left = dict(ours)
    for key, flag in theirs.items():
        found = left.pop(key, None) or _by_key(part, flag, left)
        if found is None:
            differences.append(f"{flag} is not in the plan")
            continue
        what, extra = _difference(part, flag, found)
        count += what is None
        added += [extra] if extra else []
        if what is not None:
            differences.append(what)
    added += [str(flag) for key, flag in left.items() if key not in unknown]
    return Compared(count, 0, tuple(differences), tuple(added))


def _is_same_value(value: Any, composed: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(composed, list | tuple):
        return [*value] == [*composed]
    return value == composed


def _last(flags: Iterable[Flag]) -> dict[str, Flag]:
    """By name; of several the last, as parsers take it."""
    return {flag.key: flag for flag in flags if flag.name}


def _by_key(part: Part, flag: Flag, left: dict[str, Flag]) -> Flag | None:
    """The flag of the plan that says the same key by another name: ``-tp``."""
    names = {
        key.rpartition(".")[2] for key, source in part.reading.sources.items() if source == flag
    }
    found = next((key for key in left if key in names or key.removeprefix("no_") in names), None)
    return left.pop(found) if found is not None else None


def _difference(part: Part, flag: Flag, planned: Flag) -> tuple[str | None, str]:
    """What differs, or None; and what the plan adds to it, or nothing."""
    said, ours = texts(flag.values), texts(planned.values)
    known = fact(part.reading.kind, part.reading.name, flag)
    is_text = known is not None and known.kind == "str"
    are_same: Callable[[list[str], list[str]], bool] = operator.eq if is_text else same
    if flag.key_of_file is not None and planned.key_of_file is not None:
        if same_data(flag.key_of_file.data, planned.key_of_file.data):
            return None, ""
        if isinstance(plugin(part.reading.kind, part.reading.name), TakesData):
            return f"{flag}, but {planned} in the plan", ""
    if said == [] and len(ours) == 1 and ours[0].lower() == "true":
        return None, ""
    if are_same(said, ours):
        return None, ""
    hosts = flag.key.endswith("host") and len(said) == len(ours)
    if hosts and all(map(is_reached, said, ours)):
        return None, f"{planned} instead of {flag}, where the learner asks"
    if len(said) < len(ours) and are_same(said, ours[: len(said)]):
        return None, f"{flag.name} {' '.join(ours[len(said) :])}"
    return f"{flag}, but {planned} in the plan", ""


def compared_variables(part: Part, planned: Mapping[str, str], devices: int) -> Compared:
    """The variables of a part against those of the plan."""
    count, differences, added = 0, list[str](), list[str]()
    counted = not part.is_command and part.reading.kind == LEARNER
    counted = counted and isinstance(plugin(LEARNER, part.reading.name), Counting)
    seen = {DEVICES}
    for name, value in part.environ.items():
        seen.add(name)
        if value.known is None:
            continue
        found, said = planned.get(name), value.known
        if counted and name in _OF_TORCHRUN and found is None and said == str(devices) == "1":
            added.append(f"no {name}: one process needs no torchrun")
            found = said
        is_same = found == said
        count += is_same
        if not is_same:
            ours = "not set" if found is None else f"{found!r}"
            differences.append(f"{name} is {ours} in the plan, {value.known!r} in the script")
    if part.devices is not None:
        said, ours = ",".join(part.devices), planned.get(DEVICES, "")
        count += said == ours
        if said != ours:
            differences.append(f"{DEVICES} is {ours!r} in the plan, {said!r} in the script")
    added += [f"{name}={value}" for name, value in planned.items() if name not in seen]
    if part.devices is None and part.unknown_devices is None and planned.get(DEVICES):
        is_free = part.reading.kind == LEARNER and not counted
        added.append(f"{DEVICES}={'all that are free' if is_free else planned[DEVICES]}")
    return Compared(0, count, tuple(differences), tuple(added))
