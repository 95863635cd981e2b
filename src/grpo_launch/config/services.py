"""The side processes of a configuration, and their addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, urlsplit

from grpo_launch.config import kinds
from grpo_launch.config.formats import lift
from grpo_launch.config.mistake import Mistake
from grpo_launch.config.schema_services import Service, ServiceCheck
from grpo_launch.errors import ConfigError

if TYPE_CHECKING:
    from grpo_launch.config.launch_config import LaunchConfig

NODE = "services"

_KEYS = (*lift.LAUNCH_BLOCK, NODE)
_PORTS = {"http": 80, "https": 443}


def read(said: Any, where: lift.Where) -> tuple[dict[str, Service], tuple[Mistake, ...]]:
    """The services of a composed node, and what is wrong with it, which is left out.

    Args:
        said: the node as plain data; a service that is null is none.
        where: from keys of a legacy tree to the place to name.
    """
    if not isinstance(said, dict):
        return {}, () if said is None else (_no_mapping(said, _KEYS, where),)
    services: dict[str, Service] = {}
    mistakes: list[Mistake] = []
    for name, values in cast("dict[Any, Any]", said).items():
        keys = (*_KEYS, name)
        if isinstance(values, dict):
            found = lift.typed(Service, cast("dict[Any, Any]", values), where, keys)
            mistakes += found.mistakes
            check = ServiceCheck(**found.values.pop("check", {}))
            services[str(name)] = Service(**found.values, check=check)
        elif values is not None:
            mistakes.append(_no_mapping(values, keys, where))
    return services, tuple(mistakes)


def key(name: str, *below: str) -> str:
    """The dotted key of a service, or of something below it."""
    return ".".join((NODE, name, *below))


def devices(config: LaunchConfig) -> set[str]:
    """The devices of all services."""
    return {device for service in config.services.values() for device in service.devices}


def address(service: Service) -> SplitResult | None:
    """The URL of a service's check; None where it has none, or it is no URL with a host."""
    try:
        url = urlsplit(service.check.url or "")
        is_url = url.scheme in _PORTS and bool(url.hostname) and port_of(url) > 0
    except ValueError:
        return None
    return url if is_url else None


def port_of(url: SplitResult) -> int:
    """The port of a URL, or the usual one.

    Raises:
        ValueError: it is no port.
    """
    return _PORTS[url.scheme] if url.port is None else url.port


def addresses(config: LaunchConfig) -> Mapping[str, SplitResult]:
    """The URL of each check, by the service's name."""
    found = ((name, address(service)) for name, service in config.services.items())
    return {name: url for name, url in found if url is not None}


def _no_mapping(value: Any, keys: tuple[Any, ...], where: lift.Where) -> Mistake:
    what = f"must be a mapping, not {kinds.said(value)}"
    return Mistake(ConfigError(where(*keys), what, "write keys below"), (keys,))
