"""The record of a run, ``run.json``: the truth at any moment, written as a whole.

    runs/<experiment>/<YYYYmmdd-HHMMSS>-<hex>/
        run.json          state, reason, per process: argv, pid + start time, exit
        plan.json         what was started
        config.yaml       the composed, resolved configuration
        overrides.yaml    the command line
        checkpoint_upload.json   what became an artifact, and how that went
        provenance.json   git commit and dirtiness, package versions, devices
        learner_arguments.yaml
        logs/server.log, logs/learner.log       links to those of the newest attempt;
                                                of several servers server_0.log, ...;
                                                of a service NAME.log
        logs/rehearsal.log              a link into the first attempt's
        logs/attempt_<N>/, logs/latest          one directory an attempt
        timing.jsonl      when the learner generated, synced weights, learned
        stop_asked        grpo-runs stop has asked for the end of this run, not of its sweep
        stacks/           of all processes, when the run stalled
        output/           what the learner writes
    runs/latest           a link to the newest run

The process that supervises the run writes it; where that process was killed, its
guards write that the run is lost, or done where the job had ended well (``status`` is 0
from then on). Where they were killed as well, or the power
went, a reader sees it: the supervisor is named by boot, pid and start time. On
another host nothing can be said of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_launch.base import atomic, codec
from grpo_launch.plan import LaunchPlan
from grpo_launch.supervise import guard, proc
from grpo_launch.supervise.process import GuardedProcess

if TYPE_CHECKING:
    from grpo_launch.runs.rehearsals import Verdict

STARTING = "starting"
WAITING = "waiting"
"""At the gate, for the rollout server."""
SERVING = "serving"
TRAINING = "training"
RESTARTING = "restarting"
"""Between two attempts."""
UPLOADING = "uploading"
"""The training has ended well, its checkpoint becomes an artifact."""
STOPPING = "stopping"
DONE = "done"
FAILED = "failed"
INTERRUPTED = "interrupted"
LOST = "lost"
"""The supervisor is gone, and did not write an end."""

FORMAT = 3
"""The version of ``run.json``."""

NAME = "run.json"

STOP_ASKED = "stop_asked"
"""An empty file in the run directory: what asked for the end meant this run alone."""

PRIVATE = 0o077
"""The umask of a run, the launcher's and the processes': logs hold prompts, metrics, paths."""


class RunRecord:
    """Writes the record of one run.

    Attributes:
        directory: the run directory, absolute.
        state: the record as it was last written.
    """

    def __init__(
        self, directory: Path, state: dict[str, Any], clock: Callable[[], float] = time.time
    ) -> None:
        self.directory = directory
        self.state = state
        self._clock = clock

    @staticmethod
    def new(plan: LaunchPlan, directory: Path, backend: str) -> RunRecord:
        """The record of a run that is about to start; nothing is written yet."""
        state: dict[str, Any] = {
            "format": FORMAT,
            "experiment": plan.experiment,
            "role": plan.role,
            "backend": backend,
            "state": STARTING,
            "reason": None,
            "status": None,
            "started": time.time(),
            "ended": None,
            "urls": plan.server_urls,
            "downgraded": list(plan.downgraded),
            "supervisor": _identity(os.getpid()),
            "attempt": 0,
            "attempts": [],
            "processes": {},
            "alarms": [],
        }
        return RunRecord(directory, state)

    def go_on(self) -> None:
        """Take over the attempts of the record that is in the directory, if there is one.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no record.
        """
        earlier: dict[str, Any] = {}
        with contextlib.suppress(FileNotFoundError):  # the launcher was killed before it wrote one
            earlier = read(self.directory)
        for name in ("started", "attempt", "attempts", "alarms"):
            self.state[name] = earlier.get(name, self.state[name])

    @staticmethod
    def open(directory: Path) -> RunRecord:
        """The record in ``directory``.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no record.
        """
        return RunRecord(directory, read(directory))

    @property
    def attempts(self) -> int:
        """How many have begun."""
        return len(self.state["attempts"])

    def supervised_here(self, *, goes_on: bool) -> None:
        """Note that this process supervises the run from now on.

        Args:
            goes_on: whether it has more to do when the run has ended, as in a sweep.
        """
        with contextlib.suppress(OSError):  # a disk that is full by now may have room at the end
            atomic.put_aside(self.directory / NAME)
        self._update(supervisor={**_identity(os.getpid()), "goes_on": goes_on})

    def enter(self, state: str, reason: str | None = None) -> None:
        """Note a new state."""
        self._update(state=state, reason=reason)

    def attempt(self, number: int, resumed_from: str | None) -> None:
        """Note that an attempt begins; the processes of the last one are in its entry."""
        self.state["attempts"].append(
            {
                "number": number,
                "started": self._clock(),
                "ended": None,
                "reason": None,
                "resumed_from": resumed_from,
                "processes": {},
            }
        )
        self._update(state=STARTING, reason=None, attempt=number, processes={})

    def attempt_ended(self, reason: str) -> None:
        """Note why the attempt under way ended."""
        if self.state["attempts"]:
            self.state["attempts"][-1].update(
                ended=self._clock(), reason=reason, processes=dict(self.state["processes"])
            )
        self.write()

    def process(self, process: GuardedProcess, *, stopped: bool = False) -> None:
        """Note what is known of a process, and whether its end was asked for."""
        if process.spec is None:
            return
        self.state["processes"][process.name] = {
            "argv": list(process.spec.argv),
            "pid": process.pid,
            "start_time": process.start_time,
            "exit": process.status,
            "stopped": stopped,
            "guard": {"pid": process.guard_pid, "start_time": process.guard_start_time},
        }
        self.write()

    def rehearsed(self, verdict: Verdict) -> None:
        """Note what the rehearsal said."""
        self._update(rehearsal=asdict(verdict))

    def alarm(self, process: str, message: str) -> None:
        """Note what the log of a process told of stale rollouts."""
        told = {"process": process, "attempt": self.state["attempt"], "message": message}
        self.state.setdefault("alarms", []).append({**told, "time": self._clock()})
        self.write()

    def followed(self, name: str, state: str, detail: str | None) -> None:
        """Note what became of a program that ran after the training."""
        self.state.setdefault("afterwards", {})[name] = {"state": state, "detail": detail}
        self.write()

    def trained(self, reason: str) -> None:
        """Note that the job has ended well: what happens from now on does not undo that."""
        self._update(status=0, reason=reason)

    def finish(self, state: str, status: int, reason: str) -> None:
        """Note the end; on a full disk in the space that was put aside for it."""
        self.state.update(state=state, status=status, reason=reason, ended=self._clock())
        self.write(last=True)

    def lose(self, status: int, reason: str) -> None:
        """Note the end of a run that has lost its supervisor."""
        guard.lose(self.state, status, reason, self._clock())
        self.write(last=True)

    def write(self, *, last: bool = False) -> None:
        """Write the record as it is.

        Args:
            last: it will not change any more.

        Raises:
            OSError: it cannot be written; the old one is still there.
        """
        text = json.dumps(self.state, indent=2, ensure_ascii=False, default=str) + "\n"
        atomic.write(self.directory / NAME, text, durable=True, last=last)

    def _update(self, **values: Any) -> None:
        self.state.update(values)
        self.write()


def read(directory: Path) -> dict[str, Any]:
    """The record in ``directory``, as it was written; ``runs/reading.py`` gives it types.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no record.
    """
    try:
        body = codec.read(directory / NAME)
    except ValueError as error:
        raise ValueError(f"{NAME}: {error}") from None
    if type(body.get("format")) is not int:
        raise ValueError(f"{NAME}: not a record of a run")
    return body


def is_here(host: str | None, namespace: str | None) -> bool:
    """Whether the processes that a record numbers are numbered here; containers share a boot.

    Args:
        host: that the record names, or None.
        namespace: see :func:`pid_namespace`; containers may share the host's name.
    """
    same_numbers = namespace in (None, "", pid_namespace())
    return host in (None, os.uname().nodename) and same_numbers


def boot_id() -> str:
    """What names this boot of this machine (random(4)); empty where it cannot be read."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def pid_namespace() -> str:
    """What names the numbers that processes have here (pid_namespaces(7)); empty if unknown."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _identity(pid: int) -> dict[str, Any]:
    entry = proc.read(pid)
    return {
        "pid": pid,
        "start_time": entry.start_time if entry else 0,
        "boot": boot_id(),
        "host": os.uname().nodename,
        "pid_namespace": pid_namespace(),
    }
