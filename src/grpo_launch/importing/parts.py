"""The launches of scripts as parts of a run: servers, a learner, and what runs beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grpo_launch.base import redaction
from grpo_launch.bash.script import Value
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.launches import Launch
from grpo_launch.importing.reading import COMMAND, ENGINE, LEARNER, Reading, plugin

DEVICES = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Part:
    """One launch, and what is known of it.

    Attributes:
        launch: the call.
        reading: its command line.
        environ: its variables, without those that choose devices and without secrets.
        devices: the ids of its devices; None: the script does not say them.
        unknown_devices: what the script says of them, where that is not known.
        secrets: names of variables and flags that hold secrets, which are not written.
        number: of the script that it stands in, 0 being the first.
    """

    launch: Launch
    reading: Reading
    environ: Mapping[str, Value]
    devices: tuple[str, ...] | None = None
    unknown_devices: Value | None = None
    secrets: tuple[str, ...] = ()
    number: int = 0

    @property
    def place(self) -> tuple[str, int]:
        """The script and the line."""
        return self.launch.script, self.launch.call.line

    @property
    def is_command(self) -> bool:
        """Whether no plug-in reads it."""
        return self.reading.name == COMMAND

    def finding(self, what: str, sort: Sort = Sort.NOTE) -> Finding:
        """A finding at its line."""
        return Finding(self.launch.script, self.launch.call.line, what, sort)


@dataclass(frozen=True)
class Chosen:
    """What becomes of the parts.

    Attributes:
        servers: rollout servers that differ only in their addresses and devices.
        learner: what trains.
        services: what runs beside them.
        left: parts that one experiment cannot hold.
    """

    servers: tuple[Part, ...] = ()
    learner: Part | None = None
    services: tuple[Part, ...] = ()
    left: tuple[Part, ...] = ()

    @property
    def all(self) -> tuple[Part, ...]:
        """Those that become processes."""
        return (*self.servers, *((self.learner,) if self.learner else ()), *self.services)


def part(launch: Launch, reading: Reading, number: int) -> Part:
    """A launch with its variables told apart."""
    environ = {**launch.call.environ, **launch.bare.environ}
    environ = {k: v for k, v in environ.items() if k not in launch.bare.unset}
    hidden = [name for name, value in environ.items() if is_secret(name, value)]
    said = environ.pop(DEVICES, None)
    devices = unknown = None
    if said is not None:
        text = said.known
        unknown = said if text is None else None
        ids = [item.strip() for item in (text or "").split(",")]
        devices = None if text is None else tuple(item for item in ids if item)
    plain = {name: value for name, value in environ.items() if name not in hidden}
    return Part(launch, reading, plain, devices, unknown, tuple(hidden), number)


def is_secret(name: str, value: Value) -> bool:
    """Whether a variable or flag holds a secret: by its name, or as a URL with a login."""
    parts = [part for part in value.parts if isinstance(part, str)]
    named = redaction.is_secret_name(name) and value.parts != ()
    return named or any(redaction.in_urls(text) for text in parts)


@dataclass
class _Choice:
    servers: list[Part] = field(default_factory=list[Part])
    learners: list[Part] = field(default_factory=list[Part])
    services: list[Part] = field(default_factory=list[Part])
    left: list[Part] = field(default_factory=list[Part])


def chosen(parts: Sequence[Part]) -> Chosen:
    """Who serves rollouts, who learns, and who runs beside them.

    The learner is the last that a plug-in reads, or the last of all; servers of the engine that it
    gets its rollouts from are the rollout servers, others run beside.
    """
    made = _Choice()
    serving = [one for one in parts if one.reading.kind == ENGINE]
    learning = [one for one in parts if one.reading.kind == LEARNER]
    first = _learner(learning, serving)
    made.left += [one for one in learning if one is not first and not _is_beside(one)]
    made.services += [one for one in learning if one is not first and _is_beside(one)]
    main = _main(serving, first)
    for one in serving:
        if main is not None and (one is main or are_alike(one, main)):
            made.servers.append(one)
        elif first is None:
            made.left.append(one)
        else:
            made.services.append(one)
    return Chosen(tuple(made.servers), first, tuple(made.services), tuple(made.left))


def _learner(learning: Sequence[Part], serving: Sequence[Part]) -> Part | None:
    """The one that trains: of several the last that asks a server, where there are servers."""
    front = [one for one in learning if not _is_beside(one)] or [*learning]
    known = [one for one in front if one.launch.name != COMMAND] or front
    if serving:
        asking = [one for one in known if _asks(one)]
        known = asking or known
    return known[-1] if known else None


def _asks(one: Part) -> bool:
    return any("server_host" in key or "server_port" in key for key in one.reading.keys)


def _is_beside(one: Part) -> bool:
    """Whether a command goes on while the script does, and no plug-in knows it."""
    return one.launch.name == COMMAND and one.launch.call.background


def _main(serving: Sequence[Part], learner: Part | None) -> Part | None:
    """The first rollout server: one that can give its weights to the learner, if there is one."""
    if not serving:
        return None
    if learner is not None and learner.launch.name != COMMAND:
        gives = plugin(LEARNER, learner.launch.name).transfers
        same = [one for one in serving if one.launch.name == learner.launch.name]
        takes = [one for one in serving if plugin(ENGINE, one.launch.name).transfers & gives]
        return (same or takes or [*serving])[0]
    known = [one for one in serving if one.launch.name != COMMAND]
    return (known or [*serving])[0]


def are_alike(one: Part, main: Part) -> bool:
    """Whether two servers differ only in where they listen and what they compute on."""
    if one.is_command or one.reading.name != main.reading.name:
        return False
    return _without_address(one) == _without_address(main) and one.environ == main.environ


def _without_address(one: Part) -> dict[str, object]:
    return {k: v for k, v in one.reading.keys.items() if not is_address(k)}


def is_address(key: str) -> bool:
    """Whether a key says where a server listens."""
    return key.rpartition(".")[2] in (*("host", "port", "vllm_server_host", "vllm_server_port"),)
