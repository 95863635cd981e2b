"""Variables, devices and environments of the parts, as keys of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grpo_launch.bash.script import Kind, Unknown, Value
from grpo_launch.importing import callers
from grpo_launch.importing.draft import Notes
from grpo_launch.importing.findings import Sort
from grpo_launch.importing.parts import DEVICES, Chosen, Part
from grpo_launch.importing.reading import LEARNER, plugin
from grpo_launch.learners.base import Counting
from grpo_launch.planning.nodes import PROCESSES

MASTER_PORT = "MASTER_PORT"


def environment(notes: Notes, chosen: Chosen, defaults: Mapping[str, Value]) -> None:
    """The variables of both halves; what all parts of both have in common is said once.

    Args:
        notes: where they are noted.
        chosen: the parts.
        defaults: variables that the caller may have set, as the scripts say it.
    """
    halves = {"server": [*chosen.servers[:1]], "learner": [p for p in [chosen.learner] if p]}
    halves = {half: parts for half, parts in halves.items() if parts}
    said = {half: _plain(notes, half, parts[0]) for half, parts in halves.items()}
    common: dict[str, Value] = {}
    if said:
        first, *rest = said.values()
        common = {k: v for k, v in first.items() if all(other.get(k) == v for other in rest)}
    some = next(iter(halves.values()), [])
    for where, values in (("", common), *said.items()):
        parts = halves.get(where, some)
        above = ("env", where) if where else ("env",)
        own = values if not where else {k: v for k, v in values.items() if k not in common}
        for name, value in own.items():
            _variable(notes, parts[0], above, name, value, defaults)
    for part in chosen.all:
        notes.exports += [name for name in part.secrets if name not in notes.exports]


def _plain(notes: Notes, half: str, part: Part) -> dict[str, Value]:
    """The variables of a half that are not said by other keys."""
    values = dict(part.environ)
    if half == "learner" and not part.is_command:
        if isinstance(plugin(LEARNER, part.reading.name), Counting):
            values.pop(PROCESSES, None)
        port = values.get(MASTER_PORT)
        if port is not None and (port.known or "").isdecimal():
            notes.put(("learner", "master_port"), int(str(port)))
            del values[MASTER_PORT]
    return values


def _variable(
    notes: Notes,
    part: Part,
    above: tuple[str, ...],
    name: str,
    value: Value,
    defaults: Mapping[str, Value],
) -> None:
    text = value.known
    if text is None:
        if _is_callers(name, value):
            return
        what = f"{name}={value} is known only when the script runs"
        notes.lack((*above, "set", name), str(value), part.finding(what, Sort.UNKNOWN))
        return
    notes.ask(part, f"{name}={text}", text)
    notes.put((*above, "defaults" if defaults.get(name) == value else "set", name), text)


def _is_callers(name: str, value: Value) -> bool:
    """Whether a variable is passed on as the caller has it."""
    (part, *rest) = value.parts or ("",)
    return (
        isinstance(part, Unknown) and not rest and part.kind is Kind.VARIABLE and part.name == name
    )


def devices(notes: Notes, chosen: Chosen) -> None:
    """Who gets which devices."""
    ids: list[str] = []
    for part in chosen.servers:
        ids += _known(notes, "server", part)
    if ids and all(part.devices for part in chosen.servers):
        notes.put(("gpus", "server"), _numbers(ids))
    if (part := chosen.learner) is None:
        return
    own = _known(notes, "learner", part)
    count = _processes(notes, part)
    if not own and count is not None and part.unknown_devices is None:
        own = [str(number) for number in range(count)]
        if part.devices is None and count == 1:
            notes.say(part.finding("names no devices and starts one process: device 0 is taken"))
    elif own and count is not None and count != len(own):
        what = f"starts {count} process{'es' * (count > 1)} on {len(own)} devices, the launcher "
        notes.difference(part.launch.script, part.launch.call.line, f"{what}starts one for each")
    if own:
        notes.put(("gpus", "learner"), _numbers(own))


def _known(notes: Notes, half: str, part: Part) -> list[str]:
    if part.unknown_devices is not None:
        text = str(part.unknown_devices)
        what = f"{DEVICES}={text} is known only when the script runs"
        notes.lack(("gpus", half), text, part.finding(what, Sort.UNKNOWN))
    return [*(part.devices or ())]


def _processes(notes: Notes, part: Part) -> int | None:
    """How many processes a learner's command starts; None: one for each device."""
    one = plugin(LEARNER, part.reading.name)
    if part.is_command or not isinstance(one, Counting):
        return None
    value = part.environ.get(PROCESSES)
    if value is not None and value.known is None:
        what = f"{PROCESSES}={value} is known only when the script runs"
        notes.say(part.finding(what, Sort.UNKNOWN))
        return None
    return one.processes({name: str(value) for name, value in part.environ.items()})


def runtimes(notes: Notes, chosen: Chosen) -> None:
    """The environment that each half is entered by."""
    halves = {"server": [*chosen.servers[:1]], "learner": [p for p in [chosen.learner] if p]}
    said = {half: runtime_of(parts[0]) for half, parts in halves.items() if parts}
    for part in (part for parts in halves.values() for part in parts[:1]):
        active = part.launch.environment
        if active.name.unknowns:
            what = f"the environment {active.name} is known only when the script runs"
            notes.say(part.finding(what, Sort.UNKNOWN))
    both = [*said.values()]
    some = [part for parts in halves.values() for part in parts[:1]]
    if not any(both):
        if both:
            notes.put(("runtime",), "current")
        return
    if all(one == both[0] for one in both):
        _runtime(notes, some[0], ("runtime",), both[0])
        return
    for half, one in said.items():
        _runtime(notes, halves[half][0], ("runtime", half), one or {"kind": "current"})


def _runtime(notes: Notes, part: Part, above: tuple[str, ...], keys: Mapping[str, str]) -> None:
    """One runtime, and what is to be said of it."""
    active = part.launch.environment
    for key, value in keys.items():
        notes.ask(part, f"the environment {active.name}", value)
        notes.put((*above, key), value)
    if unsure := {*active.conditions} - {*part.launch.call.conditions}:
        on = " and ".join(condition.text for condition in active.conditions if condition in unsure)
        notes.say(part.finding(f"{callers.shown(str(active.name))} is taken to be entered: {on}"))


def runtime_of(part: Part) -> dict[str, str]:
    """The environment that a launch enters, as keys of a runtime; empty: it stays where it is."""
    active = part.launch.environment
    name = active.name.known
    if not name:
        return {}
    return {"kind": "conda", "name": name} if active.is_conda else {"kind": "venv", "path": name}


def _numbers(ids: Sequence[str]) -> list[int | str]:
    """Indices as numbers, as people write them; UUIDs stay texts."""
    return [int(one) if one.isdecimal() else one for one in ids]
