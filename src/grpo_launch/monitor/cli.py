"""``grpo-runs``: parse the command line, run a command, errors become one line and a status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from grpo_launch.errors import ConfigError
from grpo_launch.execute import command
from grpo_launch.execute.console import complain
from grpo_launch.monitor import arguments, completion, listing, logs, prune, status, stop
from grpo_launch.monitor.context import Context
from grpo_launch.runs.find import LATEST


def main() -> int:
    """Run the command line of this process; returns the exit status.

    A mistake prints one line, ``error: <where>: <what>, <fix>``;
    ``HYDRA_FULL_ERROR=1`` brings the traceback back.
    """
    return command.run(lambda: run(sys.argv[1:]), complain)


def script() -> None:
    """The console script ``grpo-runs``."""
    sys.exit(main())


def run(words: Sequence[str]) -> int:
    """Run one command line; returns the exit status.

    Raises:
        LaunchError: what is wrong.
        SystemExit: after the help.
    """
    if words[:1] == [completion.FLAG]:
        print(completion.answer(words[1:]))
        return 0
    options = arguments.parse(words)
    context = Context.current(options.runs)
    as_json: bool = options.json
    if options.command == "list":
        return listing.run(context, as_json=as_json)
    if options.command == "status":
        return status.run(context, options.run, as_json=as_json)
    if options.command == "logs":
        wanted = logs.Wanted(options.process, options.lines, options.attempt, options.follow)
        return logs.run(context, options.run, wanted, as_json=as_json)
    if options.command == "stop":
        word = None if options.all else options.run or LATEST
        sweep = options.sweep or options.all
        return stop.run(context, word, kill=options.kill, sweep=sweep, as_json=as_json)
    if options.command == "prune":
        choice = _choice(options)
        return prune.run(context, choice, dry=options.dry_run, yes=options.yes, as_json=as_json)
    if options.command == "reload":
        from grpo_launch.monitor import reload

        wanted = reload.Wanted(options.directory, options.version, options.pause)
        return reload.run(context, options.run, wanted, as_json=as_json)
    from grpo_launch.monitor import watch  # rich takes longer than all else together

    return watch.run(context, options.run, as_json=as_json)


def _choice(options: argparse.Namespace) -> prune.Choice:
    """Which runs ``prune`` is to remove.

    Raises:
        ConfigError: nothing says which, or a state is none.
    """
    if options.keep is None and options.older_than is None and options.state is None:
        fix = "say --keep N, --older-than 7d or --state failed"
        raise ConfigError("command line", "nothing says which runs are to go", fix)
    states = prune.STATES if options.state is None else tuple(options.state.split(","))
    for state in states:
        if state not in prune.STATES:
            raise ConfigError("--state", f"{state} is no end", f"say {', '.join(prune.STATES)}")
    older_than = 0.0 if options.older_than is None else prune.seconds(options.older_than)
    return prune.Choice(options.keep or 0, older_than, states, options.with_checkpoints)
