"""``python -m grpo_launch.stages.swap``: the servers of a run get the weights of a directory.

Its status tells a loop how to go on: 0, all of them serve the weights; 75 (``EX_TEMPFAIL``), they
must be restarted to do so, which also ends what some may serve and others not; any other, the
weights were refused before a server was asked, and all serve what they did.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from grpo_launch.errors import ConfigError
from grpo_launch.runs import plans, reading
from grpo_launch.stages import journal, program
from grpo_launch.stages.journal import REFUSED, RELOADED, Result
from grpo_launch.stages.reload import Server, reload

NEEDS_RESTART = 75


def swap(run: Path, model: Path, version: str) -> list[Result]:
    """Let one server of a run after the other serve a model, until one does not.

    Args:
        run: the run directory; has ``plan.json``, and gets the journal.
        model: the directory with the weights.
        version: what the servers call them.

    Returns:
        What became of each that was asked.

    Raises:
        ConfigError: there is no plan, or one of its servers takes no new weights.
        PreflightError: another reload of the run is under way.
        NotReadyError: no header can hold the API key.
        OSError: the journal cannot be written.
    """
    results: list[Result] = []
    record = run / journal.NAME
    for server in [*_servers(run)]:
        results.append(reload(_comparable(server, record), model, record, version=version))
        if results[-1].outcome != RELOADED:
            break
    return results


def status(results: Sequence[Result]) -> int:
    """What a loop is told of the servers that were asked, at least one."""
    if results[-1].outcome == RELOADED:
        return 0
    is_untouched = len(results) == 1 and results[-1].outcome == REFUSED
    return ConfigError.status if is_untouched else NEEDS_RESTART


def _servers(run: Path) -> Iterator[Server]:
    try:
        plan, _ = plans.read(run)
    except (OSError, ValueError) as error:
        what = f"{plans.NAME} cannot be read ({error})"
        raise ConfigError(str(run), what, "name the directory of a run") from None
    urls = plan.server_urls
    gates = [gate for gate in plan.gates if gate.url in urls]
    if not gates:
        raise ConfigError(str(run), "has no rollout server", "name another run")
    for gate in gates:
        server = Server.planned(plan, gate, _since(run), os.environ)
        if server is None:
            what = f"{gate.server} takes no new weights while it runs"
            raise ConfigError(str(run), what, "set loop.swap=restart")
        yield server


def _comparable(server: Server, record: Path) -> Server:
    """A server whose first model may have been removed since, with the one that it took last."""
    last = journal.state(record, server.name, server.since).last
    if server.model.is_dir() or last is None or last.outcome != RELOADED:
        return server
    return replace(server, model=Path(last.path))


def _since(run: Path) -> float:
    """When the servers that run now were started, seconds since the epoch.

    A loop writes their plan when it has started them, and has its record elsewhere.
    """
    try:
        recorded, _ = reading.read(run)
    except (OSError, ValueError):
        return (run / plans.NAME).stat().st_mtime
    return recorded.attempts[-1].started if recorded.attempts else recorded.started


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its status."""
    parser = program.Arguments(prog="swap", description=__doc__)
    parser.add_argument("run", type=Path, help="the run directory")
    parser.add_argument("--model", type=Path, required=True, help="the weights to serve")
    parser.add_argument("--version", required=True, help="what the servers call them")
    return program.run(parser, argv, _run)


def _run(arguments: argparse.Namespace) -> int:
    results = swap(arguments.run.absolute(), arguments.model, arguments.version)
    for result in results:
        for line in result.problems:
            program.say(f"error: {line}")
        for line in result.warnings:
            program.say(f"warning: {line}")
        if result.outcome == RELOADED:
            program.say(f"{result.server} serves {result.path} as {result.version}")
    return status(results)


if __name__ == "__main__":
    raise SystemExit(main())
