"""Processes as ``/proc`` tells of them (proc(5))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple


class Entry(NamedTuple):
    """One line of ``/proc/<pid>/stat``.

    A named tuple: the guards import this module, and every megabyte of theirs is
    held for as long as a training runs.

    Attributes:
        pid, ppid, group, session: ids; ``session`` is the pid of the session's leader.
        state: ``R``, ``S``, ``Z`` (ended, not yet reaped) and so on.
        threads: how many it has.
        start_time: clock ticks since boot.
    """

    pid: int
    ppid: int
    group: int
    session: int
    state: str
    threads: int
    start_time: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie holds nothing but its number.

        Where only the first thread has ended, the process looks like a zombie and is none.
        """
        return self.state not in "ZX" or self.threads > 1


def read(pid: int) -> Entry | None:
    """The entry of ``pid``, or None where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read(4096)
    except (OSError, ValueError):
        return None
    # The second field is the command in parentheses and may hold anything.
    fields = stat[stat.rindex(b")") + 2 :].split()
    ppid, group, session = (int(field) for field in fields[1:4])
    state, threads, start_time = fields[0].decode(), int(fields[17]), int(fields[19])
    return Entry(pid, ppid, group, session, state, threads, start_time)


def is_running(pid: int, start_time: int) -> bool:
    """Whether the process with that number and that start time is alive."""
    entry = read(pid)
    return entry is not None and entry.start_time == start_time and entry.alive


def everything() -> Iterator[Entry]:
    """Every process that this user can see."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (entry := read(int(name))) is not None:
            yield entry


def words(pid: int) -> list[str]:
    """The command line of ``pid``, as it was started or overwritten; empty where it has none."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().decode("utf-8", "replace").split("\0")
    return []


def command(pid: int) -> str:
    """The command line of ``pid``, or what the kernel calls it, or ``?``."""
    if line := " ".join(words(pid)).strip():
        return line
    path = f"/proc/{pid}/comm"
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return "?"


def environ(pid: int) -> list[bytes]:
    """The environment that ``pid`` was started with, ``NAME=value``; empty where it is hidden."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
    return []
