"""``role=advise run=RUN``: what a run's own seconds say about its split of devices.

It reads a run that there is, so nothing is composed: ``run`` is a word here, where every other
role has a node of that name. The command line is read by :func:`main`, before composition.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from grpo_launch.advice import findings, text
from grpo_launch.base.host import Host
from grpo_launch.config.choices import OutputFormat
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError, PreflightError, one_line
from grpo_launch.runs import find, record

ROLE = "role=advise"

_OPTIONS = {
    "role": "advise",
    "run": "latest, an id or its beginning, an experiment, EXPERIMENT/ID, or a directory",
    "output": " or ".join(OutputFormat.__members__),
}


def main(arguments: Sequence[str], cwd: Path) -> int:
    """Print the advice on the run that the command line names; returns the status, 0.

    Args:
        arguments: ``role=advise``, ``run=RUN``, and perhaps ``output=json``.
        cwd: whose ``runs/`` is meant, and what a path is relative to.

    Raises:
        ConfigError: the command line is wrong, or RUN means no run, or several.
        PreflightError: the run has nothing to advise on.
    """
    options = _options(arguments)
    run = _find(options["run"], cwd)
    try:
        state = one_line(str(record.read(run.directory)["state"]))
    except (OSError, ValueError, KeyError):
        raise PreflightError(run.name, f"{record.NAME} cannot be read", "name another") from None
    found = findings.of_run(one_line(run.name), state, run.directory)
    if options["output"] == OutputFormat.json.value:
        body = json.dumps(findings.as_json(found), indent=2, ensure_ascii=False)
        sys.stdout.write(f"{body}\n")
    else:
        sys.stdout.write(text.of(found))
    return 0


def run(config: LaunchConfig, host: Host) -> NoReturn:
    """The callback of the group ``role``: only a sweep over roles comes here.

    Raises:
        ConfigError: always.
    """
    del config, host
    raise ConfigError(ROLE, "reads a run, not an experiment", f"say {ROLE} run=RUN alone")


def _find(word: str, cwd: Path) -> find.Found:
    try:
        return find.one(word, cwd / find.ROOT, cwd)
    except ConfigError as error:
        if find.runs(cwd / find.ROOT):
            raise ConfigError(f"command line: run={word}", error.what, error.fix) from None
        what, fix = f"{find.ROOT}/ holds no runs", "name the directory of a run"
        raise ConfigError(f"command line: run={word}", what, fix) from None


def _options(arguments: Sequence[str]) -> dict[str, str]:
    """The values by key.

    Raises:
        ConfigError: a word is no option of this role, or ``run`` is missing.
    """
    said = {"output": OutputFormat.text.value}
    for argument in arguments:
        if argument.startswith("role=") and argument != ROLE:
            raise ConfigError("command line: role", "is said twice", f"say {ROLE} alone")
        key, equals, value = argument.partition("=")
        if key not in _OPTIONS or not equals:
            raise _unknown(key)
        if not value:
            raise ConfigError(f"command line: {key}", "has no value", f"say {_OPTIONS[key]}")
        said[key] = value.strip("'\"") if key == "run" else value
    if said["output"] not in OutputFormat.__members__:
        what = f"{said['output']!r} is no form of output"
        raise ConfigError("command line: output", what, f"say {_OPTIONS['output']}")
    if "run" not in said:
        raise ConfigError("command line", "run= is missing", f"say run=RUN: {_OPTIONS['run']}")
    return said


def _unknown(key: str) -> ConfigError:
    where = f"command line: {key}"
    if key == "config":
        fix = "remove it, or say run=EXPERIMENT for its newest run"
        return ConfigError(where, "means nothing here, the run itself says it", fix)
    close = get_close_matches(key, _OPTIONS, 1)
    fix = f"did you mean {close[0]}=?" if close else f"remove it, say {ROLE} run=RUN [output=json]"
    return ConfigError(where, f"is no option of {ROLE}", fix)
