"""Cold start-up: a dry run and a check against a Hydra hello-world.

    python benchmarks/startup.py [--rounds 25] [--judge wall|cpu]

Every command is a fresh interpreter. The commands take turns within a round, so
that noise of the machine hits all of them, and medians are compared as ratios.
``wall`` is what a user waits for and means something on an idle machine. ``cpu``,
user and system seconds of the child, also counts under load, where wall time is
mostly waiting. Both are reported; the status is 1 where a ratio of the one that
``--judge`` names is over its limit. ``plain PyYAML`` reads and merges the same chain
of files with ``yaml.CSafeLoader`` and does nothing else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUMMARY = ROOT / "configs" / "train" / "grpo" / "summary_1024.yaml"
CHAIN_LENGTH = 9
KEYS_A_LEVEL = 20

LIMITS = {"dry run": 1.15, "check": 1.25}
"""Times the hello-world; commands without a limit are there to compare with."""

HELLO_WORLD = """\
import hydra
@hydra.main(version_base=None, config_path=None)
def main(cfg): print("hello")
main()
"""
HELLO = ("hello.py", "hydra.run.dir=.", "hydra.output_subdir=null")

PLAIN = """\
import sys, yaml
from pathlib import Path

def merge(base, over):
    out = dict(base)
    for key, value in over.items():
        both = isinstance(out.get(key), dict) and isinstance(value, dict)
        out[key] = merge(out[key], value) if both else value
    return out

def load(path):
    own = yaml.load(path.read_bytes(), yaml.CSafeLoader)
    bases = own.pop("extends", [])
    merged = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merged = merge(merged, load(path.parent / base))
    return merge(merged, own)

print(len(load(Path(sys.argv[1]))))
"""


@dataclass(frozen=True)
class Command:
    """What is measured: the arguments of a fresh interpreter, and where it runs."""

    arguments: Sequence[str]
    cwd: Path


@dataclass(frozen=True)
class Seconds:
    """What one run of a command took: wall-clock, and user and system time together."""

    wall: float
    cpu: float


def make_chain(directory: Path) -> Path:
    """A chain of experiments, each extending the one before; the last is summary_1024's child."""
    base = SUMMARY
    for level in range(CHAIN_LENGTH - 2):
        path = directory / f"level_{level}.yaml"
        keys = "".join(f"      key_{level}_{i}: {i}\n" for i in range(KEYS_A_LEVEL))
        path.write_text(f"extends: {base}\ncustom:\n  extra:\n    notes:\n{keys}", encoding="utf-8")
        base = path
    return base


def measured(command: Command, cache: Path) -> Seconds:
    """Run a command in a fresh process.

    Raises:
        SystemExit: the command failed.
    """
    # An installed package has its byte code; a clone must be allowed to keep it as well.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environ["XDG_CACHE_HOME"] = str(cache)
    silent = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    # posix_spawn knows no working directory; it is ours, which every child inherits.
    os.chdir(command.cwd)
    argv = [sys.executable, *command.arguments]
    started = time.perf_counter()
    child = os.posix_spawn(sys.executable, argv, environ, file_actions=[silent])
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(argv)}: status {os.waitstatus_to_exitcode(status)}")
    return Seconds(wall, usage.ru_utime + usage.ru_stime)


def write_programs(directory: Path) -> None:
    """The programs to compare with, ``hello.py`` and ``plain.py``."""
    (directory / "hello.py").write_text(HELLO_WORLD, encoding="utf-8")
    (directory / "plain.py").write_text(PLAIN, encoding="utf-8")


def take_turns(
    commands: Mapping[str, Command], rounds: int, directory: Path
) -> dict[str, list[Seconds]]:
    """What each command takes, ``rounds`` times, the commands taking turns.

    Caches are kept below ``directory``; the run that fills them is not counted.
    """
    cache = directory / "cache"
    for command in commands.values():
        measured(command, cache)
    times: dict[str, list[Seconds]] = {label: [] for label in commands}
    for _ in range(rounds):
        for label, command in commands.items():
            times[label].append(measured(command, cache))
    return times


def medians(times: Mapping[str, Sequence[Seconds]]) -> dict[str, Seconds]:
    """The medians of each command, of both clocks on their own."""
    return {
        label: Seconds(
            statistics.median(run.wall for run in runs), statistics.median(run.cpu for run in runs)
        )
        for label, runs in times.items()
    }


def limit(label: str) -> float | None:
    """The most that a command may take, in times of the hello-world."""
    return next((most for name, most in LIMITS.items() if label.startswith(name)), None)


def main() -> int:
    """Measure and print a table; returns 1 where a ratio is over its limit."""
    parser = argparse.ArgumentParser(description="cold start-up against a Hydra hello-world")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--judge", choices=("wall", "cpu"), default="wall")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    launch = ("-m", "grpo_launch")
    check = (*launch, "role=check", "runtime=current", "preflight=false")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_programs(work)
        chain = make_chain(work)
        dry = (*launch, "role=server", "dry_run=true")
        commands = {
            "Hydra hello-world": Command(HELLO, work),
            "dry run, summary_1024": Command((*dry, "config=summary_1024"), ROOT),
            "check, summary_1024": Command((*check, "config=summary_1024"), ROOT),
            f"{CHAIN_LENGTH}-level chain, dry run": Command((*dry, f"config={chain}"), ROOT),
            "plain PyYAML, chain": Command(("plain.py", str(chain)), work),
        }
        times = medians(take_turns(commands, arguments.rounds, work))
        os.chdir(ROOT)  # out of the directory that goes away
    floor = times["Hydra hello-world"]
    missed = False
    print(f"{'':28}{'wall':>8}{'x hello':>9}{'cpu':>10}{'x hello':>9}{'limit':>8}")
    for label, median in times.items():
        wall, cpu = median.wall / floor.wall, median.cpu / floor.cpu
        most = limit(label)
        row = f"{label:28}{median.wall:7.3f}s{wall:9.2f}{median.cpu:9.3f}s{cpu:9.2f}"
        print(row + (f"{most:8.2f}" if most else ""))
        missed |= most is not None and (wall if arguments.judge == "wall" else cpu) > most
    load = f"load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(f"medians of {arguments.rounds} rounds, {load}, {os.cpu_count()} processors")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
