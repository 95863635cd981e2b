"""Run a Python file for one of its variables, in an interpreter of its own."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from grpo_launch.base import files

TIMEOUT_S = 30.0
"""Seconds that a file of a person gets."""

_AT_MOST = 2 << 20
_LAST = 8 << 10
_HERE = Path(__file__).resolve()


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Attributes:
        result: what ``python_value`` wrote; None where the process ended before that.
        status: its exit status, negative for a signal; None: it was ended after the time limit.
        output: the end of what it printed, on either stream.
    """

    result: dict[str, Any] | None
    status: int | None
    output: str


def evaluate(path: Path, names: Sequence[str], timeout_s: float) -> Outcome:
    """Run a file and take the first of these variables that it sets.

    It has the working directory and the environment of this process and no input, imports what
    lies beside it, and its ``__name__`` is not ``__main__``. What it starts ends with it.

    Args:
        path: the file, absolute.
        names: of the variables.
        timeout_s: seconds until it is ended.

    Raises:
        OSError: no process can be started.
    """
    import subprocess
    import tempfile

    program = [sys.executable, str(_HERE.with_name("python_value.py")), str(path)]
    with tempfile.TemporaryFile() as result, tempfile.TemporaryFile() as output:
        place = [str(_HERE.parents[2]), str(result.fileno())]
        process = subprocess.Popen(
            [*program, *place, *names],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(result.fileno(),),
            start_new_session=True,
        )
        try:
            ended = _ends(process.pid, timeout_s)
        finally:
            _end(process.pid)
            process.wait()
        status = process.returncode if ended else None
        return Outcome(_result(result) if ended else None, status, _end_of(output))


def _ends(pid: int, timeout_s: float) -> bool:
    """Whether a child ends in time; it is not collected, so that its group keeps its number."""
    import select

    descriptor = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)


def _end(pid: int) -> None:
    import signal

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _result(stream: BinaryIO) -> dict[str, Any] | None:
    stream.seek(0)
    try:
        value = files.loads(stream.read(_AT_MOST))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _end_of(stream: BinaryIO) -> str:
    length = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, length - _LAST))
    return stream.read().decode("utf-8", "replace").strip()
