"""The rules on the rollout servers' addresses, and on who gets which devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from grpo_launch.config import endpoint, kinds, loops
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.engines.base import engine
from grpo_launch.planning.devices import is_elsewhere, needed
from grpo_launch.planning.listening import is_port


@rule(when=endpoint.has_servers)
def vllm_server_host_is_valid(context: Context) -> list[Problem]:
    """``rlhf.vllm_server_host`` names hosts, one of them of this machine where servers start.

    With ``role=learner`` each server may be anywhere, and with the others all but one. An
    address that is not loopback is one that was asked for: others can reach it.
    """
    config = context.config
    hosts = endpoint.hosts(config)
    where = config.where(endpoint.address_key(config))
    if not hosts:
        return [Problem(where, "names no host", f"set it to {_local(config)}")]
    found = (_of_host(config, where, host) for host in hosts)
    problems = [problem for problem in dict.fromkeys(found) if problem is not None]
    starts = config.starts_servers and config.role != "learner"
    if starts and not any(p.severity is Severity.ERROR for p in problems):
        problems += _of_machines(config, where, hosts)
    return problems


@rule(when=endpoint.has_servers)
def vllm_server_port_is_valid(context: Context) -> list[Problem]:
    """``rlhf.vllm_server_port`` names ports, 1 to 65535: one rollout server for each.

    Of several servers, two terminals that are not told could mean different ones.
    """
    config = context.config
    ports = endpoint.ports(config)
    key = endpoint.keys(config).port
    where, said = config.where(key), endpoint.said(config, key)
    if endpoint.urls(config):
        return []  # a URL has a port
    if said == [] or (said is None and len(ports) > 1):
        return [Problem(where, "names no port", "set it to [8080]")]
    fix = "use a number from 1 to 65535"
    wrong = [port for port in ports if not is_port(port)]
    return [Problem(where, f"{kinds.said(port)} is not a port", fix) for port in wrong]


@rule
def one_host_per_port(context: Context) -> list[Problem]:
    """There are as many hosts as ports, one of each for a server.

    Source: ``VLLMInferClient.__init__`` ("host and server_port must have same length").
    """
    config = context.config
    hosts, ports = endpoint.hosts(config), endpoint.ports(config)
    if not hosts or not ports or len(hosts) == len(ports):
        return []
    keys = endpoint.keys(config)
    what = f"names {kinds.counted(len(hosts), 'host')}, "
    what += f"but {keys.port.rpartition('.')[2]} names {_ports(ports)} "
    what += f"({config.where(keys.port)})"
    same = {str(host) for host in hosts}
    host = hosts[0] if len(same) == 1 else "HOST"
    fix = f"give one host for each port: [{', '.join([str(host)] * len(ports))}]"
    return [Problem(config.where(keys.host), what, fix)]


@rule
def server_devices_match_tp_times_dp(context: Context) -> list[Problem]:
    """TP x DP is the number of devices in ``gpus.server``, for each of several servers.

    More of them stay idle: an error where ``custom.extra.rollout_server`` is the form, whose
    contract this is, else a warning.
    """
    config = context.config
    serves = engine(config.engine.name)
    sizes, keys = serves.sizes(config.rollout_server), serves.size_keys
    tp, dp = sizes.tensor_parallel, sizes.data_parallel
    devices, wanted = config.gpus.server, needed(config)
    if devices is None or wanted is None or len(devices) == wanted:
        return []
    if config.role == loops.UPDATE:
        return []  # it starts no servers, the devices are for other roles
    if is_elsewhere(config, "server") or any("," in device for device in devices):
        return []  # on another machine, or several in one text: device_ids_are_ids reports it
    names = [name for name in (keys.tensor_parallel, keys.data_parallel) if name]
    places = [f"rollout_server.{name}" for name in names if name in config.rollout_server]
    servers, every = len(endpoint.numbers_here(config)), endpoint.server_count(config)
    what = f"lists {kinds.counted(len(devices), 'device')} ({', '.join(devices)}), but "
    counted = "servers" if servers == every else "servers of this machine"
    what += "TP x DP is " if every == 1 else f"{counted} x TP x DP is {servers} x "
    what += f"{tp} x {dp}" + (_where(config, places) or f" (the default of {serves.product})")
    fix = f"list {kinds.counted(wanted, 'device')}"
    each = tp * servers if tp else 0
    if devices and each > 0 and keys.data_parallel and len(devices) % each == 0:
        key = config.spelled(f"rollout_server.{keys.data_parallel}")
        fix += f", or set {key} to {len(devices) // each}"
    idle = len(devices) > wanted and not _has_contract(config)
    severity = Severity.WARNING if idle else Severity.ERROR
    return [Problem(config.where("gpus.server"), what, fix, severity)]


@rule
def devices_are_disjoint(context: Context) -> list[Problem]:
    """No device is listed twice, and none serves and learns at once.

    A server alone that others can reach may have its learner on another machine.
    """
    config = context.config
    problems: list[Problem] = []
    for half, devices in (("server", config.gpus.server), ("learner", config.gpus.learner)):
        repeated = sorted({d for d in devices or [] if (devices or []).count(d) > 1})
        if repeated:
            where = config.where(f"gpus.{half}")
            problems.append(
                Problem(where, f"lists {', '.join(repeated)} more than once", "list each once")
            )
    shared = sorted(set(config.gpus.server or ()) & set(config.gpus.learner or ()))
    apart = any(is_elsewhere(config, half) for half in ("server", "learner"))
    if shared and not apart and not loops.shares_devices(config):
        what = f"shares device {', '.join(shared)} with gpus.server"
        fix, severity = "give server and learner their own devices", Severity.ERROR
        if loops.is_loop(config):
            fix += ", or say loop.swap=restart"
        if _may_learn_elsewhere(config):
            fix, severity = f"{fix}, if they are on one machine", Severity.WARNING
        problems.append(Problem(config.where("gpus.learner"), what, fix, severity))
    if config.gpus.learner == [] and config.trains:
        where = config.where("gpus.learner")
        problems.append(Problem(where, "is empty", "list at least one device"))
    return problems


SERVER_RULES: Sequence[Rule] = (
    vllm_server_host_is_valid,
    vllm_server_port_is_valid,
    one_host_per_port,
    server_devices_match_tp_times_dp,
    devices_are_disjoint,
)
"""In the order in which their findings are reported."""


def _of_host(config: LaunchConfig, where: str, host: Any) -> Problem | None:
    """What is wrong with one host of a rollout server."""
    if not isinstance(host, str) or not host.strip():
        return Problem(where, f"{kinds.said(host)} is not a host", f"set it to {_local(config)}")
    if host.startswith("[") and host.endswith("]"):
        return Problem(where, f"{host} is a host of a URL", f"write it as {host.strip('[]')}")
    if host in endpoint.LOCAL_HOSTS:
        return None
    if host in endpoint.EVERY_ADDRESS and config.role != "server":
        what = f"{host} is an address to listen on (all of a machine), not one to connect to"
        fix = "name the server's machine, " if config.role == "learner" else ""
        return Problem(where, what, f"{fix}or set it to {_local(config)}".removeprefix("or "))
    if config.role == "learner" or not endpoint.is_here(config, host):
        return None
    what = f"the server listens on {host}, anyone who can reach it can use it"
    fix = "restrict access to it"
    if all(endpoint.is_here(config, other) for other in endpoint.hosts(config)):
        fix += f", or set it to {_local(config)}"
    return Problem(where, what, fix, Severity.WARNING)


def _of_machines(config: LaunchConfig, where: str, hosts: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with whose machines they are, where a launch starts those of this one."""
    if endpoint.are_elsewhere(config):
        names = [*dict.fromkeys(map(kinds.said, hosts))]
        what = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not this machine, "
        if config.role == "server":
            what += "so there is no server to start"
            fix = f"start role=server on that machine, or set it to {_local(config)}"
        else:
            one = "the rollout server" if len(hosts) == 1 else "one of the rollout servers"
            what += f"where {one} must be"
            fix = f"set it to {_local(config)}, "
            fix += "or start them separately with role=server and role=learner"
        yield Problem(where, what, fix)
    every = [host for host in hosts if host in endpoint.LOCAL_HOSTS]
    named = [host for host in hosts if host in config.own_hosts]
    if config.role == "server" and every and named:
        what = f"{every[0]} is every machine's own address, so this one starts its server as well "
        fix = "name the machine that is meant"
        yield Problem(where, f"{what}as that of {named[0]}", fix, Severity.WARNING)


def _may_learn_elsewhere(config: LaunchConfig) -> bool:
    loopback = any(host in endpoint.LOCAL_HOSTS for host in endpoint.hosts(config))
    return config.role == "server" and not loopback


def _has_contract(config: LaunchConfig) -> bool:
    return config.legacy is None or config.legacy.server_below_custom


def _local(config: LaunchConfig) -> str:
    """The loopback address for each server."""
    return f"[{', '.join(['127.0.0.1'] * endpoint.server_count(config))}]"


def _ports(ports: Sequence[Any]) -> str:
    return f"{kinds.counted(len(ports), 'port')} ({', '.join(map(str, ports))})"


def _where(config: LaunchConfig, keys: Sequence[str]) -> str:
    """`` (PLACE and PLACE)``: the file of two keys is named once."""
    if not keys:
        return ""
    first, *others = map(config.where, keys)
    file = first.rpartition(": ")[0]
    rest = (item.removeprefix(f"{file}: ") for item in others)
    return f" ({' and '.join([first, *rest])})"
