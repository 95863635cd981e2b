"""Where a test session writes: below a directory of its own, as does whatever it starts.

pytest's ``tmp_path`` is one such place. The others are what programs choose themselves: temporary
files and sockets, caches and settings in the home directory, the launcher's port locks.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOR_PROGRAMS = ("TMPDIR", "TMUX_TMPDIR", "GRPO_LAUNCH_LOCKS")
"""What every program needs that a test starts, however little else it is told."""

OF_TOOLS = ("__pycache__", ".pytest_cache", ".ruff_cache", "models")
"""In a clone; the test runner's, and what the set-up scripts make."""


@functools.cache
def environment() -> Mapping[str, str]:
    """The variables of a program with a bare environment, also where a test emptied its own."""
    return {name: os.environ[name] for name in FOR_PROGRAMS if name in os.environ}


def enter() -> Path:
    """Make the session's directory and name it to all that look at the environment.

    It is short, for sockets: their names have 107 bytes at most.
    """
    where = tempfile.gettempdir()
    directory = Path(tempfile.mkdtemp(prefix="grpo-"))
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", where)  # which keeps what failing tests left
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "pip", "pip.conf")
    if settings.is_file():
        os.environ.setdefault("PIP_CONFIG_FILE", str(settings))  # says where packages come from
    for name in ("HOME", *FOR_PROGRAMS):
        os.environ[name] = str(directory)
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    # What it works out of Python's characters and our constants stays, two seconds a process; it
    # keeps no examples, see tests/effort.py.
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(ROOT / ".pytest_cache" / "hypothesis")
    tempfile.tempdir = None  # it is looked up once
    return directory


def leave(directory: Path) -> None:
    """Remove it."""
    shutil.rmtree(directory, ignore_errors=True)


def in_the_clone() -> set[str]:
    """Files of the clone that git does not track, apart from those of tools."""
    words = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "--others", "-z"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return {
        name
        for name in done.stdout.split("\0")[:-1]
        if not name.startswith(".venv") and not set(OF_TOOLS) & set(name.split("/"))
    }


def locks_of(directory: Path, base: Path = Path("/tmp")) -> list[str]:
    """Locks where real runs have theirs, in ``base``, of runs below ``directory``."""
    found: list[str] = []
    for lock in base.glob(f"grpo_launch-{os.geteuid()}/port-*"):
        try:
            run = lock.read_text()
        except OSError:  # its run has ended
            continue
        if run.startswith(f"{directory}/"):
            found.append(f"{lock} of {run}")
    return found
