"""The parts of scripts as one experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from grpo_launch.base import redaction
from grpo_launch.bash.script import Script, Value
from grpo_launch.config.schema_programs import ENGINE as USUAL_ENGINE
from grpo_launch.config.schema_programs import LEARNER as USUAL_LEARNER
from grpo_launch.config.schema_programs import NO_PLUGIN
from grpo_launch.importing import callers, surroundings
from grpo_launch.importing.addresses import HOST, PORT, URL, addresses
from grpo_launch.importing.argument_files import FileLaunch, as_said
from grpo_launch.importing.branches import is_preparation
from grpo_launch.importing.draft import Draft, Notes, Path, path_of
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.launches import Launch
from grpo_launch.importing.parts import Chosen, Part, chosen, is_address, part
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
from grpo_launch.importing.remarks import ENVIRONMENT
from grpo_launch.importing.services import service

_SIZES = {
    "tensor_parallel_size": ("tensor_parallel_size", "tp_size", "tp"),
    "data_parallel_size": ("data_parallel_size", "dp_size", "dp"),
}
_MODEL_FLAGS = ("model", "model_path", "model_name_or_path")


def drafted(
    scripts: Sequence[Script],
    launches: Sequence[Sequence[Launch]],
    commands: Mapping[tuple[str, int], str] | None = None,
) -> Draft:
    """One experiment of what scripts start.

    Args:
        scripts: as they were read; for what they say besides.
        launches: of each.
        commands: launches, by script and line, that become commands of their own though a plug-in
            reads them, and why.
    """
    notes = Notes()
    parts = [
        _without_secrets(notes, part(*_read(launch, commands or {}), number))
        for number, own in enumerate(launches)
        for launch in own
    ]
    made = chosen(parts)
    made = _fitting(made)
    for one in made.all:
        _remarks(notes, one)
    for one in made.left:
        notes.say(one.finding(_left(one, parts), Sort.DIFFERENCE))
    usual = {name: value for script in scripts for name, value in script.defaults.items()}
    _programs(notes, made)
    _learner(notes, made)
    _servers(notes, made)
    surroundings.devices(notes, made)
    surroundings.runtimes(notes, made)
    surroundings.environment(notes, made, callers.marked_variables(usual))
    for one in made.services:
        service(notes, one)
    directory = _directory(notes, made)
    _placed(notes, made, scripts)
    lines = tuple(notes.lines.values())
    role = "both" if made.servers and made.learner else "server" if made.servers else "learner"
    return Draft(
        lines, tuple(notes.missing), tuple(map(_shown, notes.findings)), tuple(notes.exports), made,
        role, directory,
    )  # fmt: skip


def _shown(finding: Finding) -> Finding:
    return replace(finding, what=callers.shown(finding.what))


def _read(launch: Launch, commands: Mapping[tuple[str, int], str]) -> tuple[Launch, Reading]:
    """A launch and what it says, with marks for variables of the caller where it can have them."""
    reading = reading_of(launch, commands)
    if reading.name == COMMAND and launch is not (said := as_said(launch)):
        # Its file says more than words do, so that a command is given the file.
        why, launch = reading.refused, said
        reading = read_as_command(launch.kind, launch.words, len(launch.bare.before), why)
        commands = {**commands, (launch.script, launch.call.line): why}
    marked = callers.marked(launch, is_command=reading.name == COMMAND)
    if marked == launch:
        return launch, reading
    again = reading_of(marked, commands)
    # A plug-in may refuse a word that it would not have been asked about.
    return (marked, again) if again.name == reading.name else (launch, reading)


def _left(one: Part, parts: Sequence[Part]) -> str:
    """What is said of a launch that the experiment does not hold."""
    holds = "learner" if one.reading.kind == LEARNER else "set of servers"
    what = f"{one.launch.program} is not in this experiment, which holds one {holds}"
    is_alone = [part.place for part in parts].count(one.place) == 1
    by_line = f", --line {one.launch.call.line} imports it by itself" if is_alone else ""
    return f"{what}: -o DIRECTORY/ writes one for each{by_line}"


def reading_of(launch: Launch, commands: Mapping[tuple[str, int], str]) -> Reading:
    """What the command line of a launch says."""
    why = commands.get((launch.script, launch.call.line))
    if why is not None and launch.name != COMMAND:
        return read_as_command(launch.kind, launch.words, len(launch.bare.before), why)
    return read(launch.kind, launch.name, launch.words, len(launch.bare.before))


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
    before = len(one.launch.bare.before)
    name = one.reading.name
    return replace(one, reading=read(one.launch.kind, name, words, before))


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
    launch = first.launch
    reading = read_as_command(ENGINE, launch.words, len(launch.bare.before), why)
    first = replace(first, reading=reading)
    return replace(made, servers=(first,), services=(*others, *made.services))


def _remarks(notes: Notes, one: Part) -> None:
    """What is to be said of one launch."""
    call = one.launch.call
    for what in one.launch.lost if isinstance(one.launch, FileLaunch) else ():
        notes.say(one.finding(what, Sort.DIFFERENCE))
    if one.reading.refused:
        what = f"{one.launch.program} is imported as a command: {one.reading.refused}"
        notes.say(one.finding(what))
    elif one.is_command:
        notes.say(one.finding(f"{one.launch.program} has no plug-in, it is imported as a command"))
    for condition in call.conditions:
        if ENVIRONMENT.match(condition.text) or is_preparation(condition):
            continue
        what = f"starts only if {condition.text}, which nobody knows before it runs"
        notes.say(one.finding(what, Sort.UNKNOWN))
    if call.repeated:
        notes.say(one.finding("stands in a loop whose rounds are not known", Sort.UNKNOWN))
    for redirect in call.redirects:
        target = str(redirect.target)
        if redirect.operator == "<" and target != "/dev/null":
            what = f"reads from {target}, which the launcher cannot; is it a <placeholder>?"
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
    return any(key in reading.keys for key in (HOST, PORT, URL, "train.rlhf.use_vllm"))


def _learner(notes: Notes, made: Chosen) -> None:
    one = made.learner
    if one is None:
        return
    sections = plugin(LEARNER, one.reading.name).sections
    _keys(notes, one, one.reading.keys, sections)
    where = callers.marked_value(one.launch.call.cwd)
    if one.is_command and where.known not in (None, "."):
        notes.ask(one, f"the directory {one.launch.call.cwd}", where)
        notes.put(("cwd",), where.known)
    elif one.is_command and where.known is None:
        what = f"starts in {one.launch.call.cwd}, which is known only when the script runs"
        notes.say(one.finding(what, Sort.UNKNOWN))


def _keys(notes: Notes, one: Part, keys: Mapping[str, Any], sections: Sequence[str]) -> None:
    for key, value in keys.items():
        if not key.endswith(".entry"):
            notes.put(path_of(key, sections), _typed(one, key, value))
    for words in ((*one.reading.head,), *(flag.words for flag in one.reading.flags)):
        notes.ask(one, " ".join(map(str, words)), words)
    for flag, own in one.reading.unknown:
        text = " ".join(map(str, flag.values)) if flag.name else str(flag)
        what = f"{flag} is known only when the script runs"
        finding = one.finding(what, Sort.UNKNOWN)
        for key in own:
            notes.lack(path_of(key, sections), text, finding)
        if not own:
            notes.say(finding)


def _typed(one: Part, key: str, value: Any) -> Any:
    """The value of a key; of a variable of the caller a number, where its flag takes one."""
    flag = one.reading.sources.get(key)
    is_number = flag is not None and callers.is_number(one.launch, flag)
    return callers.number(value) if is_number else value


def _servers(notes: Notes, made: Chosen) -> None:
    if not made.servers:
        return
    first = made.servers[0]
    learned = made.learner
    sections = plugin(LEARNER, learned.reading.name).sections if learned else _usual_sections()
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
    addresses(notes, made, sections)


def _usual_sections() -> Sequence[str]:
    return plugin(LEARNER, USUAL_LEARNER).sections


def _agreed(notes: Notes, server: Part, learned: Part, sections: Sequence[str]) -> None:
    """What server and learner are both told, which the experiment says once."""
    for key, value in server.reading.keys.items():
        if not key.startswith("train.") or is_address(key):
            continue
        path = path_of(key, sections)
        value = _typed(server, key, value)
        name = key.rpartition(".")[2]
        same = [
            line
            for line in notes.lines.values()
            if line.path[-1] == name and _in(line.path, sections)
        ]
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


def _placed(notes: Notes, made: Chosen, scripts: Sequence[Script]) -> None:
    """Scripts that look for files beside themselves, and lie in several directories."""
    starting = {part.launch.script for part in made.all}
    placed = [one for one in scripts if one.is_placed and one.name in starting]
    for one in placed[1:]:
        if PurePath(one.name).parent != PurePath(placed[0].name).parent:
            what = f"looks for files beside itself, as {placed[0].name} does: the launcher starts"
            notes.difference(one.name, 0, f"{what} both in one directory")


def _directory(notes: Notes, made: Chosen) -> str:
    """Where the launches are started; of several the first, and the others are differences."""
    cwds = [(one, str(one.launch.call.cwd)) for one in made.all]
    cwds = [(one, cwd) for one, cwd in cwds if not (one is made.learner and one.is_command)]
    if not cwds:
        return "."
    started, first = cwds[0]
    where = callers.marked_value(started.launch.call.cwd)
    if where.known is None or callers.to_export(where):
        what = f"starts in {first}, which is known only when the script runs"
        notes.say(started.finding(what, Sort.UNKNOWN))
    elif first != ".":
        notes.say(started.finding(f"start the experiment in {first}"))
    for one, cwd in cwds[1:]:
        if cwd != first:
            what = f"starts in {cwd}, the first one in {first}; the launcher starts both in one"
            notes.say(one.finding(what, Sort.DIFFERENCE))
    return first
