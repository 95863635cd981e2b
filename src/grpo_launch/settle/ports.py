"""Free ports for a run, so that several fit on one machine.

A run of both halves has an HTTP port and a weight-sync port for each server, torchrun's, and
those that an engine gives to itself. Nobody else needs to know them, so those that the
experiment does not say are chosen; with ``ports=auto`` the others as well, also for a server
alone. Each is the first free one from a number that is always the same, or from the one that
the experiment says, so that a person can guess them and a dry run shows the same again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from grpo_launch.config import endpoint
from grpo_launch.config.amend import amended
from grpo_launch.config.env import of_half
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.schema import PortPolicy
from grpo_launch.engines.base import engine
from grpo_launch.errors import ConfigError
from grpo_launch.learners.base import Particular, learner
from grpo_launch.plan import LEARNER, SERVER, ChosenPort, LaunchPlan
from grpo_launch.planning import substitution
from grpo_launch.planning.listening import MASTER_PORT_KEY, is_port, of_services

GROUP_START = 28500
"""Not 51216, the usual one: that is among the ports that Linux gives to outgoing connections."""
MASTER_START = 29500
"""torchrun's own default."""
OWN_START = 30000
"""Of the ports that an engine gives to itself."""

_RENDEZVOUS = ("MASTER_PORT", "NNODES")
"""Variables of a learner that shares its rendezvous with other machines."""


@dataclass(frozen=True)
class Wanted:
    """A port to be chosen.

    Attributes:
        key: that takes it; empty: it goes to an engine in a variable.
        start: where the search begins.
        count: how many in a row.
        server: the number of the server that it is for, of all, from 0.
    """

    key: str
    start: int
    count: int = 1
    server: int = 0


@dataclass(frozen=True)
class Chosen:
    """Ports that a run got.

    Attributes:
        config: with the ports.
        picks: what was wanted, and the number that it got.
        held: descriptors of the locks on them.
    """

    config: LaunchConfig
    picks: tuple[tuple[Wanted, int], ...] = ()
    held: tuple[int, ...] = ()

    @property
    def own(self) -> tuple[int, ...]:
        """The first of the ports that each engine of this machine gives to itself."""
        return tuple(number for wanted, number in self.picks if not wanted.key)

    @property
    def numbers(self) -> frozenset[int]:
        """The ports; of several in a row the first."""
        return frozenset(number for _, number in self.picks)

    def said(self) -> str:
        """The ports of this machine, as people read them."""
        found = endpoint.here(self.config)
        http = ", ".join(str(address.port) for address in found)
        group = ", ".join(str(a.group_port) for a in found if a.group_port is not None)
        master = self.config.learner.master_port
        parts = (f"HTTP {http}", group and f"weight sync {group}", master and f"torchrun {master}")
        return ", ".join(part for part in parts if part)

    def others(self) -> Chosen:
        """The same with other numbers, as nobody would start it."""
        picks = tuple((wanted, number + wanted.count) for wanted, number in self.picks)
        return Chosen(_with(self.config, picks), picks)


@contextlib.contextmanager
def chosen(
    config: LaunchConfig,
    parts: Sequence[str],
    environ: Mapping[str, str],
    run: str,
    *,
    hold: bool,
    look: bool = True,
) -> Generator[Chosen]:
    """Choose the ports of a run that nobody has said.

    Args:
        config: of the run; where a port of it is wrong, that is left to validation.
        parts: the processes to start, of ``server`` and ``learner``.
        environ: the caller's environment; a port that it says is kept.
        run: the run directory, for the messages of others.
        hold: lock them until the end of the block, and beyond it in a program that
            inherits the locks; else only look.
        look: whether a port must be free; else the search ends where it begins.

    Raises:
        ConfigError: the learner's server was started by another launcher.
        PreflightError: no port is free.
    """
    needs_servers = endpoint.has_servers(config)
    if parts == (LEARNER,) and config.ports is PortPolicy.auto and needs_servers:
        what = "ports=auto cannot know the ports of a server that was started elsewhere"
        fix = f"say ports=fixed and what role=server printed: {_override(config)}"
        raise ConfigError(config.where("ports"), what, fix)
    wanted = _wanted(config, parts, environ)
    if not wanted:
        yield Chosen(config)
        return
    with contextlib.ExitStack() as stack:
        picks: list[tuple[Wanted, int]] = []
        held: list[int] = []
        taken = {number for number, _ in of_services(config)}
        taken |= set() if config.ports is PortPolicy.auto else _said(config)
        for port in wanted:
            number, lock = _found(port, run, taken, hold=hold, look=look)
            taken.update(range(number, number + port.count))
            picks.append((port, number))
            if lock is not None:
                stack.callback(os.close, lock)
                held.append(lock)
        yield Chosen(_with(config, picks), tuple(picks), tuple(held))


