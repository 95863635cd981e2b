"""Real supervisors on prepared run directories, without what composes and checks an experiment."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from grpo_launch.backends import supervisor
from grpo_launch.engines.swift.serve import GENERATION
from grpo_launch.learners.swift.outputs import CHECKPOINTS, METRICS
from grpo_launch.plan import (
    LEARNER,
    SERVER,
    Deadlines,
    Gate,
    HttpCheck,
    LaunchPlan,
    ProcessSpec,
    Recovery,
    Watchdog,
)
from grpo_launch.runs import record
from grpo_launch.runs.record import RunRecord
from grpo_launch.supervise import proc, tree
from tests import own
from tests.conftest import MARK, ROOT

ADVERSARY = ROOT / "tests" / "fakes" / "adversary.py"
FINAL = {record.DONE, record.FAILED, record.INTERRUPTED, record.LOST}
NO_RECOVERY = Recovery("stop", 0, 0.0, 0.0, None, versioned=True)
NO_WATCHDOG = Watchdog(0, 0, 0, "warn")


def make_gate(url: str, world_size: int = 1, **changes: Any) -> Gate:
    """The gate of a rollout server, which also asks for a token."""
    size = HttpCheck(
        name="world size",
        path="/get_world_size/",
        field="world_size",
        value=world_size,
        meaning="TP x DP",
        otherwise="this is no rollout server of the engine",
    )
    token = dataclasses.replace(GENERATION, body={"infer_requests": []}, otherwise="")
    gate = Gate(
        server=SERVER,
        url=url,
        checks=(HttpCheck("health", "/health/"), size, token),
        generation=token,
        timeout_s=40,
        advice="look at its log",
        elsewhere="change rlhf.vllm_server_port",
        model="some/model",
    )
    return dataclasses.replace(gate, **changes)


def make_plan(directory: Path, *processes: ProcessSpec, port: int, **changes: Any) -> LaunchPlan:
    """A plan for ``directory / "run"``; what ``changes`` do not name is as quick as can be."""
    gate = make_gate(f"http://127.0.0.1:{port}")
    names = [spec.name for spec in processes]
    plan = LaunchPlan(
        experiment="exp",
        role="both",
        run_dir="run",
        output_dir="run/output",
        ports=(),
        processes=processes,
        job=LEARNER if LEARNER in names else None,
        gates=(gate,),
        files=(),
        deadlines=Deadlines(term_s=5, kill_s=10),
        groups=False,
        recovery=NO_RECOVERY,
        watchdog=NO_WATCHDOG,
        console="auto",
        metrics=METRICS,
        checkpoints=CHECKPOINTS,
    )
    return dataclasses.replace(plan, **changes)


def process(directory: Path, name: str, *argv: object, **more: Any) -> ProcessSpec:
    """A process of a plan for ``directory / "run"``."""
    words = tuple(str(word) for word in argv)
    part = LEARNER if name == LEARNER else SERVER
    return ProcessSpec(name, part, words, str(directory), f"run/logs/{name}.log", **more)


class Rig:
    """One run in a directory of its own, and all processes that it has brought about."""

    def __init__(self, directory: Path, environ: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.run = directory / "run"
        self.mark = uuid.uuid4().hex
        self.port = quiet_port()
        self.said = ""
        self._heard = threading.Condition()
        self._environ = {"PATH": os.environ["PATH"], MARK: self.mark, **own.environment()}
        self._environ |= environ or {}
        os.mkfifo(directory / "ready")
        os.mkfifo(directory / "alive")
        self._ready = os.open(directory / "ready", os.O_RDWR)
        self._alive = os.open(directory / "alive", os.O_RDONLY | os.O_NONBLOCK)
        self.supervisor: subprocess.Popen[bytes] | None = None

    def adversary(self, role: str, *behaviours: str) -> ProcessSpec:
        words = [sys.executable, "-I", "-S", ADVERSARY, self.mark, self.directory, role, self.port]
        return process(self.directory, role, *words, *behaviours)

    def plan(self, *processes: ProcessSpec, **changes: Any) -> LaunchPlan:
        return make_plan(self.directory, *processes, port=self.port, **changes)

    def both(self, server: Iterable[str] = (), learner: Iterable[str] = ()) -> list[ProcessSpec]:
        return [self.adversary(SERVER, *server), self.adversary(LEARNER, *learner)]

    def start(
        self,
        plan: LaunchPlan,
        before: str = "",
        wrapper: Iterable[str] = (),
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start a supervisor.

        Args:
            plan: to execute.
            before: Python code that it executes first.
            wrapper: the words of a command that becomes it.
            stderr: a descriptor; nobody listens to it then.
        """
        (self.run / "logs").mkdir(parents=True, exist_ok=True)
        for file in plan.files:
            (self.directory / file.path).write_text(file.text)
        (self.run / "plan.json").write_text(plan.to_json())
        RunRecord.new(plan, self.run, "foreground").write()
        words = supervisor.command(self.run, self.directory / "exit")
        words[words.index("-c") + 1] = f"{before}\n{words[words.index('-c') + 1]}"
        self.supervisor = subprocess.Popen(
            [*wrapper, *words],
            cwd=self.directory,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
        )
        if stderr != subprocess.PIPE:
            return self.supervisor
        self._listener = threading.Thread(target=self._listen, args=(self.supervisor,))
        self._listener.start()
        return self.supervisor

    def _listen(self, supervisor: subprocess.Popen[bytes]) -> None:
        assert supervisor.stderr is not None
        for line in supervisor.stderr:
            with self._heard:
                self.said += line.decode()
                self._heard.notify_all()

    def wait_until_said(self, text: str, timeout_s: float = 40) -> None:
        """Wait until the supervisor has written ``text`` to standard error."""
        with self._heard:
            assert self._heard.wait_for(lambda: text in self.said, timeout_s), (text, self.said)

    def wait_until_ready(self, role: str) -> int:
        """Wait until the adversary of that role has done its worst; its pid."""
        while True:
            assert select.select([self._ready], [], [], 40)[0], (role, self.said)
            for line in os.read(self._ready, 4096).decode().splitlines():
                name, pid = line.split()
                if name == role:
                    return int(pid)

    def ended(self, timeout_s: float = 40) -> int:
        """Wait for the supervisor; its status, negative after a signal."""
        assert self.supervisor is not None
        return self.supervisor.wait(timeout_s)

    def state(self) -> dict[str, Any]:
        return record.read(self.run)

    def guard(self, name: str) -> int:
        return self.state()["processes"][name]["guard"]["pid"]

    def alive(self) -> list[str]:
        """What still lives of this run.

        Launcher and guards are known by the mark in their environment; of the engine's
        processes, which may have none, each holds a FIFO open.
        """
        mark = f"{MARK}={self.mark}".encode()
        found = [f"{e.pid} {proc.command(e.pid)}" for e in proc.everything() if _has(mark, e)]
        try:
            os.read(self._alive, 1)
        except BlockingIOError:
            found.append("somebody who holds the FIFO")
        return found

    def alive_after(self, timeout_s: float) -> list[str]:
        """What is left when all is gone or time is over."""
        return wait_for(self.alive, lambda alive: not alive, timeout_s)

    def close(self) -> None:
        """End everything, so that a failed test leaves nothing."""
        (self.directory / "alive").unlink()
        mark = f"{MARK}={self.mark}".encode()
        while found := [entry for entry in proc.everything() if _has(mark, entry)]:
            tree.send(found, signal.SIGKILL)
        if self.supervisor is not None:
            self.supervisor.wait()
            if self.supervisor.stderr is not None:
                self._listener.join()
                self.supervisor.stderr.close()
        os.close(self._ready)
        os.close(self._alive)


def quiet_port() -> int:
    """A free port that the kernel gives to nobody who asks for any (ip(7), ip_local_port_range)."""
    while True:
        port = random.randrange(10_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _has(mark: bytes, entry: proc.Entry) -> bool:
    return entry.alive and mark in proc.environ(entry.pid)


def wait_for(see: Callable[[], Any], enough: Callable[[Any], bool], timeout_s: float = 20) -> Any:
    """Look until what is seen is enough, or time is over; what was seen last."""
    until = time.monotonic() + timeout_s
    while not enough(seen := see()) and time.monotonic() < until:
        time.sleep(0.04)
    return seen
