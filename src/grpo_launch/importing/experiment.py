"""The parts of scripts as one experiment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from grpo_launch.base import redaction
from grpo_launch.bash.script import Script, Value
from grpo_launch.config.endpoint import EVERY_ADDRESS, HTTP_PORT, LOCAL_HOSTS, address
from grpo_launch.config.schema_programs import ENGINE as USUAL_ENGINE
from grpo_launch.config.schema_programs import LEARNER as USUAL_LEARNER
from grpo_launch.config.schema_programs import NO_PLUGIN
from grpo_launch.importing import surroundings
from grpo_launch.importing.draft import Draft, Notes, Path
from grpo_launch.importing.findings import Sort
from grpo_launch.importing.launches import Launch
from grpo_launch.importing.parts import DEVICES, Chosen, Part, chosen, is_address, part
from grpo_launch.importing.reading import (
    COMMAND,
    ENGINE,
    LEARNER,
    Reading,
    flag_text,
    plugin,
    read,
    read_as_command,
)

_HOST, _PORT, _URL = (f"train.rlhf.vllm_server_{name}" for name in ("host", "port", "base_url"))

_SIZES = {
    "tensor_parallel_size": ("tensor_parallel_size", "tp_size", "tp"),
    "data_parallel_size": ("data_parallel_size", "dp_size", "dp"),
}
_MODEL_FLAGS = ("model", "model_path", "model_name_or_path")


def drafted(
    scripts: Sequence[Script], launches: Sequence[Sequence[Launch]]
) -> Draft:
    """One experiment of what scripts start.

    Args:
        scripts: as they were read; for what they say besides.
        launches: of each.
    """
    notes = Notes()
    parts = [
        _without_secrets(notes, part(launch, read(launch.kind, launch.name, launch.words), number))
        for number, own in enumerate(launches)
        for launch in own
    ]
    made = chosen(parts)
    made = _fitting(made)
    for one in made.all:
        _remarks(notes, one)
    for one in made.left:
        what = f"{one.launch.program} is not in this experiment, which holds one "
        what += "learner" if one.reading.kind == LEARNER else "set of servers"
        notes.say(one.finding(f"{what}: import it by itself", Sort.DIFFERENCE))
    defaults = {name: value for script in scripts for name, value in script.defaults.items()}
    _programs(notes, made)
    _learner(notes, made)
    _servers(notes, made)
    surroundings.devices(notes, made)
    surroundings.runtimes(notes, made)
    surroundings.environment(notes, made, defaults)
    for one in made.services:
        _service(notes, one)
    lines = tuple(notes.lines.values())
    role = "both" if made.servers and made.learner else "server" if made.servers else "learner"
    return Draft(
        lines, tuple(notes.missing), tuple(notes.findings), tuple(notes.exports), made, role,
        _directory(notes, made),
    )  # fmt: skip


def _without_secrets(notes: Notes, one: Part) -> Part:
    """A part without the flags that hold secrets."""
    hidden = [flag for flag in one.reading.flags if _is_secret(flag.key, flag.values)]
    if not hidden:
        return one
    for flag in hidden:
        what = f"{flag.name} is a secret and is not written: say it in a variable that you export"
        notes.say(one.finding(what, Sort.UNKNOWN))
    words = [*one.reading.head]
    for flag in one.reading.flags:
        words += () if flag in hidden else flag.words
    reading = read(one.launch.kind, one.launch.name, words)
    return replace(one, reading=reading)


def _is_secret(name: str, values: Sequence[Value]) -> bool:
    texts = [text for value in values for text in value.parts if isinstance(text, str)]
    named = redaction.is_secret_name(name) and any(value.parts for value in values)
    return named or any(redaction.in_urls(text) for text in texts)


def _fitting(made: Chosen) -> Chosen:
    """``made`` with a server whose keys the learner has no place for as a command of its own."""
    if made.learner is None or not made.servers:
        return made
    sections = plugin(LEARNER, made.learner.reading.name).sections
    needs = any(key.startswith("train.") for key in made.servers[0].reading.keys)
    if sections or not needs:
        return made
    first, *others = made.servers
    why = f"{made.learner.launch.program} has no keys for its address"
    first = replace(first, reading=read_as_command(ENGINE, first.launch.words, why))
    return replace(made, servers=(first,), services=(*others, *made.services))


def _remarks(notes: Notes, one: Part) -> None:
    """What is to be said of one launch."""
    call = one.launch.call
    if one.reading.refused:
        what = f"{one.launch.program} is imported as a command: {one.reading.refused}"
        notes.say(one.finding(what))
    elif one.is_command:
        notes.say(one.finding(f"{one.launch.program} has no plug-in, it is imported as a command"))
    for condition in call.conditions:
        what = f"starts only if {condition.text}, which nobody knows before it runs"
        notes.say(one.finding(what, Sort.UNKNOWN))
    if call.repeated:
        notes.say(one.finding("stands in a loop whose rounds are not known", Sort.UNKNOWN))
    for redirect in call.redirects:
        if redirect.operator == "<":
            what = f"reads {redirect.target}: a placeholder in angle brackets is a redirect to bash"
            notes.say(one.finding(what, Sort.DIFFERENCE))


def _programs(notes: Notes, made: Chosen) -> None:
    """Which engine and which learner, and the words before their arguments."""
    engine = made.servers[0].reading if made.servers else None
    learner = made.learner.reading if made.learner else None
    if engine is not None and engine.name != USUAL_ENGINE:
        notes.put(("engine", "name"), engine.name)
    if engine is None and learner is not None and not _needs_servers(learner):
        notes.put(("engine", "name"), NO_PLUGIN)
    if learner is not None and learner.name != USUAL_LEARNER:
        notes.put(("learner", "name"), learner.name)
    # Without a learner the usual one is there for the sections, where the engine needs them.
    if learner is None and engine is not None and not _has_train(engine):
        notes.put(("learner", "name"), NO_PLUGIN)
    for reading in (engine, learner):
        if reading is None or reading.name == COMMAND:
            continue
        key = f"{reading.kind}.entry"
        entry = reading.keys.get(key)
        if entry is not None and [*entry] != [*plugin(reading.kind, reading.name).entry]:
            notes.put((reading.kind, "entry"), entry)


def _has_train(reading: Reading) -> bool:
    return any(key.startswith("train.") for key in reading.keys)


def _needs_servers(reading: Reading) -> bool:
    """Whether a learner asks a server that another script starts."""
    return any(key in reading.keys for key in (_HOST, _PORT, _URL, "train.rlhf.use_vllm"))


def path_of(key: str, sections: Sequence[str]) -> Path:
    """Where a dotted key of the configuration stands in the file."""
    first, _, rest = key.partition(".")
    if first != "train":
        return (first, *rest.split(".", 1)) if rest else (first,)
    return tuple(rest.split(".", 1)) if sections else (rest,)


def _learner(notes: Notes, made: Chosen) -> None:
    one = made.learner
    if one is None:
        return
    sections = plugin(LEARNER, one.reading.name).sections
    _keys(notes, one, one.reading.keys, sections)
    if one.is_command and one.launch.call.cwd.known not in (None, "."):
        notes.put(("cwd",), str(one.launch.call.cwd))


def _keys(notes: Notes, one: Part, keys: Mapping[str, Any], sections: Sequence[str]) -> None:
    for key, value in keys.items():
        if not key.endswith(".entry"):
            notes.put(path_of(key, sections), value)
    for flag, own in one.reading.unknown:
        text = " ".join(map(str, flag.values)) if flag.name else str(flag)
        what = f"{flag} is known only when the script runs"
        finding = one.finding(what, Sort.UNKNOWN)
        for key in own:
            notes.lack(path_of(key, sections), text, finding)
        if not own:
            notes.say(finding)


def _servers(notes: Notes, made: Chosen) -> None:
    if not made.servers:
        return
    first = made.servers[0]
    learned = made.learner
    sections = (
        plugin(LEARNER, learned.reading.name).sections if learned else _usual_sections()
    )
    shared = {
        key: value
        for key, value in first.reading.keys.items()
        if not is_address(key) and not (key.startswith("train.") and learned is not None)
    }
    _keys(notes, first, shared, sections)
    if learned is not None:
        _agreed(notes, first, learned, sections)
    if first.is_command:
        _declared(notes, first)
    _addresses(notes, made, sections)


def _usual_sections() -> Sequence[str]:
    return plugin(LEARNER, USUAL_LEARNER).sections


def _agreed(notes: Notes, server: Part, learned: Part, sections: Sequence[str]) -> None:
    """What server and learner are both told, which the experiment says once."""
    for key, value in server.reading.keys.items():
        if not key.startswith("train.") or is_address(key):
            continue
        path = path_of(key, sections)
        name = key.rpartition(".")[2]
        same = [line for line in notes.lines.values() if line.path[-1] == name and _in(line.path, sections)]
        if not same:
            notes.put(path, value)
        elif same[0].value != value:
            what = f"--{name} is {value!r}, but the learner's is {same[0].value!r} "
            where = learned.finding("").place
            notes.say(server.finding(f"{what}({where}), which both get", Sort.DIFFERENCE))


def _in(path: Path, sections: Sequence[str]) -> bool:
    return path[0] in sections if sections else len(path) == 1


def _declared(notes: Notes, one: Part) -> None:
    """What the engine of commands must be told of a server besides its words."""
    for key, names in _SIZES.items():
        text = flag_text(one.reading, names)
        if text.isdecimal():
            notes.put(("rollout_server", key), int(text))
    if model := flag_text(one.reading, _MODEL_FLAGS):
        notes.put(("rollout_server", "model"), model)


def _addresses(notes: Notes, made: Chosen, sections: Sequence[str]) -> None:
    """Where the servers listen, and where the learner asks."""
    own = not _has_train(made.servers[0].reading) or made.servers[0].is_command
    hosts = [_host(one) for one in made.servers]
    ports = [_port(one) for one in made.servers]
    asked_hosts, asked_ports = _asked(made.learner)
    said = any(host is not None for host in hosts)
    if asked_hosts:
        for one, host, asked in zip(made.servers, hosts, asked_hosts, strict=False):
            if host is not None and host != asked and host not in EVERY_ADDRESS:
                what = f"listens on {host}, but the learner asks {asked}"
                notes.say(one.finding(what, Sort.DIFFERENCE))
    elif said:
        alone = made.learner is None
        taken = [host if host and (alone or host not in EVERY_ADDRESS) else LOCAL_HOSTS[0] for host in hosts]
        notes.put(("rollout_server", "host") if own else path_of(_HOST, sections), taken if not own or len(taken) > 1 else taken[0])
    numbers = [HTTP_PORT if port is None else port for port in ports]
    if asked_ports:
        for one, port, asked in zip(made.servers, numbers, asked_ports, strict=False):
            if port != asked:
                what = f"listens on port {port}, but the learner asks port {asked}"
                notes.say(one.finding(what, Sort.DIFFERENCE))
        if len(asked_ports) != len(numbers):
            what = f"the learner asks {len(asked_ports)} servers, {len(numbers)} are started"
            notes.say(made.servers[0].finding(what, Sort.DIFFERENCE))
    if not asked_ports or own:
        if any(port is not None for port in ports) or len(ports) > 1:
            path = ("rollout_server", "port") if own else path_of(_PORT, sections)
            notes.put(path, numbers if not own or len(numbers) > 1 else numbers[0])


def _asked(learned: Part | None) -> tuple[list[str], list[int]]:
    """The hosts and ports of the servers that a learner asks, as far as it says them."""
    keys = {} if learned is None else learned.reading.keys
    if (url := keys.get(_URL)) is not None:
        urls = cast("list[Any]", url) if isinstance(url, list) else [url]
        places = [place for place in map(address, urls) if place is not None]
        return [host for host, _ in places], [port for _, port in places]
    return [*map(str, _list(keys.get(_HOST)))], [int(port) for port in _list(keys.get(_PORT)) if str(port).isdecimal()]


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _host(one: Part) -> str | None:
    if one.is_command:
        return flag_text(one.reading, ("host",)) or None
    found = [_list(v) for k, v in one.reading.keys.items() if k.rpartition("_")[2].rpartition(".")[2] == "host"]
    return str(found[0][0]) if found and found[0] else None


def _port(one: Part) -> int | None:
    text = flag_text(one.reading, ("port",))
    return int(text) if text.isdecimal() else None


def _service(notes: Notes, one: Part) -> None:
    """A process beside the two halves."""
    name = _name(notes, one)
    above = ("services", name)
    words = [word.known for word in with_environment(one)]
    if any(word is None for word in words):
        text = " ".join(map(str, with_environment(one)))
        what = f"{text} is known only when the script runs"
        notes.lack((*above, "argv"), text, one.finding(what, Sort.UNKNOWN))
    else:
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
            notes.put((*above, "env", variable), value.known)
    if one.reading.kind == ENGINE and (port := _port(one) or _usual_port(one)) is not None:
        path = "/health" if one.is_command else plugin(ENGINE, one.reading.name).health_path
        notes.put((*above, "check", "url"), f"http://127.0.0.1:{port}{path}")


def _usual_port(one: Part) -> int | None:
    return None if one.is_command else HTTP_PORT


def with_environment(one: Part) -> list[Value]:
    """The words of a service, which no ``runtime`` enters: with ``conda run`` before them."""
    launch = one.launch
    conda = launch.bare.conda or (launch.environment if launch.is_conda else "")
    words = [*launch.words]
    if conda:
        before = ("conda", "run", "--no-capture-output", "-n", conda)
        words = [*(Value((word,)) for word in before), *words]
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


def _directory(notes: Notes, made: Chosen) -> str:
    """Where the launches are started; of several the first, and the others are differences."""
    cwds = [(one, str(one.launch.call.cwd)) for one in made.all]
    cwds = [(one, cwd) for one, cwd in cwds if not (one is made.learner and one.is_command)]
    if not cwds:
        return "."
    first = cwds[0][1]
    for one, cwd in cwds[1:]:
        if cwd != first:
            what = f"starts in {cwd}, the first one in {first}; the launcher starts both in one"
            notes.say(one.finding(what, Sort.DIFFERENCE))
    return first

