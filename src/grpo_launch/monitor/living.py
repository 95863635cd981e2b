"""What of a run is alive on this machine.

A process is of a run when it carries the run's mark in its environment, when its
output goes to a log of an attempt, when the record names it by pid and start time,
or when it descends from one of these. The mark alone is not enough: a process that
sets its title writes over its environment (setproctitle, which vLLM's engines use).
The record can name any process: it is believed by who shows a run, not by who ends one.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from grpo_launch.runs.reading import Identity, Record
from grpo_launch.supervise import logs, proc
from grpo_launch.supervise.guard import GUARD_MARK, RUN_MARK

_MARKS = (f"{RUN_MARK}=".encode(), f"{GUARD_MARK}=".encode())


@dataclass(frozen=True)
class Living:
    """A living process of a run.

    Attributes:
        name: the process of the plan that it belongs to, or None where nothing tells.
        entry: the process.
    """

    name: str | None
    entry: proc.Entry

    @property
    def pid(self) -> int:
        """Its number."""
        return self.entry.pid

    @property
    def command(self) -> str:
        """Its command line, now."""
        return proc.command(self.entry.pid)


@dataclass(frozen=True)
class Machine:
    """The processes of this machine at one moment, by the run that they name.

    Attributes:
        entries: the living processes, by pid.
        marked: real path of a run, and the processes that carry its mark.
        writers: log of a process, and the processes whose standard output or error it is.
        guards: real path of a run, and the living guards of it, by name.
    """

    entries: dict[int, proc.Entry] = field(default_factory=dict)
    marked: dict[str, set[int]] = field(default_factory=dict)
    writers: dict[logs.Log, set[int]] = field(default_factory=dict)
    guards: dict[str, dict[str, proc.Entry]] = field(default_factory=dict)

    def of(
        self,
        directory: Path,
        recorded: Record | None,
        names: Container[str],
        *,
        believes: bool = True,
    ) -> list[Living]:
        """The living processes of a run, without its supervisor and its guards.

        Args:
            directory: the run directory.
            recorded: its record, where it can be read.
            names: of the processes in its plan.
            believes: whether a process is of the run because the record names it.
        """
        run = os.path.realpath(directory)
        guards = self.guards_of(directory, recorded if believes else None)
        marked = dict.fromkeys(self.marked.get(run, ()), None)
        known = {**marked, **self._named(recorded, None if believes else marked)}
        known |= self._written(run, names)
        children: dict[int, list[int]] = {}
        for entry in self.entries.values():
            children.setdefault(entry.ppid, []).append(entry.pid)
        waiting = [(pid, name) for pid, name in known.items() if name is not None]
        waiting += [(entry.pid, name) for name, entry in guards.items()]
        waiting += [(pid, None) for pid, name in known.items() if name is None]
        found: dict[int, str | None] = {}
        while waiting:
            pid, name = waiting.pop(0)
            if found.get(pid) is None:
                found[pid] = name
                waiting += [(c, name) for c in children.get(pid, ()) if c not in found]
        spared = {entry.pid for entry in guards.values()} | {os.getpid()}
        if recorded is not None and self._is_there(recorded.supervisor):
            spared.add(recorded.supervisor.pid)
        return [
            Living(name, self.entries[pid])
            for pid, name in sorted(found.items())
            if pid not in spared and pid in self.entries
        ]

    def guards_of(self, directory: Path, recorded: Record | None) -> dict[str, proc.Entry]:
        """The living guards of a run, by name."""
        found = dict(self.guards.get(os.path.realpath(directory), {}))
        for name, process in recorded.processes.items() if recorded else ():
            if self._is_there(process.guard):
                found[name] = self.entries[process.guard.pid]
        return found

    def _written(self, run: str, names: Container[str]) -> dict[int, str | None]:
        """The processes that write a log of an attempt, with their names in the plan."""
        found: dict[int, str | None] = {}
        for log, pids in self.writers.items():
            if log.run == run and log.name in names:
                found.update(dict.fromkeys(pids, log.name))
        return found

    def _named(
        self, recorded: Record | None, among: Container[int] | None
    ) -> dict[int, str | None]:
        """The living processes that the record names; ``among``: no others than these."""
        processes = recorded.processes.items() if recorded else ()
        return {
            process.pid: name
            for name, process in processes
            if self._is_there(process) and (among is None or process.pid in among)
        }

    def _is_there(self, identity: Identity) -> bool:
        entry = self.entries.get(identity.pid)
        return entry is not None and entry.start_time == identity.start_time


def look() -> Machine:
    """Look at every process that this user can see, once."""
    machine = Machine()
    real: dict[str, str] = {}
    for entry in proc.everything():
        if not entry.alive:
            continue
        machine.entries[entry.pid] = entry
        for log in logs.written_by(entry.pid):
            machine.writers.setdefault(log, set()).add(entry.pid)
        for name, value in _marks(entry.pid):
            run, guarded = (value, "") if name == RUN_MARK else value.rpartition(":")[::2]
            run = real.setdefault(run, os.path.realpath(run))
            if name == RUN_MARK:
                machine.marked.setdefault(run, set()).add(entry.pid)
            else:
                machine.guards.setdefault(run, {})[guarded] = entry
    return machine


def _marks(pid: int) -> Iterator[tuple[str, str]]:
    for variable in proc.environ(pid):
        if variable.startswith(_MARKS):
            name, _, value = os.fsdecode(variable).partition("=")
            if value:
                yield name, value
