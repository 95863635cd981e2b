"""Starting the launcher's own small programs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import grpo_launch

_PACKAGES = os.path.dirname(os.path.dirname(os.path.realpath(grpo_launch.__file__)))


def program(module: str, *arguments: str, bare: bool = False) -> list[str]:
    """The command that calls ``module.main()`` in an interpreter of its own.

    The working directory stays off ``sys.path``: a user's ``json.py`` there is no
    business of ours.

    Args:
        module: dotted name of a module of this package with a function ``main``.
        arguments: become ``sys.argv[1:]``.
        bare: leave site-packages and the environment's settings out (smaller, faster);
            for programs that need the standard library only.
    """
    flags = ["-I", "-S"] if bare else []
    drop = "" if bare else "del sys.path[0]; "
    # Behind the standard library: site-packages may hold backports with its names.
    place = "next((i for i, p in enumerate(sys.path) if p.endswith('-packages')), len(sys.path))"
    code = f"import sys; {drop}sys.path.insert({place}, {_PACKAGES!r}); import {module} as m; "
    return [sys.executable, *flags, "-c", f"{code}sys.exit(m.main())", *arguments]


def into_log(path: str) -> list[tuple[Any, ...]]:
    """File actions: standard output and error are appended to ``path``, there is no input."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, path, flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]


def spawn(
    command: Sequence[str],
    environ: Mapping[str, str],
    files: Sequence[tuple[Any, ...]],
    *,
    executable: str | None = None,
) -> int:
    """Start ``command`` in a session of its own, with no signal blocked or ignored.

    Not ``subprocess``: this process is a subreaper and collects every child itself.

    Args:
        command: the name that it goes by, and its arguments.
        environ: the whole environment.
        files: file actions of :func:`os.posix_spawn`.
        executable: the file, absolute; None: it goes by it.

    Returns:
        The pid.

    Raises:
        OSError: it cannot be started.
    """
    return os.posix_spawn(
        executable or command[0],
        list(command),
        environ,
        file_actions=files,
        setsid=True,
        setsigmask=(),
        setsigdef=(
            signal.SIGINT,
            signal.SIGTERM,
            signal.SIGHUP,
            signal.SIGQUIT,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ),
    )
