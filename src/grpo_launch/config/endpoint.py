"""The addresses of the rollout servers, as the experiment says them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from grpo_launch.config.launch_config import LaunchConfig

HOST_KEY = "train.rlhf.vllm_server_host"
PORT_KEY = "train.rlhf.vllm_server_port"
GROUP_PORT_KEY = "train.rlhf.vllm_server_group_port"
LOCAL_HOSTS = ("127.0.0.1", "localhost")
_LOOPBACK = (*LOCAL_HOSTS, "::1")

HTTP_PORT = 8000
"""The port of the first server where none is given, as engines and learners have it."""

GROUP_PORT = 51216
"""The weight-sync port of the first server where none is given, the others count on from it:
the default of trl's ``VLLMClient``, which learners keep."""


@dataclass(frozen=True)
class Endpoint:
    """Where one rollout server listens.

    Attributes:
        host: a name or address.
        port: the HTTP port.
        group_port: the port of its weight-sync channel.
    """

    host: str
    port: int
    group_port: int

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"http://{self.host}:{self.port}"


def hosts(config: LaunchConfig) -> list[Any]:
    """``rlhf.vllm_server_host`` as a list; a scalar counts as a list of one."""
    return _as_list(config.get("rlhf.vllm_server_host"))


def ports(config: LaunchConfig) -> list[Any]:
    """The HTTP port of each server: as said, else the usual ones, one for each host."""
    said = config.get("rlhf.vllm_server_port")
    if said is None:
        return [HTTP_PORT + number for number in range(len(hosts(config)))]
    return _as_list(said)


def group_ports(config: LaunchConfig) -> list[Any]:
    """The weight-sync port of each server: as said, else the usual ones."""
    said = config.get("rlhf.vllm_server_group_port")
    if said is None:
        return [GROUP_PORT + number for number in range(server_count(config))]
    return _as_list(said)


def server_count(config: LaunchConfig) -> int:
    """How many rollout servers there are: one for each port, and at least one."""
    return max(1, len(ports(config)))


def endpoints(config: LaunchConfig) -> tuple[Endpoint, ...]:
    """The addresses of a valid configuration, one for each server; a learner may need none."""
    if not ports(config):
        return ()
    said = zip(hosts(config), ports(config), group_ports(config), strict=True)
    return tuple(Endpoint(str(h), int(float(p)), int(float(g))) for h, p, g in said)


def direct_hosts(config: LaunchConfig) -> tuple[str, ...]:
    """The hosts of the servers, as ``no_proxy`` takes them; this machine in all its spellings.

    IPv6 without brackets: httpx would fail on ``[::1]``.
    """
    named = [address.host.strip("[]") for address in endpoints(config)]
    spelled = [_LOOPBACK if host in (*_LOOPBACK, "0.0.0.0", "::") else (host,) for host in named]  # noqa: S104
    return tuple(dict.fromkeys(host for hosts in spelled for host in hosts))


def server_names(config: LaunchConfig) -> list[str]:
    """What the servers are called: ``server``, or ``server_0``, ``server_1``, ... of several."""
    count = server_count(config)
    return ["server"] if count == 1 else [f"server_{number}" for number in range(count)]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]
