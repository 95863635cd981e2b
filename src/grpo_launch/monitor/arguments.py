"""The command line of ``grpo-runs``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from grpo_launch import __version__
from grpo_launch.errors import ConfigError
from grpo_launch.monitor.detail import LAUNCHER
from grpo_launch.monitor.prune import STATES
from grpo_launch.plan import LEARNER, SERVER
from grpo_launch.runs.find import LATEST
from grpo_launch.transfer import MODES, WAIT

_USUAL = re.compile(rf"{SERVER}(_\d+)?|{LEARNER}|{LAUNCHER}")
"""What alone, without a run beside it, is the name of a process."""

_RUN = """\
RUN is "latest" (the default), an id, the beginning of one, an experiment (its newest
run), EXPERIMENT/ID, or the path of a run directory.
"""

_DESCRIPTION = """\
Find, show, follow, stop and remove the runs that grpo_launch started.
"""

_EPILOG = f"""\
{_RUN}
examples:
  grpo-runs list
  grpo-runs watch
  grpo-runs logs summary_1024 learner -f
  grpo-runs stop 20261121-063643
  grpo-runs prune --older-than 7d --state failed,interrupted --dry-run

completion: eval "$(grpo-runs -sc install=bash)", or zsh for bash

exit status: 0 done, 2 the command line is wrong, 3 this machine does not let it happen,
4 a server must be restarted
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line."""
        raise ConfigError("command line", message, f"see {self.prog} --help")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; ``command`` is the name of the subcommand.

    Raises:
        ConfigError: it is wrong.
        SystemExit: it asked for help or the version.
    """
    parser, _ = _parsers()
    options, more = parser.parse_known_args(arguments)
    if options.command == "logs":
        # argparse takes words before and behind an option for different arguments.
        options.words += [word for word in more if not word.startswith("-")]
        more = [word for word in more if word.startswith("-")]
        _sort_out(options)
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if options.command == "stop" and options.all and options.run is not None:
        raise ConfigError("--all", f"contradicts {options.run}", "say one of them")
    return options


def _sort_out(options: argparse.Namespace) -> None:
    """Tell a run from a log: both may be left out."""
    words: list[str] = options.words
    places = [i for i in (-1, 0) if words and _USUAL.fullmatch(words[i])]
    places += [-1] if len(words) > 1 else []
    options.process = words.pop(places[0]) if places else None
    if len(words) > 1:
        what = f"{words[1]} is one word too many"
        raise ConfigError("command line", what, "see grpo-runs logs --help")
    options.run = words[0] if words else LATEST


OF_A_RUN = ("status", "logs", "stop", "watch", "reload")
"""The subcommands that take a run."""


def helps() -> dict[str, str]:
    """The help of each subcommand."""
    return {name: parser.format_help() for name, parser in _parsers()[1].items()}


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    """The parser of a command line, and those of its subcommands."""
    parser = _Parser(
        prog="grpo-runs",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"grpo_launch {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    shared = _Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON (docs/runs.md)")
    shared.add_argument(
        "--runs", metavar="DIR", default="runs", help="where the runs are (default: runs)"
    )
    add = _Adder(commands, shared)
    add("list", "all runs, newest last")
    _run(add("status", "one run in full: processes, attempts, checkpoints, logs, metrics"))
    _logs(add("logs", "what its processes wrote, and go on to write", _LOGS))
    _stop(add("stop", "end a run; returns when nothing of it is left", _STOP))
    _run(add("watch", "one run, live; without a terminal once", _WATCH))
    _reload(add("reload", "let the servers of a run serve other weights", _RELOAD))
    _prune(add("prune", "remove the directories of runs that have ended", _PRUNE))
    return parser, dict(commands.choices)


class _Adder:
    """Adds subcommands with the options that all of them have."""

    def __init__(self, commands: argparse._SubParsersAction[_Parser], shared: _Parser) -> None:
        self._commands = commands
        self._shared = shared

    def __call__(self, name: str, summary: str, more: str = "") -> _Parser:
        """Add a subcommand; its help is the summary, then ``more``."""
        return self._commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=more or None,
            parents=[self._shared],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )


_WHICH = "latest{}, an id or its beginning, an experiment, EXPERIMENT/ID, a path"


def _run(parser: argparse.ArgumentParser, default: str | None = LATEST) -> None:
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default=default, help=_WHICH.format(" (default)")
    )


_LOGS = """\
Without a process the last lines of all are printed; launcher is what the launcher of a
run in the background said. A process with another name is given after its run. -f goes on
until the run has ended, across restarts. Colours and other control sequences are left out,
and very long lines are cut. With --json each line is one JSON object.
"""


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "grpo-runs logs [RUN] [server|learner|launcher|NAME] [-f] [-n LINES] [--attempt N] ..."
    )
    parser.add_argument(
        "words",
        metavar="RUN",
        nargs="*",
        help="a run (default: latest), then server, learner or launcher",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run has ended")
    parser.add_argument(
        "-n",
        "--lines",
        metavar="LINES",
        type=_count,
        default=10,
        help="how many of the last lines of each (default: 10)",
    )
    parser.add_argument(
        "--attempt", metavar="N", type=_count, help="of that attempt (default: the newest)"
    )


_STOP = """\
The run's supervisor is asked, and ends everything in order: SIGTERM, then SIGKILL after
the run's own shutdown.term_s. Of a run whose supervisor is gone, what is still alive is
ended in the same way. Other processes are never touched. Of a sweep (--multirun) only this
member ends and the next one starts, unless --sweep or --all is said.
"""


def _stop(parser: argparse.ArgumentParser) -> None:
    _run(parser, None)
    parser.add_argument("--all", action="store_true", help="every run that goes on, on this host")
    parser.add_argument("--sweep", action="store_true", help="and the sweep that it belongs to")
    parser.add_argument("--kill", action="store_true", help="do not wait: SIGKILL at once")


_WATCH = """\
q or Ctrl-C leaves; the run goes on. The view ends when the run does.
"""

_PRUNE = """\
At least one of --keep, --older-than and --state says which runs go; with several, a run
goes when all of them say so. Runs that go on stay, whatever is said, and so do runs that
have checkpoints, without --with-checkpoints.
"""


def _prune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep", metavar="N", type=_count, help="keep the newest N runs of each experiment"
    )
    parser.add_argument(
        "--older-than", metavar="TIME", help="only runs that ended so long ago: 7d, 12h, 30m"
    )
    parser.add_argument(
        "--state", metavar="STATES", help=f"only runs in these states: {','.join(STATES)}"
    )
    parser.add_argument(
        "--with-checkpoints", action="store_true", help="also runs that have checkpoints"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--yes", action="store_true", help="do not ask")


_RELOAD = """\
DIR holds a model as transformers saves it, in safetensors. What does not fit the model that
is served is refused before a server hears of it. Then requests are paused, the weights are
loaded, the prefix cache is reset and requests go on; a prompt before and after tells
whether other weights are served. Each reload is recorded in the run's reload.jsonl.
"""


def _reload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=_WHICH.format(""))
    parser.add_argument("directory", metavar="DIR", help="the directory with the weights")
    parser.add_argument(
        "--version",
        metavar="NAME",
        default="",
        help="what the server calls the weights (default: the name of DIR)",
    )
    parser.add_argument(
        "--pause",
        metavar="MODE",
        choices=MODES,
        default=WAIT,
        help="requests in flight: wait for them (default), abort, or keep and go on with them",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no count")
    return int(text)
