"""Checking: large experiments, and many experiments in one process.

    python benchmarks/checking.py [--rounds 9] [--experiments 500]

What a cold check costs is measured by ``startup.py``, whose hello-world this takes.
Commands are fresh interpreters that take turns within a round. For the large
experiments the figure is (ours - a Hydra hello-world) / (plain PyYAML merging in a
fresh interpreter - an empty interpreter): what the launcher adds over what reading
the files costs anyone. Ratios of medians and, behind them, of the best rounds; the
status is 1 where a median misses its aim: large experiments at most 1.5, at least 15
experiments checked a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from startup import HELLO, ROOT, SUMMARY, Command, take_turns, write_programs

DEPTH = 50
WIDTH = 50
KEYS = 10_000

LARGE_LIMIT = 1.5
A_SECOND = 15.0


def make_deep(directory: Path) -> Path:
    """A chain of 50 files: 48 above summary_1024 and its base."""
    below = SUMMARY
    for level in range(DEPTH - 2):
        path = directory / f"deep_{level}.yaml"
        text = f"extends: {below}\ncustom: {{extra: {{notes: {{k{level}: {level}}}}}}}\n"
        path.write_text(text, encoding="utf-8")
        below = path
    return below


def make_wide(directory: Path) -> Path:
    """A file with 50 bases, summary_1024 among them."""
    names = [str(SUMMARY)]
    for number in range(WIDTH - 1):
        path = directory / f"wide_{number}.yaml"
        text = f"custom: {{extra: {{notes: {{w{number}: {number}}}}}}}\n"
        path.write_text(text, encoding="utf-8")
        names.append(path.name)
    wide = directory / "wide.yaml"
    wide.write_text("extends:\n" + "".join(f"- {name}\n" for name in names), encoding="utf-8")
    return wide


def make_large(directory: Path) -> Path:
    """A file with 10,000 keys."""
    rows = (
        f"    row_{row}:\n"
        + "".join(f"      key_{row}_{column}: value {column}\n" for column in range(100))
        for row in range(KEYS // 100)
    )
    large = directory / "large.yaml"
    text = f"extends: {SUMMARY}\ncustom:\n  table:\n" + "".join(rows)
    large.write_text(text, encoding="utf-8")
    return large


def checked_a_second(count: int) -> float:
    """Experiments composed and validated a second in this process."""
    from grpo_launch.checks.examine import validate
    from grpo_launch.config.compose import compose

    names = ("summary_1024", "summary_1024_attr_key_recall", "tiny_cpu")
    validate(compose(names[0]))
    started = time.perf_counter()
    for number in range(count):
        validate(compose(names[number % len(names)]))
    return count / (time.perf_counter() - started)


def main() -> int:
    """Measure and print; returns 1 where an aim is missed."""
    parser = argparse.ArgumentParser(description="cold and bulk checking")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--experiments", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_programs(work)
        files = {
            "50 deep": make_deep(work),
            "50 wide": make_wide(work),
            "10k keys": make_large(work),
        }
        check = ("-m", "grpo_launch", "role=check", "preflight=false")
        commands = {
            "empty": Command(("-c", "pass"), work),
            "hello": Command(HELLO, work),
        }
        for label, path in files.items():
            commands[f"plain {label}"] = Command(("plain.py", str(path)), work)
            commands[f"check {label}"] = Command((*check, f"config={path}"), ROOT)
        times = take_turns(commands, arguments.rounds, work)
        os.chdir(ROOT)  # out of the directory that goes away
    walls = {label: [run.wall for run in runs] for label, runs in times.items()}
    median = {label: statistics.median(values) for label, values in walls.items()}
    best = {label: min(values) for label, values in walls.items()}
    missed = False
    for label in files:
        ratio = over_plain(median, label)
        print(
            f"{label}: +{median[f'check {label}'] - median['hello']:.3f} s against"
            f" +{median[f'plain {label}'] - median['empty']:.3f} s of plain reading:"
            f" {ratio:.2f} x (best {over_plain(best, label):.2f})"
        )
        missed |= ratio > LARGE_LIMIT
    rate = checked_a_second(arguments.experiments)
    print(f"{rate:.1f} experiments checked a second")
    return int(missed or rate < A_SECOND)


def over_plain(seconds: Mapping[str, float], label: str) -> float:
    """What a check adds to the hello-world, over what plain reading adds to an empty program."""
    ours = seconds[f"check {label}"] - seconds["hello"]
    return ours / (seconds[f"plain {label}"] - seconds["empty"])


if __name__ == "__main__":
    sys.exit(main())
