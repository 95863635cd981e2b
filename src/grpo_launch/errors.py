"""Every error that grpo_launch raises on purpose.

    LaunchError                 where, what, fix; knows its exit status
    ├── ConfigError        (2)  the configuration is wrong, nothing started
    │   ├── InvalidConfigError (2)  several findings of validation at once
    │   ├── PythonFileError (2)  a Python file that says an experiment fails
    │   └── RefusedError   (2)  the learner does not take its arguments, nothing trained
    ├── InvalidSweepError  (N)  members of a sweep cannot start, none was started
    ├── PreflightError     (3)  this machine cannot run the plan, nothing started
    │   └── FailedPreflightError (3)  several of them at once
    ├── NotReadyError      (4)  the rollout server, or a service, never became ready
    ├── ServerDiedError    (5)  the rollout server, or a service, died under the learner
    ├── GuardLostError   (137)  the guard of a process was killed
    ├── StalledError       (6)  no progress, and the watchdog was told to end the run
    ├── AlarmError         (7)  a log tells that the rollouts are stale
    ├── TimeLimitError   (124)  the learner was not done in time
    └── InterruptedRunError (128 + N)  signal N ended the run, after a clean teardown

The statuses are those of the design: a learner that fails on its own is no
error of the launcher, its status is passed on as it is.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence


class LaunchError(Exception):
    """A failure that a person can act on.

    ``str(error)`` is one line, ``<where>: <what is wrong>, <what to do>``.

    Args:
        where: the file and key, option, URL or path that is at fault.
        what: what is wrong with it.
        fix: what to do about it, in the imperative.
        rule: what ``checks.warn`` may name to make a warning of it; empty: nothing.
    """

    status = 1
    label = "error: "
    """What stands before its lines on a console."""

    def __init__(self, where: str, what: str, fix: str, rule: str = "") -> None:
        self.where = one_line(where)
        self.what = one_line(what)
        self.fix = one_line(fix)
        self.rule = rule
        super().__init__(f"{self.where}: {self.what}, {self.fix}")

    @property
    def reason(self) -> str:
        """What happened, for a record that is read later: without what to do about it now."""
        return f"{self.where}: {self.what}"

    def lines(self) -> list[str]:
        """The messages to show, one line each, without the word ``error``."""
        return [tagged(str(self), self.rule)]


class ConfigError(LaunchError):
    """The configuration is wrong; nothing was started."""

    status = 2


class InvalidConfigError(ConfigError):
    """One or more findings of validation, reported together.

    Args:
        findings: the messages, one line each; at least one.
    """

    def __init__(self, findings: Iterable[str]) -> None:
        self.findings = tuple(one_line(finding) for finding in findings)
        super().__init__("configuration", f"{len(self.findings)} problem(s)", "see above")

    def lines(self) -> list[str]:
        """One line for each finding."""
        return list(self.findings)


class PythonFileError(ConfigError):
    """A Python file that says an experiment fails.

    Args:
        where, what, fix: see ``LaunchError``.
        output: what it printed, shown below the line.
    """

    def __init__(self, where: str, what: str, fix: str, output: str = "") -> None:
        super().__init__(where, what, fix)
        last = output.splitlines()[-_LINES_OF_OUTPUT:]
        self.output = [" " * (len(x) - len(x.lstrip())) + one_line(x) for x in last]

    def lines(self) -> list[str]:
        """The line, and below it the end of the output."""
        return ["\n    ".join([str(self), *self.output])]


class RefusedError(ConfigError):
    """A rehearsal: the learner does not take its arguments or its data; nothing was trained."""


class PreflightError(LaunchError):
    """This machine, as it is now, cannot run the plan; nothing was started."""

    status = 3


class FailedPreflightError(PreflightError):
    """Everything that keeps this machine from running the plan, reported together.

    Args:
        errors: what was noticed, each with its place; at least one. Where one of them is about
            the configuration, the status is that of a wrong configuration.
    """

    def __init__(self, errors: Iterable[LaunchError]) -> None:
        self.errors = tuple(errors)
        self.status = min(error.status for error in self.errors)
        super().__init__("preflight", f"{len(self.errors)} problem(s)", "see above")

    def lines(self) -> list[str]:
        """One line for each problem."""
        return [line for error in self.errors for line in error.lines()]


class InvalidSweepError(LaunchError):
    """Members of a sweep that cannot start; none of the sweep was started.

    Args:
        members: what each is called, and what keeps it from starting; at least one. The status
            is the lowest of theirs.
    """

    def __init__(self, members: Iterable[tuple[str, LaunchError]]) -> None:
        self.members = tuple(members)
        self.status = min(error.status for _, error in self.members)
        super().__init__("sweep", f"{len(self.members)} member(s) cannot start", "see above")

    def lines(self) -> list[str]:
        """One line for each problem of each member."""
        return [f"{point}: {line}" for point, error in self.members for line in error.lines()]


def as_one(errors: Sequence[LaunchError]) -> LaunchError:
    """Several errors that were noticed together, at least one, as one."""
    return errors[0] if len(errors) == 1 else FailedPreflightError(errors)


class NotReadyError(LaunchError):
    """A rollout server or a service never became ready (it died, hung, or is another server)."""

    status = 4


class ServerDiedError(LaunchError):
    """A rollout server or a service died while the learner was running."""

    status = 5


class GuardLostError(LaunchError):
    """The process that guards the server or the learner was killed; its tree was ended."""

    status = 128 + signal.SIGKILL


class StalledError(LaunchError):
    """The run made no progress, and the watchdog was told to end it."""

    status = 6


class AlarmError(LaunchError):
    """A log tells that the training goes on with stale rollouts; the watchdog ended the run."""

    status = 7


class TimeLimitError(LaunchError):
    """The job was not done when its time was over; the status is that of ``timeout``."""

    status = 124


class InterruptedRunError(LaunchError):
    """A signal ended the run; every process was torn down first.

    Args:
        signum: the signal's number; the exit status is 128 + it.

    Attributes:
        of_run_alone: whether ``grpo-runs stop`` asked for the end of this run, and not of the
            sweep that it belongs to.
    """

    label = ""  # somebody asked for it

    def __init__(self, signum: int) -> None:
        self.signum = signum
        self.of_run_alone = False
        self.status = 128 + signum
        name = signal.Signals(signum).name
        super().__init__(name, "interrupted", "every process of this run has been stopped")


def tagged(line: str, rule: str) -> str:
    """A message with the name of its rule behind it, where ``checks.warn`` may name that."""
    return f"{line} [checks.warn: {rule}]" if rule else line


_LONGEST = 2000
_LINES_OF_OUTPUT = 20


def one_line(text: str) -> str:
    """``text`` for a terminal: a file may hold megabytes of it, and control sequences."""
    line = " ".join(str(text).split())
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
