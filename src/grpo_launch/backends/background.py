"""A supervisor in the background: in a session of its own, without a terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Generator, Iterable
from pathlib import Path

from grpo_launch.backends.supervisor import command
from grpo_launch.base import redaction
from grpo_launch.config.formats import document
from grpo_launch.errors import PreflightError
from grpo_launch.execute.console import tail
from grpo_launch.execute.copied import LOG as LOG
from grpo_launch.runs import record
from grpo_launch.settle.prepared import Prepared
from grpo_launch.supervise import spawn

_DEFAULTED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ)


def supervise(
    prepared: Prepared,
    log: Path,
    *,
    exit_file: Path | None = None,
    keep: Iterable[int] = (),
    ignores_hangup: bool = False,
) -> int:
    """Start the supervisor and wait until it has taken over.

    Args:
        prepared: the run.
        log: for its standard output and error; appended to.
        exit_file: where the exit status is left.
        keep: further descriptors that it keeps open until its end.
        ignores_hangup: whether it ignores SIGHUP, as under nohup(1).

    Returns:
        The supervisor's pid.

    Raises:
        PreflightError: it cannot be started, or ended before it took over.
    """
    reading, ready = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reading)
        held = (*prepared.held, *keep)
        words = command(prepared.run, exit_file, held, ready)
        try:
            with _inherited((*held, ready)), _ignoring_hangup(really=ignores_hangup):
                pid = _spawn(words, prepared, log)
        except OSError as error:
            what = f"the supervisor cannot be started ({error.strerror})"
            raise _failed(prepared, str(error.filename or words[0]), what, "see to it") from None
        finally:
            os.close(ready)  # or its end would not be the end of the pipe
        with _ended_on_failure(pid):
            taken_over = os.read(reading, 1)
        if taken_over:
            return pid
        _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    print(tail(log, redaction.secrets(prepared.environ)), file=sys.stderr)
    what = f"the supervisor ended with status {code} before it took over"
    raise _failed(prepared, document.shown(log), what, "its last lines are above")


def note_failure(prepared: Prepared, reason: str) -> None:
    """Note in the run's record that it was never started."""
    with contextlib.suppress(OSError, ValueError):
        kept = record.RunRecord.open(prepared.run)
        if kept.state["ended"] is None:
            kept.finish(record.FAILED, PreflightError.status, reason)


def _failed(prepared: Prepared, where: str, what: str, fix: str) -> PreflightError:
    error = PreflightError(where, what, fix)
    note_failure(prepared, str(error))
    return error


def _spawn(words: list[str], prepared: Prepared, log: Path) -> int:
    return os.posix_spawn(
        words[0],
        words,
        dict(prepared.environ),
        file_actions=spawn.into_log(str(log)),
        setsid=True,
        setsigmask=(),
        setsigdef=_DEFAULTED,
    )


@contextlib.contextmanager
def _inherited(descriptors: Iterable[int]) -> Generator[None]:
    """Let a program that is started in the block have the descriptors too."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    try:
        yield
    finally:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)


@contextlib.contextmanager
def _ignoring_hangup(*, really: bool) -> Generator[None]:
    """Let a program that is started in the block ignore SIGHUP, where ``really``."""
    before = signal.getsignal(signal.SIGHUP)
    if really:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        if really:
            signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def _ended_on_failure(pid: int) -> Generator[None]:
    """End a supervisor that nobody was told of (Ctrl-C in the block)."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        raise
