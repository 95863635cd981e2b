"""The addresses of the rollout servers, as the experiment says them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from grpo_launch.config.arguments import find, listed
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rollout import NODE
from grpo_launch.config.schema import NO_PLUGIN
from grpo_launch.plan import SERVER
from grpo_launch.plugins import ENGINES, LEARNERS

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104
"""Addresses to listen on, all of a machine, and not to connect to."""

HTTP_PORT = 8000
"""The port of the first server where none is given, as engines and learners have it."""

GROUP_PORT = 51216
"""The weight-sync port of the first server where none is given, the others count on from it:
the default of trl's ``VLLMClient``, which learners keep."""


@dataclass(frozen=True)
class Keys:
    """The dotted keys that say where the servers are; empty: there is no such setting.

    Attributes:
        host, port: of each server.
        url: the base URL of each, which wins over both.
        group_port: of the weight-sync channel of each.
    """

    host: str
    port: str
    url: str
    group_port: str


_OF_LEARNER = Keys(
    *(f"train.rlhf.vllm_server_{name}" for name in ("host", "port", "base_url", "group_port"))
)
"""Of a learner that is told where its servers are; what the launcher starts is told the same.

A URL wins over host and port in ``VLLMInferClient.__init__``.
"""

_GROUP = "group"
"""``engines.base.GROUP``: only such an engine has a weight-sync channel."""


@dataclass(frozen=True)
class Endpoint:
    """Where one rollout server listens.

    Attributes:
        name: ``server``, or ``server_0``, ``server_1``, ... of several: the same on each machine.
        host: a name or address.
        port: the HTTP port.
        group_port: the port of its weight-sync channel; None where it has none.
        base: the base URL, where the experiment says it.
        is_here: whether that is this machine, see :func:`is_here`.
    """

    name: str
    host: str
    port: int
    group_port: int | None
    base: str = ""
    is_here: bool = True

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return self.base.rstrip("/") or url(self.host, self.port)


