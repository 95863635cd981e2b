"""The rehearsal: how much earlier a refusal comes, and what a run that is right pays for it.

    python benchmarks/rehearsal.py [--rounds 3] [--only NAME]

With the real engine of this clone (``.venv-engine``) on the CPU, each experiment once with the
rehearsal and once without in every round, in turns. A refusal is timed from the start of the
launcher to its end; an experiment that is right, to its first step. Medians, and their ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = (
    *(sys.executable, "-m", "grpo_launch", "role=both", "config=tiny_cpu", "ports=auto"),
    *(f"runtime.path={ROOT / '.venv-engine'}", f"train.model.model={ROOT / 'models/tiny-qwen2'}"),
)
FIRST_STEP = re.compile(r"step 1/")
PATIENCE_S = 600

MISTAKES = {
    "soft_overlong": ["train.rlhf.reward_funcs=[digits.share,soft_overlong]"],
    "loss_type": ["+train.rlhf.loss_type=grop"],
    "async_generate": [
        "+train.rlhf.async_generate=true",
        "+train.rlhf.multi_turn_scheduler=math_tip_trick",
    ],
}
"""What ms-swift refuses by itself; no rule of the launcher knows it before."""

RIGHT = "right"
"""The demo as it is."""


def seconds(overrides: Sequence[str], expected: set[int]) -> float:
    """From the start to the end of the launcher, or to its first step, where it is ended.

    Args:
        overrides: of the demo.
        expected: statuses of its end; none: it comes to a first step.

    Raises:
        RuntimeError: it came to something else.
    """
    with tempfile.TemporaryDirectory() as directory:
        start = time.monotonic()
        process = subprocess.Popen(
            [*DEMO, f"run.dir={directory}/run", *overrides],
            cwd=directory, env=os.environ, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        with ending(process):
            assert process.stderr is not None
            said = ""
            for line in process.stderr:
                said += line
                if FIRST_STEP.match(line):
                    if not expected:
                        return time.monotonic() - start
                    break
            if process.wait(PATIENCE_S) in expected and "step 1/" not in said:
                return time.monotonic() - start
            raise RuntimeError(said)


@contextlib.contextmanager
def ending(process: subprocess.Popen[str]):
    """Whatever happens, the run ends."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)
        elif process.stderr is not None:
            process.stderr.close()


def main() -> int:
    """Print a line for each experiment."""
    parser = argparse.ArgumentParser(description="Time a launch with and without the rehearsal.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=[*MISTAKES, RIGHT], action="append")
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {arguments.rounds} rounds")
    for name in arguments.only or (*MISTAKES, RIGHT):
        refused = name in MISTAKES
        taken: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(arguments.rounds):
            for rehearse, times in taken.items():
                said = f"rehearse={str(rehearse).lower()}"
                # Without it the learner's own status ends the run.
                expected = ({2} if rehearse else {1, 2, 4, 5}) if refused else set[int]()
                times.append(seconds([*MISTAKES.get(name, []), said], expected))
        one, other = statistics.median(taken[True]), statistics.median(taken[False])
        what = "to the refusal" if refused else "to the first step"
        print(f"{name:16} {what:18} {one:6.1f} s, without {other:6.1f} s: {one / other:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
