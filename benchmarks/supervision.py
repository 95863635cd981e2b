"""Supervision: how fast an end is seen, what watching costs, and what logging costs.

    python benchmarks/supervision.py [--trials 15] [--idle 30] [--gib 2]

Every trial is a real supervisor with its guards; server and learner are small
programs that honour SIGTERM. The moments are wall-clock times of the programs
themselves, so that nothing between the event and the measurement counts twice.
Prints a table with the limits of the project; returns 1 where one is exceeded.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.backends.supervisor import command
from grpo_launch.engines.swift.serve import GENERATION
from grpo_launch.plan import (
    Deadlines,
    Gate,
    HttpCheck,
    LaunchPlan,
    ProcessSpec,
    Recovery,
    Signs,
    Watchdog,
)
from grpo_launch.runs.record import RunRecord
from grpo_launch.supervise import proc, tree

# Answers everything with 200; writes when it was first asked for a token, and when it dies.
SERVER = """
import os, signal, sys, time
from _socket import SO_REUSEADDR, SOL_SOCKET, socket
def note(name):
    with open(name, "x") as file:
        file.write(repr(time.time()))
def die(*_):
    note("server_died")
    os._exit(1)
signal.signal(signal.SIGUSR1, die)
listener = socket()
listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
head = b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n"
size = b'{"world_size": 1}'
token = b'[{"response": {"choices": [{}], "usage": {"completion_tokens": 1}}}]'
while True:
    descriptor, _ = listener._accept()
    connection = socket(fileno=descriptor)
    request = connection.recv(65536)
    while b"\\r\\n\\r\\n" not in request or (request[:4] == b"POST" and b"}" not in request):
        request += connection.recv(65536)
    body = token if request[:4] == b"POST" else size
    connection.sendall(head % len(body) + body)
    connection.close()
    if b"/health/" in request and not os.path.exists("healthy"):
        note("healthy")
"""

# Writes when it started and when it got SIGTERM.
LEARNER = """
import os, signal, time
def note(name):
    with open(f".{name}", "x") as file:
        file.write(repr(time.time()))
    os.rename(f".{name}", name)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
note("learner_started")
signal.sigwait([signal.SIGTERM])  # pause() would miss one that comes just before it
note("learner_told")
os._exit(0)
"""

# Writes to its log as fast as it can: 64 KiB at a time, the file emptied at each 256 MiB.
LOGGER = """
import os, sys, time
size, line = int(sys.argv[1]), b"x" * 65535 + b"\\n"
while not os.path.exists("go"):
    time.sleep(0.001)
