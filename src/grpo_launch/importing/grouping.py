"""Which launches are one experiment: each training with its servers, and other servers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from grpo_launch.config.endpoint import HTTP_PORT
from grpo_launch.importing.order import Order
from grpo_launch.importing.parts import Part, are_alike
from grpo_launch.importing.reading import ENGINE, LEARNER

_ADDRESS = re.compile(r"(?://[\w.-]+|localhost|127\.0\.0\.1|0\.0\.0\.0):(\d+)\b")
"""An address in a text, and its port."""

_HOSTS, _PORTS, _URLS = (
    (f"vllm_server_{name}", f"server_{name}") for name in ("host", "port", "base_url")
)


@dataclass(frozen=True)
class Group:
    """The launches of one experiment, by their numbers.

    Attributes:
        lead: the training, or the first of the servers.
        members: all of them, in their order.
    """

    lead: int
    members: tuple[int, ...]


def grouped(order: Order) -> tuple[Group, ...]:
    """All launches as experiments, in the order of their leads; only servers are in several.

    Every learner is a training, with the servers at the addresses that its flags, its words and
    its variables name. The only training has all servers that are up with it: nobody else asks
    them. Other servers are by themselves; those that are alike and up together are one set.
    """
    trainings = [n for n, part in enumerate(order.parts) if part.reading.kind == LEARNER]
    servers = [n for n, part in enumerate(order.parts) if part.reading.kind == ENGINE]
    asked = _asked(order, trainings, servers)
    alone = _without(servers, asked)
    if len(trainings) == 1:
        (one,) = trainings
        asked[one] += [server for server in alone if _is_up(order, server, one, asked[one])]
        alone = _without(servers, asked)
    made = [Group(one, tuple(sorted((one, *asked[one])))) for one in trainings]
    made += [Group(some[0], tuple(some)) for some in _sets(order, alone)]
    return tuple(sorted(made, key=lambda group: group.lead))


def _without(servers: Iterable[int], asked: Mapping[int, Collection[int]]) -> list[int]:
    """The servers that no training asks."""
    return [one for one in servers if not any(one in some for some in asked.values())]


def _asked(order: Order, trainings: Sequence[int], servers: Sequence[int]) -> dict[int, list[int]]:
    """The servers that each training asks.

    One that is started on another way of the script is asked only where no other training has it:
    ``run.sh serve`` and ``run.sh train`` are started one beside the other.
    """
    found: dict[int, list[int]] = {}
    for one in trainings:
        found[one] = _at_addresses(order, one, [s for s in servers if not order.excludes(s, one)])
    free = _without(servers, found)
    return {one: some or _at_addresses(order, one, free) for one, some in found.items()}


def _at_addresses(order: Order, training: int, servers: Sequence[int]) -> list[int]:
    """Of each address the last server that started before, or the first that is up later."""
    found: list[int] = []
    for host, port in addresses(order.parts[training]):
        some = [n for n in servers if n not in found and _port(order.parts[n]) == port]
        some = [n for n in some if host and host == _text(order.parts[n], "host")] or some
        before = [n for n in some if n < training]
        behind = [n for n in some if n > training and order.are_together(n, training)]
        found += before[-1:] or behind[:1]
    return found


def addresses(training: Part) -> Iterator[tuple[str, str]]:
    """The hosts and ports that a training names, as the script says them; no host: any."""
    hosts, ports = _texts(training, *_HOSTS), _texts(training, *_PORTS)
    if not ports and (hosts or _is_served(training)):
        ports = [str(HTTP_PORT)]
    same = len(hosts) == len(ports)
    yield from zip(hosts if same else [*hosts[:1], ""][:1] * len(ports), ports, strict=True)
    values = (*training.launch.words, *training.environ.values())
    named = (port for value in values for port in _ADDRESS.findall(str(value)))
    yield from (("", port) for port in dict.fromkeys(named) if port not in ports)


def _is_served(training: Part) -> bool:
    """Whether it says that a server gives it its rollouts, and not where that is."""
    mode = _text(training, "vllm_mode")
    uses = any(flag.key == "use_vllm" for flag in training.reading.flags)
    default = not mode and uses and _text(training, "use_vllm").lower() != "false"
    return (mode == "server" or default) and not _texts(training, *_URLS)


def _port(server: Part) -> str:
    return _text(server, "port") or str(HTTP_PORT)


def _text(part: Part, key: str) -> str:
    """What the last flag of a name is given; empty: nothing."""
    return next((text for text in reversed(_texts(part, key))), "")


def _texts(part: Part, *keys: str) -> list[str]:
    """All that the last flag of some names is given."""
    said = [flag for flag in part.reading.flags if flag.key in keys]
    return [str(value) for value in said[-1].values] if said else []


def _is_up(order: Order, server: int, training: int, asked: Collection[int]) -> bool:
    """Whether a server that nobody asks belongs to the only training.

    Where it asks one at an address that no server has, the script may be wrong: that is told.
    """
    if order.excludes(server, training):
        return False
    searches = not asked and any(True for _ in addresses(order.parts[training]))
    return searches or order.are_together(server, training)


def _sets(order: Order, servers: Iterable[int]) -> list[list[int]]:
    """Servers that differ only in where they listen and compute, and are up together."""
    found: list[list[int]] = []
    for one in servers:
        fitting = (some for some in found if _fits(order, some, one))
        some = next(fitting, None)
        if some is None:
            found.append([one])
        else:
            some.append(one)
    return found


def _fits(order: Order, some: Sequence[int], one: int) -> bool:
    part = order.parts[one]
    return (
        are_alike(part, order.parts[some[0]])
        and all(order.are_together(other, one) for other in some)
        and _port(part) not in [_port(order.parts[other]) for other in some]
    )
