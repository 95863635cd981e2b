"""The guard: a small process that starts one process of a run and outlives the launcher.

It is the subreaper of its tree and holds one end of a socket, its standard input,
to the launcher. When the other end closes, however the launcher came to its end,
the guard ends its tree, then whatever of the run has no living guard any more,
and notes in the run's record that the run is lost.

Each message is a line of JSON. From the launcher: first the orders
(:func:`grpo_launch.supervise.process.orders`), later ``{"go": true}``, ``{"stop":
{"term_s", "kill_s"}}``, ``{"hurry": true}`` and ``{"dismissed": true}``. To it:
``{"started": [pid, start_time]}`` or ``{"failed": text}``, ``{"exited": status, "at":
seconds}`` (of the monotonic clock), and last ``{"stopped": [pids left]}``.
A guard whose tree has ended stays until it is dismissed: the launcher and the guard
that is still at work could be killed together.

Only small modules are imported: this process is there as long as the training is.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Container
from typing import Any

from grpo_launch.base import atomic, files
from grpo_launch.supervise import cgroup, logs, proc, spawn, tree

CONTROL = 0
"""The file descriptor of the socket to the launcher."""

RUN_MARK = "GRPO_LAUNCH_RUN"
"""In the environment of all that a run starts: its directory, absolute."""

GUARD_MARK = "GRPO_LAUNCH_GUARD"
"""In the environment of a guard: its run's directory, a colon, the process's name."""

LOST_STATUS = 128 + signal.SIGKILL
"""The exit status of a run whose launcher was killed."""

_ASKS_FOR_AN_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ABANDONED_S = 0.05
"""How often a guard of a lost run looks for what has lost its own guard meanwhile."""


def main() -> None:
    """Guard one process until the launcher says stop or is gone."""
    tree.become_subreaper()
    wake, signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    received: list[int] = []
    for signum in (signal.SIGCHLD, *_ASKS_FOR_AN_END):
        signal.signal(signum, lambda number, _: received.append(number))
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    _Guard(wake, received).run()
    os._exit(0)  # an interpreter that puts itself in order takes longer than all else here


class _Guard:
    def __init__(self, wake: int, received: list[int]) -> None:
        self._wake = wake
        self._received = received
        self._unread = b""
        self._launcher_is_gone = False
        self._stop: dict[str, float] | None = None
        self._go = False
        self._hurry = False
        self._dismissed = False
        self._is_ending = False
        self._pid = 0
        self._is_running = False
        self._group: cgroup.Group | None = None
        while b"\n" not in self._unread and not self._launcher_is_gone:
            self._read()
        # What follows them may have come at once: a signal right after the start.
        orders, is_whole, self._unread = self._unread.partition(b"\n")
        self._orders: dict[str, Any] = json.loads(orders) if is_whole else {}

    def run(self) -> None:
        if not self._orders:
            return
        self._obey()
        while not self._go and self._stop is None and not self._launcher_is_gone:
            self._turn(None)
        if self._go and self._stop is None:
            self._start()
        while self._stop is None and not self._launcher_is_gone:
            self._turn(None)
        tree.reap(self._ended)  # what is done by now is done
        self._is_ending = True
        stop = self._stop or self._orders["deadlines"]
        process = proc.read(self._pid) if self._is_running else None
        left = tree.stop(
            self._members,
            stop["term_s"],
            stop["kill_s"],
            self._is_in_a_hurry,
            self._kill_group,
            first=[process] if process else [],
        )
        if self._group is not None:
            self._group.remove()
        self._say(stopped=[entry.pid for entry in left])
        while not self._dismissed and not self._launcher_is_gone:
            self._turn(None)
        if not self._dismissed:
            _end_what_is_abandoned(self._orders)
            _scrub(self._orders)
            _note_the_loss(self._orders)

    def _start(self) -> None:
        orders = self._orders
        try:
            os.chdir(orders["cwd"])
            with self._inside_group():
                self._pid = spawn.spawn(
                    orders["argv"],
                    orders["env"],
                    spawn.into_log(orders["log"]),
                    executable=orders["executable"],
                )
        except OSError as error:
            # The kernel does not say which of the two it could not open.
            self._say(failed=f"{orders['executable']}, log {orders['log']}: {error.strerror}")
            return
        self._is_running = True
        entry = proc.read(self._pid)
        self._say(started=[self._pid, entry.start_time if entry else 0])

    @contextlib.contextmanager
    def _inside_group(self):
        directory = self._orders["group"]
        with contextlib.ExitStack() as stack:
            if directory:
                # Without a group the tree is still known by descent.
                with contextlib.suppress(OSError):
                    self._group = cgroup.Group(directory)
                    stack.enter_context(self._group.inside())
            yield

    def _members(self) -> list[proc.Entry] | None:
        return tree.descendants(os.getpid()) if tree.reap(self._ended) else None

    def _ended(self, pid: int, status: int) -> None:
        if pid == self._pid:
            self._is_running = False
            # A program that is told to end may do that with status 0 as well.
            if status == 0 and self._orders["done"] and not self._is_ending:
                with contextlib.suppress(OSError):
                    atomic.write_once(self._orders["done"], "0\n")
            self._say(exited=status, at=time.monotonic())

    def _is_in_a_hurry(self) -> bool:
        self._turn(0)
        return self._hurry

    def _kill_group(self) -> None:
        if self._group is not None:
            cgroup.kill(self._group.directory)

    def _turn(self, timeout_ms: int | None) -> None:
        """Take in what happened, waiting for it at most ``timeout_ms``."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        if not self._launcher_is_gone:
            poller.register(CONTROL, select.POLLIN)
        for fd, _ in poller.poll(timeout_ms):
            if fd == CONTROL:
                self._read()
                self._obey()
            else:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
        if self._stop is None:
            tree.reap(self._ended)
        while self._received:
            if self._received.pop() != signal.SIGCHLD and self._stop is None:
                self._stop = self._orders["deadlines"]

    def _read(self) -> None:
        try:
            data = os.read(CONTROL, 1 << 16)
        except OSError:  # the launcher ended with unread messages
            data = b""
        self._launcher_is_gone = not data
        self._unread += data

    def _obey(self) -> None:
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            self._go = self._go or message.get("go", False)
            self._stop = message.get("stop", self._stop)
            self._hurry = self._hurry or message.get("hurry", False)
            self._dismissed = self._dismissed or message.get("dismissed", False)

    def _say(self, **message: Any) -> None:
        with contextlib.suppress(OSError):
            os.write(CONTROL, json.dumps(message).encode() + b"\n")


