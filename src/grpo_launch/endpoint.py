"""The address of the rollout server, as the experiment says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from grpo_launch.compose.config import LaunchConfig

HOST_KEY = "train.rlhf.vllm_server_host"
PORT_KEY = "train.rlhf.vllm_server_port"
LOCAL_HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Endpoint:
    """Where the rollout server listens.

    Attributes:
        host: a name or address of this machine.
        port: the HTTP port.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"http://{self.host}:{self.port}"


def hosts(config: LaunchConfig) -> list[Any]:
    """``rlhf.vllm_server_host`` as a list; a scalar counts as a list of one."""
    return _as_list(config.get("rlhf.vllm_server_host"))


def ports(config: LaunchConfig) -> list[Any]:
    """``rlhf.vllm_server_port`` as a list; a scalar counts as a list of one."""
    return _as_list(config.get("rlhf.vllm_server_port"))


def endpoint(config: LaunchConfig) -> Endpoint:
    """The one local address of a valid configuration."""
    return Endpoint(str(hosts(config)[0]), int(ports(config)[0]))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]
