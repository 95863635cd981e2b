"""The ports of a run: HTTP and weight-sync port of each server, and torchrun's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from grpo_launch.config import endpoint, kinds
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.planning.listening import MASTER_PORT_KEY, is_port, of_services


@rule
def ports_are_valid(context: Context) -> list[Problem]:
    """Group ports and the master port are ports, 1 to 65535."""
    config = context.config
    problems = [
        Problem(config.where(key), f"{value!r} is not a port", "use a number from 1 to 65535")
        for key, value in _optional(config)
        if not is_port(value)
    ]
    return list(dict.fromkeys(problems))


@rule
def one_group_port_per_server(context: Context) -> list[Problem]:
    """``vllm_server_group_port``, where it is given, has one port for each server.

    Source: ``VLLMClient.__init__`` ("group_port must be int or list of length
    num_servers"); the command line makes a list of a single number too.
    """
    config = context.config
    count, said = endpoint.server_count(config), endpoint.group_ports(config)
    if len(said) == count or not endpoint.keys(config).group_port:
        return []
    what = f"has {kinds.counted(len(said), 'port')} for {kinds.counted(count, 'server')}"
    free = ", ".join(str(endpoint.GROUP_PORT + number) for number in range(count))
    fix = f"give one for each, or remove it for {free}"
    return [Problem(config.where(endpoint.keys(config).group_port), what, fix)]


@rule
def ports_are_distinct(context: Context) -> list[Problem]:
    """No two ports of the run are the same on one machine."""
    config = context.config
    keys = endpoint.keys(config)
    hosts = [_machine(config, host) for host in endpoint.hosts(config)] or [_HERE]
    of_server = zip_longest(hosts, endpoint.ports(config), endpoint.group_ports(config))
    named: list[tuple[str, str, Any]] = []
    for host, http, group in of_server:
        named.append((host or hosts[-1], keys.port, http))
        named.append((host or hosts[-1], keys.group_port, group))
    # Where torchrun listens may be the machine of any of them.
    named += [(host, MASTER_PORT_KEY, config.learner.master_port) for host in dict.fromkeys(hosts)]
    named += [(_HERE, key, number) for number, key in of_services(config)]
    seen: dict[tuple[str, int], str] = {}
    problems: list[Problem] = []
    for host, key, value in named:
        if not is_port(value):
            continue
        place = (host, int(float(value)))
        if other := seen.get(place):
            what = f"port {place[1]} is also {other.removeprefix('train.')}"
            what = f"names port {place[1]} twice" if other == key else what
            problems.append(Problem(config.where(key), what, "choose another port"))
        seen.setdefault(place, key)
    return list(dict.fromkeys(problems))


_HERE = endpoint.LOCAL_HOSTS[0]

PORT_RULES: Sequence[Rule] = (ports_are_valid, one_group_port_per_server, ports_are_distinct)


def _machine(config: LaunchConfig, host: Any) -> str:
    return _HERE if endpoint.is_here(config, host) else str(host)


def _optional(config: LaunchConfig) -> list[tuple[str, Any]]:
    key = endpoint.keys(config).group_port
    named = [(key, port) for port in endpoint.group_ports(config)]
    if config.learner.master_port is not None:
        named.append((MASTER_PORT_KEY, config.learner.master_port))
    return named
