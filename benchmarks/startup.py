"""Cold start-up: a dry run against a Hydra hello-world and against plain PyYAML merging.

    python benchmarks/startup.py [--rounds 15]

Every command is a fresh interpreter. The commands take turns within a round, so
that noise of the machine hits all of them, and the medians are compared as
ratios. ``plain PyYAML`` reads and merges the same chain of files with
``yaml.CSafeLoader`` and does nothing else.

The limit of the project: a dry run takes at most 1.5 times the hello-world.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHAIN_LENGTH = 9
KEYS_A_LEVEL = 20

HELLO_WORLD = """\
import hydra

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    print(cfg.greeting)

main()
"""
HELLO_CONFIG = "greeting: hello\nhydra: {run: {dir: .}, output_subdir: null}\n"

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


def make_chain(directory: Path) -> Path:
    """A chain of experiments, each extending the one before; the last is summary_1024's child."""
    base = ROOT / "configs" / "train" / "grpo" / "summary_1024.yaml"
    for level in range(CHAIN_LENGTH - 2):
        path = directory / f"level_{level}.yaml"
        keys = "".join(f"      key_{level}_{i}: {i}\n" for i in range(KEYS_A_LEVEL))
        path.write_text(f"extends: {base}\ncustom:\n  extra:\n    notes:\n{keys}", encoding="utf-8")
        base = path
    return base


def seconds(command: list[str], cwd: Path) -> float:
    """Wall-clock seconds of one command in a fresh process."""
    # An installed package has its byte code; a clone must be allowed to keep it as well.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, env=environ)
    return time.perf_counter() - started


def write_programs(directory: Path) -> None:
    """The programs to compare with: ``hello.py``, its ``conf/``, and ``plain.py``."""
    (directory / "conf").mkdir()
    (directory / "conf" / "config.yaml").write_text(HELLO_CONFIG, encoding="utf-8")
    (directory / "hello.py").write_text(HELLO_WORLD, encoding="utf-8")
    (directory / "plain.py").write_text(PLAIN, encoding="utf-8")


def take_turns(
    commands: Mapping[str, tuple[list[str], Path]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each command, ``rounds`` times, the commands taking turns."""
    times: dict[str, list[float]] = {label: [] for label in commands}
    for command, cwd in commands.values():
        seconds(command, cwd)  # fills the page cache and the byte code
    for _ in range(rounds):
        for label, (command, cwd) in commands.items():
            times[label].append(seconds(command, cwd))
    return times


def main() -> int:
    """Measure and print a table; returns 1 where a ratio is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit", type=float, default=1.5, help="of the dry runs' ratios")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_programs(work)
        chain = make_chain(work)
        summary = ROOT / "configs" / "train" / "grpo" / "summary_1024.yaml"
        launch = [sys.executable, "-m", "grpo_launch", "role=both", "dry_run=true"]
        commands = {
            "Hydra hello-world": ([sys.executable, "hello.py"], work),
            "dry run, summary_1024": ([*launch, "config=summary_1024"], ROOT),
            f"dry run, {CHAIN_LENGTH}-level chain": ([*launch, f"config={chain}"], ROOT),
            "plain PyYAML, summary_1024": ([sys.executable, "plain.py", str(summary)], work),
            "plain PyYAML, chain": ([sys.executable, "plain.py", str(chain)], work),
        }
        times = take_turns(commands, arguments.rounds)
    medians = {label: statistics.median(values) for label, values in times.items()}
    floor = medians["Hydra hello-world"]
    print(f"{'':32}{'median':>9}{'best':>9}{'x hello':>9}   ({arguments.rounds} rounds)")
    for label, median in medians.items():
        print(f"{label:32}{median:8.3f}s{min(times[label]):8.3f}s{median / floor:9.2f}")
    worst = max(value / floor for label, value in medians.items() if label.startswith("dry run"))
    print(f"worst dry run: {worst:.2f} x the hello-world, limit {arguments.limit}")
    return int(worst > arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
