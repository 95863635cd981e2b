"""The processes of one attempt as events of one loop, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.errors import InterruptedRunError, PreflightError
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import Gate, ProcessSpec, called
from grpo_launch.runs import record
from grpo_launch.supervise import events, guard, proc, spawn, tree
from grpo_launch.supervise.probing import Answer, Probing
from grpo_launch.supervise.process import GuardedProcess

TICK_S = 0.5
"""How often logs are looked at; no event waits for it."""

_INIT = 1
"""The pid to which the orphans of a whole container come."""

STACKS_S = 60.0
"""How long the end of a stalled run waits for the stacks of its processes."""

WITNESS = "witness"
"""A guard with nothing to guard: one alone could be killed together with the launcher."""


@dataclass(frozen=True)
class Lost:
    """A process of an engine that has ended while its server goes on.

    Attributes:
        server: the server's name.
        title: of the process, and its pid.
    """

    server: str
    title: str


class Processes:
    """Starts guarded processes and questions, waits for their news, and ends them all.

    Args:
        around: what the attempts of the run share.
        logs: the directory of this attempt's logs, absolute; it exists.
        look: called after each event and at least every :data:`TICK_S` seconds.
    """

    def __init__(self, around: Surroundings, logs: Path, look: Callable[[], None]) -> None:
        self._around = around
        self._plan = around.plan
        self._logs = logs
        self._look = look
        self._guarded: dict[str, GuardedProcess] = {}
        self._probing: dict[str, Probing] = {}
        self._helpers: set[int] = set()
        # A shell that became the launcher (exec) may have had children before.
        self._strangers = tree.children()
        self._vital: dict[int, Lost] = {}
        self._lost: Lost | None = None
        self._is_stopping = False
        self._stopped: list[str] = []

    def start(self, spec: ProcessSpec) -> GuardedProcess:
        """Let the guard of that name start its process.

        Raises:
            PreflightError: it cannot be started.
            InterruptedRunError: a signal asked for the end.
        """
        process = self._guarded[spec.name]
        process.go()
        while process.pid == 0 and process.failure is None and process.is_there:
            self.turn()
        if process.failure is not None:
            raise PreflightError(
                spec.name, f"cannot be run: {process.failure}", "check runtime=..."
            )
        with self._around.noting():
            self._around.record.process(process)
        return process

    def follow(self, around: Surroundings, logs: Path) -> None:
        """Take what is guarded from now on from another plan; what runs already goes on.

        Args:
            around: with that plan.
            logs: the directory of the logs of what is guarded from now on, absolute; it exists.
        """
        self._around, self._plan, self._logs = around, around.plan, logs

    def end(self, process: GuardedProcess) -> None:
        """End what is left of a process that others outlive, and its guard; note how it ended.

        Raises:
            InterruptedRunError: a signal asked for the end; the guard is still there.
        """
        process.stop(self._plan.deadlines)
        while process.is_there:
            self.turn()
        process.dismiss()
        while process.is_guarded:
            self.turn()
        with self._around.noting():
            self._around.record.process(process)
        for pid in process.survivors:
            self._around.console.say(f"warning: pid {pid} does not end, not even when killed")
        process.close()
        del self._guarded[process.name]

    def guard(self, name: str) -> None:
        """Start a guard for what the plan has under that name; it waits for :meth:`start`.

        Raises:
            PreflightError: it cannot be started.
        """
        try:
            self._guarded[name] = GuardedProcess(
                name,
                self._plan.process(name),
                self._around.environ,
                self._around.paths,
                self._plan.deadlines,
                self._logs / f"{name}.log",
            )
        except OSError as error:
            raise _cannot_start(f"guard of the {name}", error) from None

    def watch_vital(self, name: str, titles: tuple[str, ...]) -> None:
        """Watch the processes below ``name`` whose title begins with one of ``titles``."""
        for entry in tree.descendants(self._guarded[name].guard_pid):
            title = proc.command(entry.pid)
            if title.startswith(titles):
                with contextlib.suppress(OSError):
                    lost = Lost(name, f"{title.split()[0]}, pid {entry.pid}")
                    self._vital[os.pidfd_open(entry.pid)] = lost

    @property
    def guarded(self) -> Mapping[str, GuardedProcess]:
        """The processes that have a guard, by name, those included that are not started yet."""
        return self._guarded

    @property
    def lost(self) -> Lost | None:
        """The first vital process that has ended, or None."""
        return self._lost

    # Events

    def turn(self, timeout_s: float = TICK_S) -> None:
        """Wait for an event or a tick, and take it in.

        Raises:
            InterruptedRunError: a signal asked for the end.
        """
        running = len(self._running())
        self._take_in(timeout_s)
        if running <= len(self._running()):  # an end is acted on first
            self._look()
        if self._around.signals.received:
            raise InterruptedRunError(self._around.signals.received[0])

    def _take_in(self, timeout_s: float) -> None:
        guarded = {p.fd: p for p in self._guarded.values() if p.is_guarded}
        fds: set[int] = {*guarded, self._around.signals.fd}
        fds |= {probing.fd for probing in self._probing.values()}
        fds |= self._vital.keys()
        readable = events.wait(fds, timeout_s)
        for fd in readable & self._vital.keys():
            lost = self._vital.pop(fd)
            self._lost = self._lost or lost
            os.close(fd)
        for fd in readable & guarded.keys():
            guarded[fd].take_news()
        if self._around.signals.fd in readable:
            self._around.signals.drain()
        tree.reap(self._collected)

    def _collected(self, pid: int, _status: int) -> None:
        for process in self._guarded.values():
            if process.guard_pid == pid:
                process.guard_ended()
        for probing in self._probing.values():
            if probing.pid == pid:
                probing.ended()
        self._helpers.discard(pid)

    # Questions to the servers

    def ask(self, gate: Gate, *, only_generate_s: float | None = None) -> None:
        """Ask a server, unless it is being asked already; see :class:`Probing`.

        A server that was started here must own its port.

        Raises:
            PreflightError: the program that asks cannot be started.
        """
        if gate.server in self._probing:
            return
        server = self._guarded.get(gate.server)
        guard_pid = 0 if server is None else server.guard_pid
        spec = self._plan.process(gate.server)
        try:
            asked = Probing(
                gate,
                self._around.environ,
                guard_pid,
                only_generate_s,
                moves=spec is not None and spec.signs.moves,
            )
        except OSError as error:
            raise _cannot_start("gate", error) from None
        self._probing[gate.server] = asked

    def answers(self) -> dict[str, Answer]:
        """What has been answered since the last call, by server."""
        there = events.wait([probing.fd for probing in self._probing.values()], 0)
        answered: dict[str, Answer] = {}
        for name, probing in list(self._probing.items()):
            if probing.fd in there:
                answered[name] = probing.answer()
                self._probing.pop(name).give_up()
        return answered

    def give_up(self) -> None:
        """Forget the questions under way."""
        while self._probing:
            self._probing.popitem()[1].give_up()

    def dump_stacks(self, path: Path, *, wait: bool) -> None:
        """Write what all processes are doing to ``path``.

        Raises:
            OSError: the program that does it cannot be started.
            InterruptedRunError: a signal asked for the end.
        """
        guards = [str(p.guard_pid) for p in self._guarded.values() if p.spec is not None]
        words = spawn.program("grpo_launch.supervise.stacks", str(path), *guards)
        pid = spawn.spawn(words, self._around.environ, ())
        self._helpers.add(pid)
        until = time.monotonic() + STACKS_S
        while wait and pid in self._helpers and time.monotonic() < until:
            self.turn(0.1)

    # The end

    def stop(self) -> None:
        """Let all guards end their processes at once; calling it again is harmless."""
        if not self._is_stopping:
            self._is_stopping = True
            self._stopped = self._running()
            for process in sorted(self._guarded.values(), key=lambda p: not p.is_running):
                process.stop(self._plan.deadlines)

    def _running(self) -> list[str]:
        return [process.name for process in self._guarded.values() if process.is_running]

    def tear_down(self) -> None:
        """End everything; note how it ended."""
        say = self._around.console.say
        self.stop()
        self.give_up()
        if self._stopped:  # said and noted after the fact: a disk or a terminal may hold that up
            say(f"stopping {' and '.join(map(called, self._stopped))}")
            with self._around.noting():
                self._around.record.enter(record.STOPPING)
        # Whatever lost its guard has come back to this process, the nearest subreaper.
        survivors = self._end_orphans(self._guards)
        self._wait_for_guards()
        survivors |= self._end_orphans(lambda: survivors | self._idle_guards())
        # Only now: should this process be killed, each guard looks after the other's tree.
        for process in self._guarded.values():
            process.dismiss()
        survivors |= self._end_orphans(lambda: survivors)
        for process in self._guarded.values():
            if process.pid:
                with self._around.noting():
                    stopped = process.name in self._stopped
                    self._around.record.process(process, stopped=stopped)
            process.close()
            survivors |= set(process.survivors)
        for fd in self._vital:
            os.close(fd)
        self._vital.clear()
        for pid in sorted(survivors):
            say(f"warning: pid {pid} does not end, not even when killed")

    def _wait_for_guards(self) -> None:
        """Wait until each guard has ended its tree."""
        deadlines = self._plan.deadlines
        until = time.monotonic() + deadlines.term_s + 2 * deadlines.kill_s
        hurried = False
        while self._guards() - self._idle_guards() and time.monotonic() < until:
            self._take_in(TICK_S)
            if self._is_in_a_hurry() and not hurried:
                hurried = True
                for process in self._guarded.values():
                    process.hurry()

    def _guards(self) -> set[int]:
        return {p.guard_pid for p in self._guarded.values() if p.is_guarded}

    def _idle_guards(self) -> set[int]:
        """The guards that have ended their trees and wait to be dismissed."""
        return {p.guard_pid for p in self._guarded.values() if p.is_guarded and p.has_stopped}

    def _end_orphans(self, spared: Callable[[], set[int]]) -> set[int]:
        """End what descends from this process, but not from ``spared``; what could not be ended."""

        def members() -> list[proc.Entry] | None:
            if not tree.reap(self._collected):
                return None
            strangers = {s.pid for s in self._strangers if proc.is_running(s.pid, s.start_time)}
            others = spared() | strangers
            found = tree.descendants(os.getpid(), others)
            # Their orphans come to this process as well, and in a container everybody's.
            if self._strangers or os.getpid() == _INIT:
                found = [entry for entry in found if self._is_ours(entry)]
            mixed = others or self._strangers or os.getpid() == _INIT
            return found or (None if mixed else [])

        deadlines = self._plan.deadlines
        left = tree.stop(members, deadlines.term_s, deadlines.kill_s, self._is_in_a_hurry)
        return {entry.pid for entry in left}

    def _is_ours(self, entry: proc.Entry) -> bool:
        started = {*self._guards(), *self._helpers}
        return entry.pid in started or guard.belongs(
            entry, self._around.paths.directory, self._around.paths.names
        )

    def _is_in_a_hurry(self) -> bool:
        return self._around.signals.received.count(signal.SIGINT) > 1


def _cannot_start(what: str, error: OSError) -> PreflightError:
    return PreflightError(what, f"cannot be started ({error.strerror})", "look at ulimit -n and -u")
