"""``python -m grpo_launch.stages.free``: wait until the memory of GPUs is free.

A server that has ended may leave its memory in use for some seconds. Nobody is ended here: what is
still in use when the time is over belongs to somebody else, and is named.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.stages import nvml, program
from grpo_launch.stages.nvml import Devices, Use

_GIB = 2**30
_EVERY_S = 0.5
_SAID_EVERY_S = 10.0


@dataclass(frozen=True)
class Waiting:
    """How long it is waited (``gpu_wait`` of the configuration).

    Attributes:
        below_gib: each device must have less in use, in GiB.
        timeout_s: seconds.

    Raises:
        ValueError: a value is none.
    """

    below_gib: float = 10.0
    timeout_s: float = 360.0

    def __post_init__(self) -> None:
        """``ValueError`` for a value that is none."""
        if not self.below_gib > 0:
            raise ValueError(f"below_gib: {self.below_gib} is not above 0")
        if not 0 <= self.timeout_s < math.inf:
            raise ValueError(f"timeout_s: {self.timeout_s} is no time")


def wait(
    how: Waiting,
    devices: Devices,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until each device has less memory in use than it may.

    Args:
        how: the settings.
        devices: that are wanted.
        say: gets a line now and then.
        clock: seconds of some beginning.
        sleep: waits for seconds.

    Returns:
        The seconds that it took. A device that can never tell is said and not waited for.

    Raises:
        PreflightError: one still has more when the time is over; or one is lost.
    """
    started = clock()
    said = -math.inf
    uses = devices.uses()
    for use in uses:
        if use.is_unknowable:
            say(f"warning: GPU {use.device}: its memory is not known ({use.problem})")
    while True:
        busy = [use for use in uses if _is_busy(use, how.below_gib)]
        waited = clock() - started
        if not busy:
            return waited
        if waited >= how.timeout_s:
            raise _over(busy, how)
        if waited - said >= _SAID_EVERY_S:
            said = waited
            say(f"waiting for {_told(busy)}")
        sleep(min(_EVERY_S, how.timeout_s - waited))
        uses = devices.uses()


def _is_busy(use: Use, below_gib: float) -> bool:
    if use.used is None:
        return not use.is_unknowable
    return _gib(use) >= below_gib


def _gib(use: Use) -> float:
    return (use.used or 0) / _GIB


def _over(busy: Sequence[Use], how: Waiting) -> PreflightError:
    where = ", ".join(f"GPU {use.device}" for use in busy)
    what = f"not free after {how.timeout_s:g} s: {_told(busy)}"
    if all(use.used is None for use in busy):
        return PreflightError(where, what, "look at nvidia-smi")
    fix = f"end what holds it, or raise gpu_wait.below_gib (now {how.below_gib:g})"
    return PreflightError(where, what, fix)


def _told(busy: Iterable[Use]) -> str:
    parts: list[str] = []
    for use in busy:
        amount = f"{_gib(use):.1f} GiB in use"
        if use.used is None:
            amount = f"memory not known ({use.problem})"
        held = f" by {', '.join(use.holders)}" if use.holders else ""
        parts.append(f"GPU {use.device}, {amount}{held}")
    return "; ".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its status."""
    parser = program.Arguments(prog="free", description=__doc__)
    parser.add_argument("settings", type=Path, help="free.json")
    parser.add_argument("--devices", required=True, help="indices or UUIDs, separated by commas")
    return program.run(parser, argv, _run)


def _run(arguments: argparse.Namespace) -> int:
    how = program.settings(Waiting, arguments.settings)
    names = [name for each in arguments.devices.split(",") if (name := each.strip())]
    if not names:
        raise ConfigError("--devices", "names none", "say 0,1")
    with nvml.opened(names) as devices:
        seconds = wait(how, devices, program.say)
    program.say(f"GPU {', '.join(names)}: free after {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