def with_movable_ports(planned: Callable[[Chosen], LaunchPlan], choice: Chosen) -> LaunchPlan:
    """The plan of a run with chosen ports; it says which of them a restart may change.

    Args:
        planned: the plan of the same run with any ports.
        choice: what the run got.
    """
    plan = planned(choice)
    if "restart" not in (plan.recovery.on_failure, plan.watchdog.on_stall) or not choice.picks:
        return plan
    others = choice.others()
    pairs = zip(choice.picks, others.picks, strict=True)
    numbers = {number: other for (_, number), (_, other) in pairs}
    uses = substitution.uses(plan, planned(others), numbers)
    if uses is None:  # a program reads something else into them: a restart waits for these
        return plan
    movable = (
        ChosenPort(number, wanted.start, wanted.count, uses[number])
        for wanted, number in choice.picks
    )
    return replace(plan, chosen=tuple(movable))


def for_the_learner(config: LaunchConfig) -> str:
    """How a learner is told the ports of a server that is started alone."""
    found = endpoint.endpoints(config)
    said = _override(
        config,
        ",".join(str(address.port) for address in found),
        ",".join(str(address.group_port) for address in found),
    )
    return f"role=learner config={config.experiment} ports=fixed {said}"


def _override(config: LaunchConfig, http: str = "PORT", group: str = "PORT") -> str:
    keys = endpoint.keys(config)
    return f"'{keys.port}=[{http}]'" + (
        f" '{keys.group_port}=[{group}]'" if keys.group_port else ""
    )


def _found(
    port: Wanted, run: str, taken: set[int], *, hold: bool, look: bool
) -> tuple[int, int | None]:
    if look:
        from grpo_launch.supervise import free_ports  # not for a dry run

        return free_ports.first(port.start, port.count, run, taken=taken, hold=hold)
    number = port.start
    while not taken.isdisjoint(range(number, number + port.count)):
        number += port.count
    return number, None


def _wanted(config: LaunchConfig, parts: Sequence[str], environ: Mapping[str, str]) -> list[Wanted]:
    """The ports to choose; none where one is said wrong. Those of other machines are said there."""
    every = config.ports is PortPolicy.auto
    if SERVER not in parts or not (every or LEARNER in parts):
        return []
    keys, http, group = endpoint.keys(config), _http(config), endpoint.group_ports(config)
    if keys.group_port and len(http) != len(group):
        return []
    here = endpoint.numbers_here(config)
    found: list[tuple[str, Any, int]] = []
    if not endpoint.urls(config) and (every or endpoint.said(config, keys.port) is None):
        found += [(keys.port, http[number], number) for number in here]
    if keys.group_port and endpoint.said(config, keys.group_port) is None:
        found += [(keys.group_port, GROUP_START, number) for number in here]
    elif every and group:
        found += [(keys.group_port, group[number], number) for number in here]
    # One that is started in its own way is not told of torchrun's port.
    if LEARNER in parts and not isinstance(learner(config.learner.name), Particular):
        variables = _variables(config, LEARNER, environ)
        found += [(MASTER_PORT_KEY, port, 0) for port in _master(config, variables)]
    if not all(is_port(port) for _, port, _ in found):
        return []
    wanted = [Wanted(key, int(float(port)), server=number) for key, port, number in found]
    own = engine(config.engine.name).own_ports(config.rollout_server)
    if own is not None and own.variable not in _variables(config, SERVER, environ):
        wanted += [Wanted("", OWN_START, own.count, number) for number in here]
    return wanted


def _http(config: LaunchConfig) -> list[Any]:
    return endpoint.ports(config) or [endpoint.HTTP_PORT]


def _variables(config: LaunchConfig, half: str, environ: Mapping[str, str]) -> set[str]:
    """The names of all that a half finds in its environment."""
    own = of_half(config.env, half)
    return {*environ, *own.set, *own.defaults}


def _master(config: LaunchConfig, variables: Set[str]) -> Iterator[int]:
    """Where the search for torchrun's port begins, where it is to be chosen."""
    port = config.learner.master_port
    if port is not None and config.ports is PortPolicy.auto:
        yield port
    if port is None and variables.isdisjoint(_RENDEZVOUS):
        yield MASTER_START


def _said(config: LaunchConfig) -> set[int]:
    """The ports that the experiment says."""
    values: list[Any] = [config.learner.master_port]
    keys = endpoint.keys(config)
    for key, found in (
        (keys.url, endpoint.ports),
        (keys.port, endpoint.ports),
        (keys.group_port, endpoint.group_ports),
    ):
        values += [] if endpoint.said(config, key) is None else found(config)
    return {int(float(value)) for value in values if is_port(value)}


def _with(config: LaunchConfig, picks: Sequence[tuple[Wanted, int]]) -> LaunchConfig:
    master = config.learner.master_port
    keys = endpoint.keys(config)
    of_servers = {keys.port: _http, keys.group_port: endpoint.group_ports}
    values: dict[str, list[Any]] = {}
    for wanted, number in picks:
        if wanted.key == MASTER_PORT_KEY:
            master = number
        elif wanted.key:
            every = values.setdefault(wanted.key, [*of_servers[wanted.key](config)])
            every[wanted.server] = number
    return replace(amended(config, values), learner=replace(config.learner, master_port=master))
