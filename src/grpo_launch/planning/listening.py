"""The ports that the processes of a run listen on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from grpo_launch.config import endpoint, kinds, schema, services
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.plan import SERVER, LaunchPlan

MASTER_PORT_KEY = "learner.master_port"


class Port(NamedTuple):
    """A port that a process of the plan will listen on.

    Attributes:
        number: the TCP port.
        where: the place that said it.
        choose: what chooses another one, in messages.
    """

    number: int
    where: str
    choose: str


def ports(config: LaunchConfig, plan: LaunchPlan) -> Iterator[Port]:
    """The ports that the plan's processes will listen on."""
    several = endpoint.server_count(config) > 1
    automatic = config.ports is schema.PortPolicy.auto
    parts = [spec.part for spec in plan.processes]
    # A learner alone cannot know what its server would get.
    offer = "" if automatic or SERVER not in parts else " or ports=auto"
    for number, key in listening(config, parts):
        if key.startswith(f"{services.NODE}."):  # it stands in the service's command as well
            yield Port(number, config.where(key), f"{key} and in its argv")
            continue
        value = "PORT" if key == MASTER_PORT_KEY else "[PORT,...]" if several else "[PORT]"
        where = "ports=auto" if automatic else config.where(key)
        yield Port(number, where, f"'{key}={value}'{offer}")


def listening(config: LaunchConfig, parts: Sequence[str]) -> list[tuple[int, str]]:
    """The ports, and their keys, that the given halves of a valid configuration listen on.

    Args:
        config: a valid configuration.
        parts: of ``server`` and ``learner``.
    """
    found: list[tuple[int, str]] = []
    named = endpoint.keys(config)
    if "server" in parts:
        for address in endpoint.here(config):
            found.append((address.port, named.port))
            if address.group_port is not None:
                # The server's first worker listens on it when the learner comes.
                found.append((address.group_port, named.group_port))
    if "learner" in parts and config.learner.master_port is not None:
        found.append((config.learner.master_port, MASTER_PORT_KEY))
    if "learner" in parts:
        found += of_services(config)
    return found


def of_services(config: LaunchConfig) -> Iterator[tuple[int, str]]:
    """The ports, and their keys, at which services of this machine are asked."""
    for name, url in services.addresses(config).items():
        if endpoint.is_here(config, url.hostname):
            yield services.port_of(url), services.key(name, "check", "url")


def is_port(value: Any) -> bool:
    """Whether a value of a configuration is a TCP port."""
    return value is not None and kinds.fits(int, value) and 1 <= int(float(value)) <= 65535
