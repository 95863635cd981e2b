"""The rules on the rollout servers' addresses, and on who gets which devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpo_launch.config import endpoint, kinds
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.planning.devices import is_elsewhere, needed
from grpo_launch.planning.listening import is_port

_TP = "rollout_server.vllm_tensor_parallel_size"
_DP = "rollout_server.vllm_data_parallel_size"


def server_hosts(config: LaunchConfig) -> list[Problem]:
    """``rlhf.vllm_server_host`` names hosts; this machine where both halves run.

    With ``role=learner`` a server may be anywhere. With ``role=server`` an address
    that is not loopback is one that was asked for: others can reach it.
    """
    hosts = endpoint.hosts(config)
    where = config.where(endpoint.HOST_KEY)
    if not hosts:
        return [Problem(where, "names no host", f"set it to {_local(config)}")]
    problems = [_of_host(config, where, host) for host in hosts]
    return [problem for problem in dict.fromkeys(problems) if problem is not None]


def server_ports(config: LaunchConfig) -> list[Problem]:
    """``rlhf.vllm_server_port`` names ports, 1 to 65535: one rollout server for each."""
    ports = endpoint.ports(config)
    where = config.where(endpoint.PORT_KEY)
    if not ports:
        return [Problem(where, "names no port", "set it to [8080]")]
    fix = "use a number from 1 to 65535"
    wrong = [port for port in ports if not is_port(port)]
    return [Problem(where, f"{kinds.said(port)} is no port", fix) for port in wrong]


def one_host_a_port(config: LaunchConfig) -> list[Problem]:
    """There are as many hosts as ports, one of each for a server.

    Source: ``VLLMInferClient.__init__`` ("host and server_port must have same length").
    """
    hosts, ports = endpoint.hosts(config), endpoint.ports(config)
    if not hosts or not ports or len(hosts) == len(ports):
        return []
    what = f"names {_counted(len(hosts), 'host')}, but vllm_server_port names {_ports(ports)} "
    what += f"({config.where(endpoint.PORT_KEY)})"
    same = {str(host) for host in hosts}
    host = hosts[0] if len(same) == 1 else "HOST"
    fix = f"give one host for each port: [{', '.join([str(host)] * len(ports))}]"
    return [Problem(config.where(endpoint.HOST_KEY), what, fix)]


def sizes_match_devices(config: LaunchConfig) -> list[Problem]:
    """TP x DP is the number of devices in ``gpus.server``, for each of several servers."""
    devices, wanted = config.gpus.server, needed(config)
    if devices is None or wanted is None or len(devices) == wanted:
        return []
    if is_elsewhere(config, "server"):
        return []
    tp, dp = (config.rollout_server[key.rpartition(".")[2]] for key in (_TP, _DP))
    servers = endpoint.server_count(config)
    what = f"lists {_counted(len(devices), 'device')} ({', '.join(devices)}), but "
    what += "TP x DP is " if servers == 1 else f"servers x TP x DP is {servers} x "
    what += f"{tp} x {dp} ({_both(config.where(_TP), config.where(_DP))})"
    fix = f"list {wanted} devices"
    each = tp * servers
    if devices and tp > 0 and len(devices) % each == 0:
        fix += f", or set {config.spelled(_DP)} to {len(devices) // each}"
    return [Problem(config.where("gpus.server"), what, fix)]


def devices_are_disjoint(config: LaunchConfig) -> list[Problem]:
    """No device is listed twice, and none serves and learns at once."""
    problems: list[Problem] = []
    for half, devices in (("server", config.gpus.server), ("learner", config.gpus.learner)):
        repeated = sorted({d for d in devices or [] if (devices or []).count(d) > 1})
        if repeated:
            where = config.where(f"gpus.{half}")
            problems.append(
                Problem(where, f"lists {', '.join(repeated)} more than once", "list each once")
            )
    shared = sorted(set(config.gpus.server or ()) & set(config.gpus.learner or ()))
    if shared and not any(is_elsewhere(config, half) for half in ("server", "learner")):
        problems.append(
            Problem(
                config.where("gpus.learner"),
                f"shares device {', '.join(shared)} with gpus.server",
                "give each half its own devices",
            )
        )
    if config.gpus.learner == []:
        where = config.where("gpus.learner")
        problems.append(Problem(where, "is empty", "list at least one device"))
    return problems


def _of_host(config: LaunchConfig, where: str, host: Any) -> Problem | None:
    """What is wrong with one host of a rollout server."""
    if host in endpoint.LOCAL_HOSTS:
        return None
    if not isinstance(host, str) or not host.strip():
        return Problem(where, f"{kinds.said(host)} is no host", f"set it to {_local(config)}")
    if config.role == "learner":
        return None
    if config.role == "server":
        what = f"the server listens on {host}, whoever reaches it there can use it"
        fix = f"keep strangers out, or set it to {_local(config)}"
        return Problem(where, what, fix, Severity.WARNING)
    what = f"{kinds.said(host)} is not this machine, where the rollout server must be"
    fix = f"set it to {_local(config)}, or start the halves apart with role=server and role=learner"
    return Problem(where, what, fix)


def _local(config: LaunchConfig) -> str:
    """The loopback address for each server."""
    return f"[{', '.join(['127.0.0.1'] * endpoint.server_count(config))}]"


def _ports(ports: Sequence[Any]) -> str:
    return f"{_counted(len(ports), 'port')} ({', '.join(map(str, ports))})"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _both(first: str, second: str) -> str:
    """Two places; what they share is said once."""
    file, _, key = second.rpartition(": ")
    same = file == first.rpartition(": ")[0]
    return f"{first} and {key if same else second}"
