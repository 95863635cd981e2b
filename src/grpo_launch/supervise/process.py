"""One process of a plan, behind its guard."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_launch.plan import Deadlines, ProcessSpec
from grpo_launch.supervise import guard, proc, spawn
from grpo_launch.supervise.proxies import bypassing

_KEEP_ENVIRON = {"SPT_NOENV": "1"}
"""Keeps setproctitle, which vLLM's processes call, from overwriting ``/proc/<pid>/environ``, and
with it the mark of the run (setproctitle's README, "Environment variables")."""


@dataclass(frozen=True)
class RunPaths:
    """Where a guard finds what concerns the whole run.

    Attributes:
        directory: the run directory, absolute.
        exit_file: gets the exit status of a run whose launcher was killed, or None.
        groups: the control group directory of the run, or None.
        names: of the processes that the run may start.
    """

    directory: str
    exit_file: str | None = None
    groups: str | None = None
    names: tuple[str, ...] = ()

    @property
    def record(self) -> str:
        """The run's record."""
        return f"{self.directory}/run.json"


class GuardedProcess:
    """A process and the guard that it runs below.

    Attributes:
        name: ``server``, ``learner``, or ``witness`` (a guard with nothing to guard).
        guard_pid, guard_start_time: of the guard.
        fd: readable when there is news; see :meth:`take_news`.
        pid, start_time: of the process itself; 0 until the guard has started it.
        status: its exit status, 128 + N for signal N, or None while it runs.
        ended_at: when it ended, in seconds of the monotonic clock; 0 until then.
        failure: why it could not be started, or None.
        is_guarded: whether the guard is there.
        has_stopped: whether the guard has ended its tree, as far as it could.
        survivors: pids that did not end, not even when killed.
    """

    def __init__(
        self,
        name: str,
        spec: ProcessSpec | None,
        environ: Mapping[str, str],
        run: RunPaths,
        deadlines: Deadlines,
        log: Path | None = None,
    ) -> None:
        """Start the guard; it waits for :meth:`go`.

        Args:
            name: of the process.
            spec: what to start then; None: only watch over the run.
            environ: the caller's environment.
            run: paths of the run.
            deadlines: of a teardown that nobody asks for.
            log: where its output goes, absolute; its directory exists.

        Raises:
            OSError: the guard cannot be started.
        """
        self.name = name
        self.spec = spec
        self.pid = self.start_time = 0
        self.status: int | None = None
        self.ended_at = 0.0
        self.failure: str | None = None
        self.is_guarded = True
        self.has_stopped = False
        self.survivors: list[int] = []
        self._unread = b""
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.guard_pid = spawn.spawn(
                spawn.program("grpo_launch.supervise.guard", bare=True),
                {**environ, guard.GUARD_MARK: f"{run.directory}:{name}"},
                [(os.POSIX_SPAWN_DUP2, theirs.fileno(), guard.CONTROL)],
            )
        self.fd = self._socket.fileno()
        entry = proc.read(self.guard_pid)
        self.guard_start_time = entry.start_time if entry else 0
        self._say(orders(name, spec, environ, run, deadlines, log))

    def take_news(self) -> None:
        """Take in what the guard has said; call it when ``fd`` is readable."""
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.is_guarded = False
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            if "started" in message:
                self.pid, self.start_time = message["started"]
            self.failure = message.get("failed", self.failure)
            self.status = message.get("exited", self.status)
            self.ended_at = message.get("at", self.ended_at)
            self.has_stopped = self.has_stopped or "stopped" in message
            self.survivors = message.get("stopped", self.survivors)

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.pid != 0 and self.status is None and self.is_guarded

    @property
    def is_there(self) -> bool:
        """Whether the guard can still start the process or watches over it."""
        return self.is_guarded and not self.has_stopped

    def go(self) -> None:
        """Let the guard start the process."""
        self._say({"go": True})

    def stop(self, deadlines: Deadlines) -> None:
        """Ask the guard to end its tree."""
        self._say({"stop": {"term_s": deadlines.term_s, "kill_s": deadlines.kill_s}})
        if self.is_guarded:  # not collected yet, so the pid is still its own
            os.kill(self.guard_pid, signal.SIGCONT)  # it may have been stopped itself

    def hurry(self) -> None:
        """Ask the guard not to wait for the deadline."""
        self._say({"hurry": True})

    def dismiss(self) -> None:
        """Let the guard end itself, once nothing of the run is left to guard."""
        self._say({"dismissed": True})

    def guard_ended(self) -> None:
        """Note that the guard was collected: what it has not said will never be said."""
        while self.is_guarded:
            self.take_news()

    def close(self) -> None:
        """Close the socket; a guard that is still there ends its tree then."""
        self._socket.close()

    def _say(self, message: Mapping[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.is_guarded = False


def orders(
    name: str,
    spec: ProcessSpec | None,
    environ: Mapping[str, str],
    run: RunPaths,
    deadlines: Deadlines,
    log: Path | None,
) -> dict[str, Any]:
    """What a guard is told first. Secrets travel here, over a socket without a name."""
    own: dict[str, Any] = {"argv": []}
    if spec is not None:
        env = {**_KEEP_ENVIRON, **environment(spec, environ), guard.RUN_MARK: run.directory}
        executable = shutil.which(spec.argv[0], path=env.get("PATH")) or spec.argv[0]
        own = {
            "argv": spec.argv,
            "executable": os.path.join(spec.cwd, executable),
            "cwd": spec.cwd,
            "env": env,
            "log": str(log),
            "done": spec.done,
            "group": f"{run.groups}/{name}" if run.groups else None,
        }
    supervisor = proc.read(os.getpid())
    return {
        **own,
        "deadlines": {"term_s": deadlines.term_s, "kill_s": deadlines.kill_s},
        "run": run.directory,
        "record": run.record,
        "exit_file": run.exit_file,
        "groups": run.groups,
        "names": run.names,
        # In clock ticks since boot; all processes of the run are younger than this one.
        "since": supervisor.start_time if supervisor else 0,
    }


def environment(spec: ProcessSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a process: defaults < the caller's < what the plan sets.

    Where it has a proxy, ``no_proxy`` and ``NO_PROXY`` get the hosts that need none.
    """
    merged = {**spec.env_defaults, **environ, **spec.env}
    merged.update(bypassing(merged, spec.direct_hosts))
    if spec.path:
        merged["PATH"] = os.pathsep.join([*spec.path, environ.get("PATH", os.defpath)])
    return merged


def bypassed(specs: Iterable[ProcessSpec], environ: Mapping[str, str]) -> list[str]:
    """The hosts that processes reach without the proxy that their environment has."""
    seen = ((spec, {**spec.env_defaults, **environ, **spec.env}) for spec in specs)
    hosts = (
        h for spec, env in seen if bypassing(env, spec.direct_hosts) for h in spec.direct_hosts
    )
    return [*dict.fromkeys(hosts)]
