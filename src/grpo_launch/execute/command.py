"""What every command does with its streams, and with what ends it early."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable

from grpo_launch.errors import ConfigError, LaunchError, PreflightError
from grpo_launch.execute.console import silence

FULL_ERROR = "HYDRA_FULL_ERROR"
"""With the value 1 it brings tracebacks back."""

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

_LONGEST_NAME = 100
"""Characters of a name that a message shows."""


def run(body: Callable[[], int], fail: Callable[[LaunchError], int]) -> int:
    """Run a command; returns its exit status.

    A user's mistake, and what the machine refuses, are one line; a reader that has seen
    enough (``| head``) and Ctrl-C are no mistakes.

    Args:
        body: the command.
        fail: shows why it failed; returns the exit status.
    """
    shows_all = os.environ.get(FULL_ERROR) == "1"
    _open_closed_streams()
    try:
        status = body()
        sys.stdout.flush()
        return status
    except LaunchError as error:
        if shows_all:
            raise
        return fail(error)
    except BrokenPipeError:
        silence(sys.stdout)
        silence(sys.stderr)
        return 128 + signal.SIGPIPE
    except OSError as error:
        if shows_all:
            raise
        if error.filename is None and error.errno in _UNWRITABLE:
            silence(sys.stdout)  # or the interpreter complains when it writes the rest at the exit
        return fail(of_system(error))
    except UnicodeEncodeError as error:
        if shows_all:
            raise
        what = f"{error.object[:_LONGEST_NAME]!a} is not UTF-8"
        return fail(PreflightError("a name on this machine", what, "choose or rename another"))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def of_system(error: OSError) -> LaunchError:
    """What the machine refused, for people."""
    why = error.strerror or str(error)
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    if error.errno == errno.ENAMETOOLONG:
        name = max(path.split("/"), key=len)[:_LONGEST_NAME]
        what = f"a name is too long for a file ({name}...)"
        return ConfigError("command line", what, "choose a shorter one")
    if not path and error.errno == errno.ENOENT:
        return PreflightError("working directory", "is gone", "change into one that exists")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return PreflightError("open files", why, "raise the limit (ulimit -n)")
    if not path and error.errno in _UNWRITABLE:
        return PreflightError("output", f"cannot be written ({why})", "write it elsewhere")
    return PreflightError(path or "this machine", why, f"see the whole error with {FULL_ERROR}=1")


def _open_closed_streams() -> None:
    """Let a stream that the caller closed (``>&-``) write into nothing.

    Its number would go to the next file that is opened, and to the processes of a run.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nothing, True)
            setattr(sys, name, os.fdopen(nothing, mode))
