"""``grpo-runs reload``: let the servers of a run serve other weights."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from grpo_launch.errors import ConfigError, NotReadyError, PreflightError, one_line
from grpo_launch.monitor import living, planned
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.listing import FORMAT
from grpo_launch.monitor.status import short
from grpo_launch.monitor.view import View, view
from grpo_launch.plan import LaunchPlan
from grpo_launch.runs import find
from grpo_launch.stages import journal, program
from grpo_launch.stages.journal import FAILED, REFUSED, RELOADED, RESTART, Result
from grpo_launch.stages.reload import Server, reload

_STATUSES = {
    RELOADED: 0,
    REFUSED: ConfigError.status,
    FAILED: PreflightError.status,
    RESTART: NotReadyError.status,
}


@dataclass(frozen=True)
class Wanted:
    """What is to be served.

    Attributes:
        directory: with the weights, as it was said.
        version: what the server calls them; empty: the name of the directory.
        mode: what becomes of requests in flight, of ``transfer.MODES``.
    """

    directory: str
    version: str
    mode: str


def run(context: Context, word: str, wanted: Wanted, *, as_json: bool) -> int:
    """Let one server of a run after the other serve other weights, until one does not.

    Returns:
        The exit status, see ``_STATUSES``.

    Raises:
        ConfigError: the word means no run, or several, or its servers take no new weights.
        PreflightError: it does not go on here, or another reload of it is under way.
        NotReadyError: no header can hold the API key.
    """
    found = find.one(word, context.root, context.cwd)
    shown = view(found, living.look(), with_step=False)
    servers = _servers(shown, planned.read(found.directory).plan)
    record = found.directory / journal.NAME
    results: list[Result] = []
    with program.ended_by_signals():  # so that a paused server goes on
        for server in servers:
            directory = context.cwd / wanted.directory
            results.append(
                reload(server, directory, record, version=wanted.version, mode=wanted.mode)
            )
            if results[-1].outcome != RELOADED:
                break
    for result in results:
        for line in result.problems:
            context.say(f"error: {line}")
        for line in result.warnings:
            context.say(f"warning: {line}")
        if result.outcome == RELOADED and not as_json:
            context.out(f"{found.name}: {_sentence(result, str(context.cwd))}")
    if as_json:
        context.json({"format": FORMAT, "run": found.name, "servers": [*map(asdict, results)]})
    return _STATUSES[results[-1].outcome]


def _servers(shown: View, plan: LaunchPlan) -> list[Server]:
    """The servers of a run that goes on, all of which take new weights."""
    name, recorded = shown.found.name, shown.recorded
    if recorded is None:
        raise PreflightError(name, shown.problem or "has no record", "name another run")
    if not shown.is_here:
        raise PreflightError(name, "runs on another host", "say it there")
    if shown.is_over:
        raise PreflightError(name, f"is over ({shown.state})", "start it again")
    urls = plan.server_urls
    gates = [gate for gate in plan.gates if gate.url in urls]
    if not gates:
        raise ConfigError(name, "has no rollout server", "name another run")
    since = recorded.attempts[-1].started if recorded.attempts else recorded.started
    servers: list[Server] = []
    for gate in gates:
        server = Server.planned(plan, gate, since, os.environ)
        if server is None:
            what = f"{gate.server} takes no new weights while it runs"
            raise ConfigError(name, what, "start it with the weights")
        servers.append(server)
    return servers


def _sentence(result: Result, cwd: str) -> str:
    seconds = "" if result.seconds is None else f", requests waited {result.seconds:.2f} s"
    path = short(result.path, cwd)
    return one_line(f"{result.server} serves {path} as {result.version}{seconds}")
