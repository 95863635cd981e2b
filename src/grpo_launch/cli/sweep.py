"""A sweep (``--multirun``): its members are checked together, and end together.

Hydra's launcher starts one member after the other, whatever became of the one before.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Generator, Sequence

from grpo_launch.backends import registry
from grpo_launch.base.host import Host
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import (
    ConfigError,
    InterruptedRunError,
    InvalidSweepError,
    LaunchError,
)
from grpo_launch.execute.console import complain
from grpo_launch.roles._launch import PARTS
from grpo_launch.settle.preparation import Aim
from grpo_launch.settle.prepare import prepare, say


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


def run_member(start: Callable[[], int], on_error: str) -> int:
    """Start one member; returns its exit status.

    Args:
        start: starts it, and returns when it has ended.
        on_error: ``sweep.on_error``.

    Raises:
        Ended: a signal ended the member, so it ends the sweep; or the member failed, and that
            is to end it.
    """
    try:
        status = start()
    except InterruptedRunError as error:
        complain(error)
        if error.of_run_alone:
            return error.status
        raise Ended(error.status) from None
    except LaunchError as error:
        status = complain(error)
    if status and on_error == "stop":
        say("the sweep ends here (sweep.on_error=stop)")
        raise Ended(status)
    return status
