"""What the programs of a loop have in common: arguments, settings, signals, one line an error."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from grpo_launch.base import codec
from grpo_launch.errors import ConfigError, LaunchError, PreflightError

T = TypeVar("T")


class Arguments(argparse.ArgumentParser):
    """A command line whose mistakes are errors of the launcher."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(self.prog, message, "see --help")


def run(
    parser: Arguments, argv: Sequence[str] | None, work: Callable[[argparse.Namespace], int]
) -> int:
    """What a program does, and the status that it ends with.

    SIGTERM and SIGHUP end it as Ctrl-C does, so that it leaves nothing half done behind.

    Args:
        parser: of its command line.
        argv: the words; None: those that it was started with.
        work: returns the status.
    """
    with ended_by_signals():
        try:
            return work(parser.parse_args(argv))
        except LaunchError as error:
            for line in error.lines():
                say(f"error: {line}")
            return error.status
        except OSError as error:
            where = str(error.filename or parser.prog)
            failed = PreflightError(where, error.strerror or str(error), "look at the file system")
            say(f"error: {failed}")
            return failed.status
        except KeyboardInterrupt:
            return 128 + signal.SIGINT


def settings(kind: type[T], path: Path) -> T:
    """The settings that the launcher wrote for a program; what it has no use for is left out.

    Raises:
        ConfigError: they cannot be read, or a value is none; names it.
    """
    try:
        return codec.decode(kind, codec.read(path), [])
    except OSError as error:
        what, fix = f"cannot be read ({error.strerror})", "name a file with settings"
        raise ConfigError(str(path), what, fix) from None
    except ValueError as error:
        raise ConfigError(str(path), str(error), "correct it") from None


def say(line: str) -> None:
    """Print a line for people."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def ended_by_signals() -> Generator[None]:
    """Let SIGTERM and SIGHUP end what is done meanwhile as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
