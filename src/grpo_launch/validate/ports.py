"""The ports of a run: the server's HTTP port, the weight-sync group port, torchrun's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from grpo_launch import endpoint
from grpo_launch.compose import kinds
from grpo_launch.compose.config import LaunchConfig
from grpo_launch.validate.problem import Problem

GROUP_PORT = 51216
"""The weight-sync port of the first server; ms-swift 4.6 counts on from it
(``vllm_server_group_port`` in ``swift/arguments/rlhf_args.py`` and ``VLLMClient``)."""

GROUP_PORT_KEY = "train.rlhf.vllm_server_group_port"
MASTER_PORT_KEY = "learner.master_port"


def group_port(config: LaunchConfig) -> Any:
    """The weight-sync port of the one server, as the experiment says it."""
    said = config.get("rlhf.vllm_server_group_port", GROUP_PORT)
    ports = cast("list[Any]", said) if isinstance(said, list) else [said]
    return ports[0] if len(ports) == 1 else said


def listening(config: LaunchConfig, parts: Sequence[str]) -> list[tuple[int, str]]:
    """The ports, and their keys, that the given halves of a valid configuration listen on.

    Args:
        config: a valid configuration.
        parts: of ``server`` and ``learner``.
    """
    found: list[tuple[int, str]] = []
    if "server" in parts:
        found.append((endpoint.endpoint(config).port, endpoint.PORT_KEY))
        # The server's first worker listens on it when the learner comes.
        found.append((int(float(group_port(config))), GROUP_PORT_KEY))
    if "learner" in parts and config.learner.master_port is not None:
        found.append((config.learner.master_port, MASTER_PORT_KEY))
    return found


def ports_are_ports(config: LaunchConfig) -> list[Problem]:
    """The group port and the master port are single ports, 1 to 65535."""
    return [
        Problem(config.where(key), f"{value!r} is no port", "use a number from 1 to 65535")
        for key, value in _optional(config)
        if not _is_port(value)
    ]


def ports_are_distinct(config: LaunchConfig) -> list[Problem]:
    """No two of the run's ports are the same."""
    http = endpoint.ports(config)
    named = [(endpoint.PORT_KEY, http[0])] if len(http) == 1 else []
    named += _optional(config)
    seen: dict[int, str] = {}
    problems: list[Problem] = []
    for key, value in named:
        if not _is_port(value):
            continue
        port = int(float(value))
        if port in seen:
            what = f"port {port} is also {seen[port].removeprefix('train.')}"
            problems.append(Problem(config.where(key), what, "choose another port"))
        seen.setdefault(port, key)
    return problems


PORT_RULES = (ports_are_ports, ports_are_distinct)


def _optional(config: LaunchConfig) -> list[tuple[str, Any]]:
    named = [(GROUP_PORT_KEY, group_port(config))]
    if config.learner.master_port is not None:
        named.append((MASTER_PORT_KEY, config.learner.master_port))
    return named


def _is_port(value: Any) -> bool:
    return value is not None and kinds.fits(int, value) and 1 <= int(float(value)) <= 65535
