"""``env.file``: variables that a person keeps in a file instead of a shell, secrets above all.

They are read when something is about to be started, and live in the environment alone: no
plan, record or command line gets them.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from grpo_launch.base import files
from grpo_launch.base.host import Host
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import PreflightError

_AT_MOST = 1 << 20
"""Bytes; what is longer holds no variables."""

_PATIENCE_S = 60.0
"""A program behind a pipe, ``env.file=<(pass show x)``, may ask the person first."""


def filled(config: LaunchConfig, host: Host, say: Callable[[str], None]) -> Host:
    """``host`` with the variables of ``env.file`` that the caller has not set, or left blank.

    Args:
        config: as composed.
        host: the caller's surroundings; a relative path is relative to its directory.
        say: told when others can read the file.

    Raises:
        PreflightError: the file cannot be read, or a line of it is none.
    """
    if not config.env.file:
        return host
    path = host.cwd / config.env.file
    where = config.where("env.file")
    try:
        text = files.from_person(path, _AT_MOST, _PATIENCE_S).decode("utf-8")
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        what = f"{config.env.file} cannot be read ({reason})"
        raise PreflightError(where, what, "correct the path, or remove the key") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        fix = f"run chmod 600 {config.env.file}"
        say(f"warning: {where}: others can read {config.env.file}, {fix}")
    found = read(text, config.env.file)
    blank = {name: value for name, value in found.items() if not host.environ.get(name, "").strip()}
    return replace(host, environ={**host.environ, **blank})


def read(text: str, name: str) -> Mapping[str, str]:
    """The variables of a dotenv file; ``$`` in a value is a dollar sign.

    Args:
        text: of the file.
        name: of the file, for messages; they never show what a line holds.

    Raises:
        PreflightError: a line is neither blank, a comment nor ``NAME=VALUE``.
    """
    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        said = binding.original.string
        line = binding.original.line + said[: len(said) - len(said.lstrip())].count("\n")
        if binding.key is None and not binding.error:
            continue  # a comment
        no_name = binding.key is None or not binding.key.isidentifier()
        if binding.error or no_name or binding.value is None or "\0" in binding.value:
            fix = "write NAME=VALUE, quoted where it holds spaces or #"
            raise PreflightError(f"{Path(name)}:{line}", "is no NAME=VALUE line", fix)
        found[str(binding.key)] = binding.value
    return found