def url(host: str, port: int, scheme: str = "http") -> str:
    """The base URL of a server; an IPv6 address stands in brackets."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def keys(config: LaunchConfig) -> Keys:
    """The keys that say where the servers of the chosen engine are."""
    served = ENGINES.get(config.engine.name)
    group = _OF_LEARNER.group_port if _GROUP in served.transfers else ""
    own = {field.name for field in fields(served.settings)}
    if own & {"port", "url"}:
        host, port, url = (f"{NODE}.{n}" if n in own else "" for n in ("host", "port", "url"))
        if "group_port" in own:
            is_set = config.rollout_server.get("group_port") is not None
            group = f"{NODE}.group_port" if is_set else ""
        return Keys(host, port, url, group)
    return Keys(_OF_LEARNER.host, _OF_LEARNER.port, _OF_LEARNER.url, group)


def address_key(config: LaunchConfig) -> str:
    """The key that says the addresses: of the URLs, where there are any, or of the hosts."""
    named = keys(config)
    return named.url if urls(config) else named.host


def urls(config: LaunchConfig) -> list[Any]:
    """The base URLs as a list; they decide where they are said."""
    return listed(said(config, keys(config).url))


def address(url: Any) -> tuple[str, int] | None:
    """Host and port of a base URL; None where it has none."""
    try:
        parts = urlsplit(str(url))
        usual = {"http": 80, "https": 443}[parts.scheme]
        return (parts.hostname, parts.port or usual) if parts.hostname else None
    except (KeyError, ValueError):
        return None


def are_elsewhere(config: LaunchConfig) -> bool:
    """Whether all servers are on other machines, by their names."""
    return bool(hosts(config)) and not any(is_here(config, host) for host in hosts(config))


def is_here(config: LaunchConfig, host: Any) -> bool:
    """Whether a host of a server is this machine: loopback, or its own name or address.

    A server alone may also be told to listen on all addresses of its machine.
    """
    if not config.starts_servers:
        return False
    if config.role == "server" and host in EVERY_ADDRESS:
        return True
    return isinstance(host, str) and (host in LOCAL_HOSTS or host in config.own_hosts)


def has_servers(config: LaunchConfig) -> bool:
    """Whether the configuration is about rollout servers: a learner may need none.

    A check of both halves looks at them also where they only get weights later, in a loop.
    """
    if config.engine.name == NO_PLUGIN:
        return False
    trained = LEARNERS.get(config.learner.name)
    if config.role in ("server", "both", "loop", "rollout") or trained.needs_servers(config):
        return True
    if config.role in ("learner", "update"):
        return False
    common = ENGINES.get(config.engine.name).transfers & trained.transfers
    return config.learner.name == NO_PLUGIN or not common <= {_GROUP}


def said(config: LaunchConfig, key: str) -> Any:
    """What the experiment says at one of its :func:`keys`; None where it says nothing."""
    node, _, name = key.rpartition(".")
    if not key:
        return None
    return config.rollout_server.get(name) if node == NODE else find(config, name, "rlhf")[1]


def hosts(config: LaunchConfig) -> list[Any]:
    """The host of each server: of its URL, or as said (a scalar is one); else this machine."""
    if (places := _of_urls(config)) is not None:
        return [host for host, _ in places]
    named = keys(config)
    host, port = said(config, named.host), said(config, named.port)
    if host is not None or not has_servers(config):
        return listed(host)
    return [LOCAL_HOSTS[0]] * (1 if port is None else len(listed(port)))


def ports(config: LaunchConfig) -> list[Any]:
    """The HTTP port of each server: as said, else the usual ones, one for each host."""
    if (named := _of_urls(config)) is not None:
        return [port for _, port in named]
    port = said(config, keys(config).port)
    if port is None:
        return [HTTP_PORT + number for number in range(len(hosts(config)))]
    return listed(port)


def group_ports(config: LaunchConfig) -> list[Any]:
    """The weight-sync port of each server: as said, else the usual ones; none without a channel."""
    key = keys(config).group_port
    if not key:
        return []
    port = said(config, key)
    if port is None:
        return [GROUP_PORT + number for number in range(server_count(config))]
    return listed(port)


def server_count(config: LaunchConfig) -> int:
    """How many rollout servers there are: one for each port, and at least one."""
    return max(1, len(ports(config)))


def endpoints(config: LaunchConfig) -> tuple[Endpoint, ...]:
    """The addresses of a valid configuration, one for each server; a learner may need none."""
    if not (count := len(ports(config))) or not (named := hosts(config)):
        return ()
    names = [SERVER] if count == 1 else [f"{SERVER}_{number}" for number in range(count)]
    bases = urls(config) or [""] * count
    groups = group_ports(config) or [None] * count
    each = zip(names, named, ports(config), groups, bases, strict=True)
    return tuple(
        Endpoint(n, str(h), int(float(p)), g and int(float(g)), str(b), is_here(config, h))
        for n, h, p, g, b in each
    )


def here(config: LaunchConfig) -> tuple[Endpoint, ...]:
    """The addresses of this machine; the servers that a launch starts, if it starts any."""
    return tuple(address for address in endpoints(config) if address.is_here)


def elsewhere(config: LaunchConfig) -> tuple[Endpoint, ...]:
    """The addresses of other machines: of servers that are started there."""
    return tuple(address for address in endpoints(config) if not address.is_here)


def numbers_here(config: LaunchConfig) -> list[int]:
    """The numbers, from 0, of the servers of this machine, also of a wrong configuration.

    A server without a host is taken to be here.
    """
    if not config.starts_servers:
        return []
    named = hosts(config)
    count = server_count(config) if has_servers(config) else len(named)
    return [n for n in range(count) if n >= len(named) or is_here(config, named[n])]


def direct_hosts(config: LaunchConfig) -> tuple[str, ...]:
    """The hosts of the servers, as ``no_proxy`` takes them; this machine in all its spellings.

    IPv6 without brackets: httpx would fail on ``[::1]``.
    """
    named = [address.host.strip("[]") for address in endpoints(config)]
    here = (*LOCAL_HOSTS, *EVERY_ADDRESS)
    spelled = [LOCAL_HOSTS if host in here else (host,) for host in named]
    return tuple(dict.fromkeys(host for hosts in spelled for host in hosts))


def _of_urls(config: LaunchConfig) -> list[tuple[str, int]] | None:
    """Host and port of each base URL; None where none are said, or one has none."""
    found = [*map(address, urls(config))]
    named = [place for place in found if place is not None]
    return named if named and len(named) == len(found) else None