def _end_what_is_abandoned(orders: dict[str, Any]) -> None:
    """End what belongs to the run and has no living guard, until nothing of the run is left.

    Another guard of the run may have been killed together with the launcher.
    """
    deadlines = orders["deadlines"]
    quiet = 0

    def members() -> list[proc.Entry] | None:
        nonlocal quiet
        guards, alive = _of(orders)
        quiet = 0 if alive else quiet + 1
        if quiet == 2:
            return None
        abandoned = [entry for entry in alive if not _descends(entry, set(guards.values()))]
        if alive and not abandoned:  # what is left is being ended by its own guard
            tree.wait(alive, _ABANDONED_S, lambda: False)
        return abandoned

    def kill_groups() -> None:
        if orders["groups"]:
            guards, _ = _of(orders)
            with contextlib.suppress(OSError):
                for name in os.listdir(orders["groups"]):
                    directory = os.path.join(orders["groups"], name)
                    if name not in guards and os.path.isdir(directory):
                        cgroup.kill(directory)

    tree.stop(members, deadlines["term_s"], deadlines["kill_s"], lambda: False, kill_groups)
    kill_groups()
    if orders["groups"]:
        cgroup.remove(orders["groups"])


def belongs(entry: proc.Entry, run: str, names: Container[str]) -> bool:
    """Whether a living process is one that a run started, or descends from one.

    It carries the run's mark, or, where that is overwritten (vLLM's processes write
    their titles over it, as setproctitle does), its output goes to the run's logs.

    Args:
        entry: of the process.
        run: the run directory, absolute.
        names: of the processes in the run's plan.
    """
    real = os.path.realpath(run)
    return entry.alive and _is_of(entry.pid, proc.environ(entry.pid), run, real, names)


