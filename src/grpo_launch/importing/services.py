"""Processes beside the two halves, as ``services`` of an experiment."""

from __future__ import annotations

import re

from grpo_launch.bash.script import Value, joined
from grpo_launch.config.endpoint import HTTP_PORT
from grpo_launch.importing.addresses import port_of
from grpo_launch.importing.draft import Notes
from grpo_launch.importing.findings import Sort
from grpo_launch.importing.parts import DEVICES, Part
from grpo_launch.importing.reading import ENGINE, plugin


def service(notes: Notes, one: Part) -> None:
    """A process beside the two halves."""
    name = _name(notes, one)
    above = ("services", name)
    words = [word.known for word in with_environment(one)]
    if any(word is None for word in words):
        text = " ".join(map(str, with_environment(one)))
        what = f"{text} is known only when the script runs"
        notes.lack((*above, "argv"), text, one.finding(what, Sort.UNKNOWN))
    else:
        notes.ask(one, " ".join(map(str, words)), words)
        notes.put((*above, "argv"), words)
    if one.unknown_devices is not None:
        what = f"{DEVICES}={one.unknown_devices} is known only when the script runs"
        notes.lack((*above, "devices"), str(one.unknown_devices), one.finding(what, Sort.UNKNOWN))
    elif one.devices:
        notes.put((*above, "devices"), [int(d) if d.isdecimal() else d for d in one.devices])
    for variable, value in one.environ.items():
        if value.known is None:
            what = f"{variable}={value} is known only when the script runs"
            notes.lack((*above, "env", variable), str(value), one.finding(what, Sort.UNKNOWN))
        else:
            notes.ask(one, f"{variable}={value}", value)
            notes.put((*above, "env", variable), value.known)
    if one.reading.kind == ENGINE and (port := port_of(one) or _usual_port(one)) is not None:
        path = "/health" if one.is_command else plugin(ENGINE, one.reading.name).health_path
        notes.put((*above, "check", "url"), f"http://127.0.0.1:{port}{path}")


def _usual_port(one: Part) -> int | None:
    return None if one.is_command else HTTP_PORT


def with_environment(one: Part) -> list[Value]:
    """The words of a service, which no ``runtime`` enters: the environment stands in them."""
    words, active = [*one.launch.words], one.launch.environment
    if active.is_conda:
        before = map(joined, ("conda", "run", "--no-capture-output", "-n"))
        return [*before, active.name, *words]
    at = len(one.launch.bare.before)
    if active.name.parts and "/" not in str(words[at]):
        words[at] = joined(active.name, "/bin/", words[at])
    return words


def _name(notes: Notes, one: Part) -> str:
    """A name for a service that no other has."""
    known = [word.known or "" for word in one.launch.bare.words]
    script = next((w for w in known[1:] if w.endswith(".py")), "")
    word = script.rpartition("/")[2].removesuffix(".py") or one.launch.program.split(" ")[0]
    name = re.sub(r"[^a-z0-9_]+", "_", word.lower()).strip("_") or "service"
    taken = {path[1] for path in notes.lines if path[0] == "services"}
    found, number = name, 2
    while found in taken or found in ("server", "learner"):
        found, number = f"{name}_{number}", number + 1
    return found
