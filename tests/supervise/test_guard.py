"""The guard as a program, spoken to over its socket."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.plan import Deadlines
from grpo_launch.supervise import guard, proc, spawn, tree
from grpo_launch.supervise.process import RunPaths, orders
from tests.supervise.rig import process, wait_for

SLEEP = "import signal; print('up', flush=True); signal.pause()"
STOP = {"stop": {"term_s": 5, "kill_s": 5}}


class Launcher:
    """The launcher's end of a guard's socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(20)
        self._lines = self._socket.makefile("rb")
        words = spawn.program("grpo_launch.supervise.guard", bare=True)
        with theirs:
            self.guard = subprocess.Popen(words, stdin=theirs, stderr=subprocess.PIPE)

    def orders(self, code: str) -> dict[str, Any]:
        spec = process(self.directory, "server", sys.executable, "-I", "-S", "-c", code)
        paths = RunPaths(str(self.directory))
        return orders("server", spec, {}, paths, Deadlines(5, 5), self.directory / "server.log")

    def start(self, code: str) -> None:
        self.say(self.orders(code), {"go": True})

    def say(self, *messages: dict[str, Any]) -> None:
        self._socket.sendall("".join(json.dumps(m) + "\n" for m in messages).encode())

    def hear(self) -> dict[str, Any]:
        return json.loads(self._lines.readline())

    def go(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    made = Launcher(tmp_path)
    yield made
    made.go()
    _, stderr = made.guard.communicate(timeout=20)
    assert stderr == b""


def test_it_says_what_happens_and_stays_until_it_is_dismissed(launcher: Launcher) -> None:
    launcher.start("raise SystemExit(3)")
    assert "started" in launcher.hear()
    assert launcher.hear()["exited"] == 3
    launcher.say(STOP)
    assert launcher.hear() == {"stopped": []}
    with pytest.raises(subprocess.TimeoutExpired):
        launcher.guard.wait(0.2)
    launcher.say({"dismissed": True})
    assert launcher.guard.wait(20) == 0


def test_a_stop_that_comes_with_the_orders_starts_nothing(launcher: Launcher) -> None:
    """Ctrl-C right after the start."""
    launcher.say(launcher.orders(SLEEP), {"go": True}, STOP, {"dismissed": True})
    assert launcher.hear() == {"stopped": []}
    assert launcher.guard.wait(20) == 0
    assert not (launcher.directory / "server.log").exists()


def test_it_waits_until_it_may_start(launcher: Launcher) -> None:
    launcher.say(launcher.orders(SLEEP))
    launcher._socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        launcher._socket.recv(1)
    launcher._socket.settimeout(20)
    launcher.say({"go": True})
    assert b"started" in launcher._socket.recv(100)


def test_without_whole_orders_it_does_nothing(launcher: Launcher) -> None:
    text = json.dumps(launcher.orders(SLEEP))
    launcher._socket.sendall(text[: len(text) // 2].encode())
    launcher.go()
    assert launcher.guard.wait(20) == 0
    assert list(launcher.directory.iterdir()) == []


def test_what_cannot_be_started_is_said(launcher: Launcher) -> None:
    wanted = launcher.orders(SLEEP)
    launcher.say({**wanted, "executable": "/no/such/program"}, {"go": True})
    assert launcher.hear() == {
        "failed": f"/no/such/program, log {wanted['log']}: No such file or directory"
    }


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_guard_ends_its_tree(launcher: Launcher, signum: int) -> None:
    launcher.start(SLEEP)
    pid, start_time = launcher.hear()["started"]
    launcher.guard.send_signal(signum)
    assert launcher.hear()["exited"] == 128 + signal.SIGTERM
    assert launcher.hear() == {"stopped": []}
    assert not proc.is_running(pid, start_time)


def test_the_end_of_the_launcher_ends_the_tree_and_is_noted(launcher: Launcher) -> None:
    record = launcher.directory / "run.json"
    record.write_text('{"ended": null, "state": "training"}')
    launcher.start(SLEEP)
    pid, start_time = launcher.hear()["started"]
    launcher.go()
    assert launcher.guard.wait(20) == 0
    assert not proc.is_running(pid, start_time)
    assert json.loads(record.read_text())["state"] == "lost"


def test_an_end_that_the_launcher_noted_is_not_written_over(launcher: Launcher) -> None:
    record = launcher.directory / "run.json"
    record.write_text('{"ended": 1.0, "state": "done", "status": 0}')
    launcher.start(SLEEP)
    launcher.hear()
    launcher.go()
    assert launcher.guard.wait(20) == 0
    assert json.loads(record.read_text())["state"] == "done"


def test_a_process_whose_first_thread_has_ended_is_ended_too(launcher: Launcher) -> None:
    """It looks like a zombie, and lives."""
    code = (
        "import ctypes, signal, threading\n"
        "for s in (signal.SIGTERM, signal.SIGINT): signal.signal(s, signal.SIG_IGN)\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    launcher.start(code)
    pid, start_time = launcher.hear()["started"]
    seen = wait_for(lambda: proc.read(pid), lambda entry: entry.state == "Z")
    assert seen.state == "Z"
    assert proc.is_running(pid, start_time)
    launcher.say({"stop": {"term_s": 0.1, "kill_s": 5}})
    assert launcher.hear()["exited"] == 128 + signal.SIGKILL
    assert launcher.hear() == {"stopped": []}


# A process is named by pid and start time


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as started:
        yield started
        started.kill()


def test_a_pid_with_another_start_time_is_never_signalled(
    bystander: subprocess.Popen[bytes],
) -> None:
    entry = proc.read(bystander.pid)
    assert entry is not None
    tree.send([entry._replace(start_time=entry.start_time - 1)], signal.SIGKILL)
    assert proc.is_running(bystander.pid, entry.start_time)
    tree.send([entry], signal.SIGTERM)
    assert bystander.wait(20) == -signal.SIGTERM


def test_a_number_that_the_kernel_gave_to_another_process_is_never_signalled() -> None:
    for _ in range(50):
        first = subprocess.Popen(["sleep", "1000"])
        entry = proc.read(first.pid)
        assert entry is not None
        first.kill()
        first.wait()
        try:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(entry.pid - 1))
        except OSError:
            pytest.skip("no permission to choose a pid")
        with subprocess.Popen(["sleep", "1000"]) as second:
            current = proc.read(second.pid)
            tree.send([entry], signal.SIGKILL)
            try:
                if second.pid == entry.pid and current and current.start_time != entry.start_time:
                    with pytest.raises(subprocess.TimeoutExpired):
                        second.wait(0.1)
                    return
            finally:
                second.kill()
    pytest.skip("others take the numbers first")


# What belongs to a run


@pytest.mark.parametrize("hides", ["its title", "its environment and its title"])
def test_what_belongs_to_a_run(tmp_path: Path, hides: str) -> None:
    logs = tmp_path / "logs" / "attempt_1"
    logs.mkdir(parents=True)
    environ = {guard.RUN_MARK: str(tmp_path)} if hides == "its title" else {}
    with open(logs / "server.log", "wb") as log:
        child = subprocess.Popen(
            ["sh", "-c", "echo; read line"],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    with child:
        # Popen returns while exec still runs: the environment is not there to read yet.
        # No redirection in the shell, which would move its streams away for that moment.
        assert child.stdout is not None
        child.stdout.readline()
        entry = proc.read(child.pid)
        assert entry is not None
        assert guard.belongs(entry, str(tmp_path), ["server"])
        assert guard.belongs(entry, str(tmp_path), ["collector"]) is (hides == "its title")
        assert not guard.belongs(entry, str(tmp_path / "logs"), ["server"])
        assert not guard.belongs(entry, str(tmp_path) + "2", ["server"])
        child.kill()


def test_who_only_reads_a_log_does_not_belong_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "server.log"
    log.touch()
    with subprocess.Popen(["tail", "-f", str(log)], stdout=subprocess.DEVNULL) as reader:
        entry = proc.read(reader.pid)
        assert entry is not None
        assert not guard.belongs(entry, str(tmp_path), ["server"])
        reader.kill()


def test_the_group_of_somebody_elses_session_is_not_killed() -> None:
    """A process that writes the log of a run may have been started by a shell of the user's."""
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); input()"
    words = [sys.executable, "-I", "-S", "-c", deaf]
    shell = ["sh", "-c", f"{shlex.join(words)} <&0 & echo $!; wait; echo ended; read line"]
    with subprocess.Popen(
        shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        child = max(int(leader.stdout.readline()), int(leader.stdout.readline()))
        entry = proc.read(child)
        assert entry is not None

        def members() -> list[proc.Entry]:
            found = proc.read(child)
            return [found] if found is not None and found.alive else []

        assert tree.stop(members, 0.1, 5, lambda: False) == []
        assert leader.stdout.readline() == b"ended\n"
        assert leader.poll() is None
        leader.kill()