started = time.perf_counter()
for number in range(size // len(line)):
    os.write(1, line)
    if number % 4096 == 4095:
        os.ftruncate(1, 0)
seconds = time.perf_counter() - started
with open(".seconds", "x") as file:
    file.write(repr(seconds))
os.rename(".seconds", "seconds")
"""

GIB = 2**30


@dataclass(frozen=True)
class Figure:
    """What was measured and its limit, in the same unit."""

    what: str
    value: float
    limit: float
    unit: str
    of: str

    def __str__(self) -> str:
        return (
            f"{self.what:58}{self.value:9.2f} {self.unit:5}{self.limit:8g} {self.unit:5} {self.of}"
        )


def python(code: str, *arguments: object) -> tuple[str, ...]:
    """The command that runs ``code`` in a small interpreter."""
    return (sys.executable, "-I", "-S", "-c", code, *map(str, arguments))


def make_plan(directory: Path, port: int, learner: tuple[str, ...]) -> LaunchPlan:
    """A run of the small server and ``learner`` in ``directory``."""
    token = dataclasses.replace(GENERATION, body={"infer_requests": []})
    size = HttpCheck("world size", "/get_world_size/", field="world_size", value=1)
    gate = Gate(
        server="server",
        url=f"http://127.0.0.1:{port}",
        checks=(HttpCheck("health", "/health/"), size, token),
        generation=token,
        timeout_s=60,
        advice="",
        elsewhere="",
        model="",
    )
    signs = Signs(served="POST /infer/", vital=("VLLM::EngineCore",))
    return LaunchPlan(
        experiment="benchmark",
        role="both",
        run_dir="run",
        output_dir="run/output",
        processes=tuple(
            ProcessSpec(name, name, argv, str(directory), f"run/logs/{name}.log", signs=signs)
            for name, argv in (("server", python(SERVER, port)), ("learner", learner))
        ),
        job="learner",
        gates=(gate,),
        ports=(),
        files=(),
        deadlines=Deadlines(20, 5),
        groups=False,
        recovery=Recovery("stop", 0, 0, 0, None, versioned=True),
        watchdog=Watchdog(30, 300, 1800, "warn"),
        console="auto",
    )


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    directory: Path, learner: tuple[str, ...] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """A supervised run in ``directory``."""
    plan = make_plan(directory, free_port(), learner or python(LEARNER))
    run = directory / "run"
    (run / "logs").mkdir(parents=True)
    (run / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    RunRecord.new(plan, run, "foreground").write()
    words = command(run)
    with subprocess.Popen(words, cwd=directory, stderr=subprocess.DEVNULL) as supervisor:
        try:
            yield supervisor
        finally:
            supervisor.terminate()


def wait_for(path: Path, timeout_s: float = 60) -> float:
    """The number in a file, as soon as it is there."""
    until = time.monotonic() + timeout_s
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(str(path))
        time.sleep(0.001)
    while not (text := path.read_text(encoding="utf-8")):
        time.sleep(0.001)
    return float(text)


def pids_of(directory: Path, supervisor: int) -> dict[str, int]:
    """The processes of a run by name."""
    state = json.loads((directory / "run" / "run.json").read_text(encoding="utf-8"))
    pids = {"supervisor": supervisor}
    for name, entry in state["processes"].items():
        pids |= {name: entry["pid"], f"guard of the {name}": entry["guard"]["pid"]}
    return pids


def until_training(directory: Path) -> None:
    """Wait until the learner is there and noted."""
    wait_for(directory / "learner_started")
    while '"learner"' not in (directory / "run" / "run.json").read_text(encoding="utf-8"):
        time.sleep(0.001)


def start_of_the_learner(directory: Path) -> float:
    """Seconds from the first healthy answer to the learner's first own line of code."""
    with running(directory):
        started = wait_for(directory / "learner_started")
        return started - wait_for(directory / "healthy")


def death_of_the_server(directory: Path) -> float:
    """Seconds from the server's death to the learner's SIGTERM."""
    with running(directory) as supervisor:
        until_training(directory)
        os.kill(pids_of(directory, supervisor.pid)["server"], signal.SIGUSR1)
        return wait_for(directory / "learner_told") - wait_for(directory / "server_died")


def death_of_the_launcher(directory: Path) -> float:
    """Seconds from ``kill -9`` of the launcher until all of the run is gone, guards included."""
    with running(directory) as supervisor:
        until_training(directory)
        below = tree.descendants(supervisor.pid)
        started = time.perf_counter()
        supervisor.kill()
        while any(proc.is_running(entry.pid, entry.start_time) for entry in below):
            time.sleep(0.002)
        return time.perf_counter() - started


def measured(trials: int, measures: dict[str, Callable[[Path], float]]) -> dict[str, list[float]]:
    """What each measure gave; they take turns."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(trials):
        for name, measure in measures.items():
            with tempfile.TemporaryDirectory() as directory:
                found[name].append(measure(Path(directory)))
    return found


def percentile(values: list[float], share: float) -> float:
    """The value that this share of the others does not exceed; of few values the greatest."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


@dataclass(frozen=True)
class Idle:
    """What supervision costs while nothing happens.

    Attributes:
        share: of one core, in percent.
        resident: MB, the sum of the processes.
        proportional: MB, with shared pages counted once.
    """

    share: float
    resident: float
    proportional: float


def idle(directory: Path, seconds: float) -> Idle:
    """Supervisor and guards over ``seconds`` of a training that only goes on."""
    with running(directory) as supervisor:
        until_training(directory)
        time.sleep(1)  # the start is over
        names = pids_of(directory, supervisor.pid)
        ours = [pid for name, pid in names.items() if name not in ("server", "learner")]
        before = sum(map(cpu_seconds, ours))
        time.sleep(seconds)
        share = (sum(map(cpu_seconds, ours)) - before) / seconds * 100
        kib = [memory(pid) for pid in ours]
        return Idle(share, sum(k[0] for k in kib) / 1024, sum(k[1] for k in kib) / 1024)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, by the scheduler's own clock (proc(5), schedstat)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory(pid: int) -> tuple[int, int]:
    """RSS and PSS of a process, KiB."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0])
    return found["Rss"], found["Pss"]


def supervised_seconds(directory: Path, size: int) -> float:
    """Seconds of the logger as the learner of a run."""
    (directory / "go").touch()
    with running(directory, python(LOGGER, size)):
        return wait_for(directory / "seconds", 600)


def direct_seconds(directory: Path, size: int) -> float:
    """Seconds of the logger with a file as its standard output."""
    (directory / "go").touch()
    with open(directory / "log", "ab") as log:
        subprocess.run(python(LOGGER, size), cwd=directory, stdout=log, check=True)
    return wait_for(directory / "seconds")


def slowdown(place: str, rounds: int, size: int) -> tuple[float, float]:
    """The logger's slowdown in percent, the median over pairs that take turns; its GB/s."""
    ratios: list[float] = []
    speeds: list[float] = []
    for number in range(rounds):
        seconds: dict[str, float] = {}
        measures = [("direct", direct_seconds), ("supervised", supervised_seconds)]
        for name, measure in measures if number % 2 else reversed(measures):
            with tempfile.TemporaryDirectory(dir=place) as directory:
                seconds[name] = measure(Path(directory), size)
        ratios.append(seconds["supervised"] / seconds["direct"])
        speeds.append(size / seconds["supervised"] / 1e9)
    return (statistics.median(ratios) - 1) * 100, statistics.median(speeds)


def main() -> int:
    """Measure and print a table; returns 1 where a figure is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=15)
    parser.add_argument("--idle", type=float, default=30, help="seconds of watching")
    parser.add_argument("--gib", type=float, default=2, help="what the logger writes")
    arguments = parser.parse_args()
    found = measured(
        arguments.trials,
        {
            "start": start_of_the_learner,
            "server": death_of_the_server,
            "launcher": death_of_the_launcher,
        },
    )
    with tempfile.TemporaryDirectory() as directory:
        quiet = idle(Path(directory), arguments.idle)
    shm = "/dev/shm"  # noqa: S108 (memory: a disk would be the bottleneck)
    slower, speed = slowdown(shm, arguments.trials, int(arguments.gib * GIB))
    of, worst = f"median of {arguments.trials}", f"99 % of {arguments.trials}"
    median = {name: statistics.median(values) * 1e3 for name, values in found.items()}
    late = percentile(found["server"], 0.99) * 1e3
    figures = [
        Figure("kill -9 of the launcher: all gone", median["launcher"], 50, "ms", of),
        Figure("server's death to the learner's SIGTERM", median["server"], 10, "ms", of),
        Figure("the same, at worst", late, 25, "ms", worst),
        Figure("first healthy answer to the learner's start", median["start"], 100, "ms", of),
        Figure("idle, of one core", quiet.share, 0.3, "%", f"{arguments.idle:g} s"),
        Figure("resident, supervisor and guards", quiet.resident, 40, "MB", "sum of RSS"),
        Figure("the same, shared pages once", quiet.proportional, 40, "MB", "sum of PSS"),
        Figure(f"a log of {speed:.1f} GB/s is slower by", slower, 5, "%", of),
    ]
    print(f"{'':58}{'measured':>12}{'limit':>13}")
    for figure in figures:
        print(figure)
    return int(any(figure.value > figure.limit for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
