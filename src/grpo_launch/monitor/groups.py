"""The control groups of a run, seen from outside (cgroups(7), version 2)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from grpo_launch.supervise import cgroup, proc


def of(entries: Iterable[proc.Entry]) -> list[str]:
    """The directories of the control groups that were made for the run of these processes."""
    found: set[str] = set()
    for entry in entries:
        with contextlib.suppress(OSError, StopIteration, ValueError):
            with open("/proc/self/mountinfo", encoding="utf-8") as file:
                fields = [line.split() for line in file]
            mount = next(f[4] for f in fields if f[f.index("-") + 1] == "cgroup2")
            with open(f"/proc/{entry.pid}/cgroup", encoding="utf-8") as file:
                path = next(line[3:].rstrip("\n") for line in file if line.startswith("0::"))
            group = Path(mount, path.lstrip("/")).parent
            if group.name.startswith("grpo_launch-"):
                found.add(str(group))
    return sorted(found)


def kill(directories: Iterable[str]) -> None:
    """SIGKILL to every process of these groups at once."""
    for directory in directories:
        cgroup.kill(directory)