def _is_of(pid: int, variables: list[bytes], run: str, real: str, names: Container[str]) -> bool:
    if f"{RUN_MARK}={run}".encode() in variables:
        return True
    return any(log.run == real and log.name in names for log in logs.written_by(pid))


def _of(orders: dict[str, Any]) -> tuple[dict[str, int], list[proc.Entry]]:
    return survey(orders["run"], orders["names"], orders["since"])


def survey(
    run: str, names: Container[str], since: int = 0
) -> tuple[dict[str, int], list[proc.Entry]]:
    """The living guards of a run, name to pid, and its other processes.

    A guard that was stopped is told to go on.

    Args:
        run: the run directory, absolute, as its supervisor was given it.
        names: of the processes in the run's plan.
        since: in clock ticks since boot; what is older is none of them.
    """
    guards: dict[str, int] = {}
    members: list[proc.Entry] = []
    mark, real = f"{GUARD_MARK}={run}:".encode(), os.path.realpath(run)
    for entry in proc.everything():
        if not entry.alive or entry.start_time < since:
            continue
        variables = proc.environ(entry.pid)
        for variable in variables:
            if variable.startswith(mark):
                guards[os.fsdecode(variable[len(mark) :])] = entry.pid
                if entry.state == "T":
                    tree.send([entry], signal.SIGCONT)
        if _is_of(entry.pid, variables, run, real, names):
            members.append(entry)
    return guards, members


def _descends(entry: proc.Entry | None, ancestors: set[int]) -> bool:
    while entry is not None and entry.pid not in ancestors and entry.ppid:
        entry = proc.read(entry.ppid)
    return entry is not None and entry.pid in ancestors


def _scrub(orders: dict[str, Any]) -> None:
    """Remove secrets from the logs of a run whose launcher cannot do it any more."""
    from grpo_launch.base import redaction  # a guard that is never alone does without it

    hidden = redaction.secrets(os.environ)
    for directory in logs.directories(orders["run"]):
        redaction.scrub_below(directory, hidden)


def _note_the_loss(orders: dict[str, Any]) -> None:
    """Leave the truth in the record: no launcher is there to write it."""
    status = LOST_STATUS
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        record = files.loads(files.read(orders["record"]))
        if record["ended"] is not None:
            status = record["status"]
        else:
            reason = "the launcher was killed; its processes have been ended"
            status = lose(record, LOST_STATUS, reason, time.time())
            atomic.write(
                orders["record"],
                json.dumps(record, indent=2, ensure_ascii=False) + "\n",
                last=True,
            )  # not durable: after a power cut a reader sees by itself that the run is lost
    if orders["exit_file"]:
        with contextlib.suppress(OSError):
            atomic.write_once(orders["exit_file"], f"{status}\n")


def lose(record: dict[str, Any], status: int, reason: str, now: float) -> int:
    """Note the end of a run without a supervisor; what was trained well is done all the same.

    Args:
        record: the content of ``run.json``; it is changed.
        status: of a run that is lost.
        reason: what ended it.
        now: seconds since the epoch.

    Returns:
        The status of the run: 0 where its job had ended well.
    """
    is_done = record.get("status") == 0
    record.update(
        state="done" if is_done else "lost",
        status=0 if is_done else status,
        reason=f"the training ended well; {reason}" if is_done else reason,
        ended=now,
    )
    return record["status"]
