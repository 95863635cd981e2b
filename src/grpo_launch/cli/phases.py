"""The old command line of the web agent, ``scripts/run.sh``: its options and keys become ours.

    python -m grpo_launch.cli.phases --data-path DIR --log-path DIR --rl-phase PHASE [KEY=VALUE...]

What each of them means is data (``config/compat/run_table.py``). The command that replaces it is
printed, and run in this process.
"""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
from pathlib import Path

from grpo_launch import cli
from grpo_launch.base import redaction
from grpo_launch.base.host import Host
from grpo_launch.config.compat import run_line, run_table
from grpo_launch.config.compat.run_table import Option, RunTable
from grpo_launch.execute import command
from grpo_launch.execute.console import complain

_WIDTH = 80
"""Columns."""

_NAMES = 26
"""Columns of an option and its value."""

_USAGE = """\
usage: bash scripts/run.sh --data-path DIR --log-path DIR --rl-phase PHASE
                           [OPTIONS] [KEY=VALUE...]

{options}

{keys}

documentation: docs/run_sh.md
"""


_KEY = f"{'  KEY=VALUE':<{_NAMES}}  "
_BELOW = " " * len(_KEY)
_KEYS = "an override of the launcher (dry_run=true), or a key of the old configuration: "


def main() -> int:
    """Run the old command line of this process; returns the exit status."""
    arguments = sys.argv[1:]
    table = run_table.load()
    if not arguments or {"-h", "--help"} & set(arguments):
        return command.run(lambda: _help(table, bool(arguments)), complain)
    translated: list[str] = []

    def body() -> int:
        translated.extend(_translate(arguments, table))
        return 0

    status = command.run(body, complain)
    if status:
        return status
    sys.argv[1:] = translated
    return cli.main()


def usage(table: RunTable) -> str:
    """What ``--help`` prints."""
    lines = [line for option in table.options.values() for line in _described(option)]
    roots = ", ".join(f"{root}.*" for root in table.nodes_of_keys)
    keys = textwrap.fill(f"{_KEYS}{roots}", _WIDTH, initial_indent=_KEY, subsequent_indent=_BELOW)
    return _USAGE.format(options="\n".join(lines), keys=keys)


def _help(table: RunTable, asked: bool) -> int:
    print(usage(table), end="")
    return 0 if asked else 2


def _described(option: Option) -> list[str]:
    name = f"  {option.name} {option.takes}".rstrip()
    lines = textwrap.wrap(option.help, _WIDTH - len(_BELOW))
    return [f"{name:<{_NAMES}}  {lines[0]}", *(f"{_BELOW}{line}" for line in lines[1:])]


def _translate(arguments: list[str], table: RunTable) -> tuple[str, ...]:
    host = Host.current()
    around = run_line.Surroundings(
        cwd=host.cwd,
        environ=host.environ,
        devices=host.visible_devices(),
        is_directory=os.path.isdir,
        is_file=Path.is_file,
    )
    result = run_line.translate(arguments, table, around)
    hidden = redaction.secrets({**host.environ, **redaction.of_arguments(result.overrides)})
    for warning in result.warnings:
        print(redaction.masked(f"warning: {warning}", hidden), file=sys.stderr)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    said = shlex.join(["python", "-m", "grpo_launch", *result.overrides])
    print(redaction.masked(f"the same as: {said}", hidden), file=sys.stderr)
    return result.overrides


if __name__ == "__main__":
    sys.exit(main())
