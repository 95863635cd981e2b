"""Whether the process that a record names as its run's supervisor is one.

A record is a file: whoever can write it can name any process, and a copied or restored one may
fit a process of today. So nothing is signalled on its word. What the kernel says counts: a
supervisor was started with the run directory among its words, or, like the launcher before
it and a sweep, holds the run directory open.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from grpo_launch.supervise import proc

SUPERVISOR = "grpo_launch.execute.supervisor"
"""The program that supervises one run; see ``backends/supervisor.py``."""


def hold(directory: Path) -> int:
    """A descriptor of a run directory, for its supervisor to keep until its end."""
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def is_proven(directory: Path, pid: int) -> bool:
    """Whether the process ``pid`` supervises the run in ``directory``, as far as can be seen."""
    run = os.path.realpath(directory)
    words = proc.words(pid)
    is_supervisor = any(f"import {SUPERVISOR} as " in word for word in words)
    named = (os.path.realpath(word) for word in words if word.startswith("/"))
    return (is_supervisor and run in named) or run in _open_files(pid)


def _open_files(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                yield os.readlink(f"/proc/{pid}/fd/{name}")
