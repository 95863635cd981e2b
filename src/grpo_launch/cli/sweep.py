"""A sweep (``--multirun``): its members are checked together, and end together.

Hydra's launcher starts one member after the other, whatever became of the one before. What
became of each is said when it has ended, and of all of them at the end.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.backends import registry
from grpo_launch.base.host import Host
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import (
    ConfigError,
    InterruptedRunError,
    InvalidSweepError,
    LaunchError,
    one_line,
)
from grpo_launch.execute.console import complain
from grpo_launch.monitor import planned
from grpo_launch.roles._launch import PARTS
from grpo_launch.runs import pace, reading, record
from grpo_launch.settle.preparation import Aim
from grpo_launch.settle.prepare import prepare, run_directory, say


class Ended(BaseException):
    """Ends the sweep from within a member: Hydra goes on after any ``Exception``.

    Args:
        status: the exit status of the sweep.
    """

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


def is_one(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for a sweep."""
    asked = {"-m", "--multirun", "hydra.mode=MULTIRUN", "+hydra.mode=MULTIRUN"}
    return not asked.isdisjoint(arguments)


def is_swept(override: str) -> bool:
    """Whether an override says several values, one for each member.

    How Hydra writes a value of a member may differ from how it was typed.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:
        return False  # Hydra says so itself


def is_known_before(arguments: Sequence[str]) -> bool:
    """Whether all members are known before the first starts.

    Other sweepers than Hydra's own choose them by the results of earlier ones.
    """
    return not any(item.lstrip("+~").startswith("hydra/sweeper=") for item in arguments)


class Check:
    """Judges the members before the first starts; used for each in turn, then :meth:`finish`."""

    def __init__(self) -> None:
        self._failed: list[tuple[str, LaunchError]] = []
        self._directories: set[str] = set()

    def member(self, point: str, config: LaunchConfig, host: Host) -> None:
        """Judge one.

        Args:
            point: its number and overrides, for messages.
            config: its own.
            host: the caller's surroundings.
        """
        if config.dry_run or config.role not in PARTS:
            return
        directory = config.run.dir
        if directory is not None and directory in self._directories:
            what = "is the same for several members of the sweep"
            fix = f"say run.dir={directory}/${{hydra:job.num}}"
            self._failed.append((point, ConfigError(config.where("run.dir"), what, fix)))
            return
        self._directories |= {directory} if directory is not None else set()
        try:
            backend, parts = registry.of(config), PARTS[config.role]
            with contextlib.ExitStack() as stack:
                error = prepare(stack, config, host, parts, Aim.CHECK, backend.check).error
        except LaunchError as refused:
            error = refused
        if error is not None:
            self._failed.append((point, error))

    def finish(self) -> None:
        """Say what is wrong with the members.

        Raises:
            InvalidSweepError: something is.
        """
        if self._failed:
            raise InvalidSweepError(self._failed)


@contextlib.contextmanager
def quietly() -> Generator[None]:
    """Without what Hydra and the members say: all of it is said again when they start."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@dataclass(frozen=True)
class Member:
    """One member that is about to start.

    Attributes:
        point: its number and overrides, for messages.
        config: its own.
        host: the caller's surroundings; they name its run.
    """

    point: str
    config: LaunchConfig
    host: Host

    def result(self, status: int) -> str:
        """What became of it: ``done, reward 0.02 -> 0.98 in 40 steps, runs/exp/ID``."""
        shown = run_directory(self.config, self.host.run_id())
        directory = self.host.cwd / shown
        try:
            recorded, _ = reading.read(directory)
        except (OSError, ValueError):
            return "done" if status == 0 else f"status {status}"
        if recorded.started < self.host.now:  # of another run, which keeps this one from starting
            return f"status {status}"
        said = f"{recorded.state}, {_change(directory, recorded) or recorded.reason or ''}"
        return f"{said.rstrip(', ')}, {shown}"


def _change(directory: Path, recorded: reading.Record) -> str | None:
    """From which reward or loss to which a training went that ended well."""
    if recorded.state != record.DONE:
        return None
    steps = planned.history(directory, recorded, planned.read(directory)).steps()
    return pace.change(steps)


class Results:
    """Starts the members in turn; at the end of the ``with`` block says what became of each."""

    def __init__(self) -> None:
        self._results: list[tuple[str, str]] = []

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        if len(self._results) < 2:
            return
        say(f"sweep: {len(self._results)} members have ended")
        width = max(len(point) for point, _ in self._results)
        for point, result in self._results:
            say(f"  {point:{width}}  {result}")

    def run(self, member: Member, start: Callable[[], int]) -> int:
        """Start one member; returns its exit status. A dry run stays a script.

        Args:
            member: which.
            start: starts it, and returns when it has ended.

        Raises:
            Ended: a signal ended the member, so it ends the sweep; or the member failed, and
                that is to end it.
        """
        if member.config.dry_run:
            if member.config.dry_run != "json":
                print(f"# sweep: {one_line(member.point)}")
            return _run(start, member.config.sweep.on_error, lambda _: None)
        say(f"sweep: {member.point}")
        return _run(start, member.config.sweep.on_error, lambda status: self._ended(member, status))

    def _ended(self, member: Member, status: int) -> None:
        result = member.result(status)
        self._results.append((member.point, result))
        say(f"sweep: {member.point}: {result}")


def _run(start: Callable[[], int], on_error: str, ended: Callable[[int], None]) -> int:
    """Start one member; see :meth:`Results.run`."""
    try:
        status = start()
    except InterruptedRunError as error:
        complain(error)
        ended(error.status)
        if error.of_run_alone:
            return error.status
        raise Ended(error.status) from None
    except LaunchError as error:
        status = complain(error)
    ended(status)
    if status and on_error == "stop":
        say("the sweep ends here (sweep.on_error=stop)")
        raise Ended(status)
    return status
