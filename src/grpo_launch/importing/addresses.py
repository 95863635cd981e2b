"""Where servers listen and where the learner asks, as keys of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

from grpo_launch.config.endpoint import EVERY_ADDRESS, HTTP_PORT, LOCAL_HOSTS, address
from grpo_launch.importing.draft import Notes, path_of
from grpo_launch.importing.findings import Sort
from grpo_launch.importing.parts import Chosen, Part
from grpo_launch.importing.reading import ENGINE, flag_text, plugin

HOST, PORT, URL = (f"train.rlhf.vllm_server_{name}" for name in ("host", "port", "base_url"))


def is_reached(host: str, asked: str) -> bool:
    """Whether who asks an address reaches a server that listens on another one."""
    return host == asked or host in EVERY_ADDRESS or {host, asked} <= {*LOCAL_HOSTS}


def addresses(notes: Notes, made: Chosen, sections: Sequence[str]) -> None:
    """Where the servers listen, and where the learner asks.

    The launcher has one address for both: that of the learner, where it says one.
    """
    own = _has_own(made.servers[0])
    hosts, ports = _asked(made.learner)
    if hosts:
        for one, asked in zip(made.servers, hosts, strict=False):
            host = host_of(one)
            if host is not None and not is_reached(host, asked):
                _differs(notes, one, f"listens on {host}, but the learner asks {asked}")
    if not hosts or own:
        _put(notes, "host", _hosts(made), own, sections)
    known = [one for one in made.servers if not _is_unknown(one, "port")]
    if ports and len(known) == len(made.servers):
        for one, asked in zip(made.servers, ports, strict=False):
            if (port := port_of(one) or HTTP_PORT) != asked:
                _differs(notes, one, f"listens on port {port}, but the learner asks port {asked}")
        if len(ports) != len(made.servers):
            what = f"is one of {len(made.servers)} servers, but the learner asks {len(ports)}"
            _differs(notes, made.servers[0], what)
    if not ports or own:
        _put(notes, "port", _ports(made), own, sections)


def _differs(notes: Notes, one: Part, what: str) -> None:
    notes.say(one.finding(what, Sort.DIFFERENCE))


def _put(
    notes: Notes, name: str, values: Sequence[Any], own: bool, sections: Sequence[str]
) -> None:
    """The hosts or ports of all servers; of one that has keys of its own it is no list."""
    if values:
        several = len(values) > 1 or not own
        path = (
            ("rollout_server", name)
            if own
            else path_of({"host": HOST, "port": PORT}[name], sections)
        )
        notes.put(path, [*values] if several else values[0])


def _has_own(one: Part) -> bool:
    """Whether the engine's settings say where it listens."""
    settings = plugin(ENGINE, one.reading.name).settings
    return "port" in {field.name for field in fields(settings)}


def _hosts(made: Chosen) -> list[str]:
    """Where to listen; on all addresses only where no learner has to find the server."""
    said = [host_of(one) for one in made.servers]
    if all(host is None for host in said):
        return []
    alone = made.learner is None
    return [
        host if host and (alone or host not in EVERY_ADDRESS) else LOCAL_HOSTS[0] for host in said
    ]


def _ports(made: Chosen) -> list[int]:
    said = [port_of(one) for one in made.servers]
    if len(said) == 1 and said[0] is None:
        return []
    return [HTTP_PORT if port is None else port for port in said]


def _asked(learned: Part | None) -> tuple[list[str], list[int]]:
    """The hosts and ports of the servers that a learner asks, as far as it says them."""
    keys = {} if learned is None else learned.reading.keys
    if (url := keys.get(URL)) is not None:
        places = [place for place in map(address, _list(url)) if place is not None]
        return [host for host, _ in places], [port for _, port in places]
    ports = [str(port) for port in _list(keys.get(PORT))]
    return [*map(str, _list(keys.get(HOST)))], [int(port) for port in ports if port.isdecimal()]


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _is_unknown(one: Part, name: str) -> bool:
    return any(flag.key == name and flag.unknowns for flag in one.reading.flags)


def host_of(one: Part) -> str | None:
    """Where a server listens, as it says it; None: it does not, or nobody knows."""
    return flag_text(one.reading, ("host",)) or None


def port_of(one: Part) -> int | None:
    """The port of a server, as it says it; None: it does not, or nobody knows."""
    text = flag_text(one.reading, ("port",))
    return int(text) if text.isdecimal() else None
