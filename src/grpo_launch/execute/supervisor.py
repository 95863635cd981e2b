"""The program that executes a plan: attempt after attempt, until the run ends.

Every backend ends here. It takes the place of the process that composed and checked
the experiment, whose modules would weigh several times as much (docs/adr/0011).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from grpo_launch.base import atomic, redaction
from grpo_launch.config.choices import ConsoleMode
from grpo_launch.errors import (
    AlarmError,
    GuardLostError,
    InterruptedRunError,
    LaunchError,
    NotReadyError,
    ServerDiedError,
    StalledError,
)
from grpo_launch.execute import copied, finishing, loop_report, ports, resume, summary
from grpo_launch.execute.attempt import Attempt
from grpo_launch.execute.console import duration
from grpo_launch.execute.ended import Ended, because
from grpo_launch.execute.loop import LoopAttempt
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import REHEARSAL, LaunchPlan, called
from grpo_launch.runs import pace, plans, reading, record
from grpo_launch.runs.metrics import Step
from grpo_launch.runs.outputs import Outputs
from grpo_launch.runs.record import RunRecord
from grpo_launch.supervise import cgroup, events, spawn, tree
from grpo_launch.supervise.logs import directories
from grpo_launch.supervise.process import RunPaths

_OF_ATTEMPT = (NotReadyError, ServerDiedError, GuardLostError, StalledError, AlarmError)
"""What ends an attempt, and may be followed by another."""


def main() -> int:
    """Execute the run that ``sys.argv`` says, see ``backends/supervisor.py``.

    Returns:
        The exit status (see ``grpo_launch.errors``).
    """
    directory, exit_file, ready, lingers, *held = sys.argv[1:]
    for descriptor in filter(None, (ready, *held)):  # until this process ends, by nobody else
        fcntl.fcntl(int(descriptor), fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    log = Path(directory, copied.LOG) if lingers else None  # its terminal closes with it
    status, console = 1, copied.of(ConsoleMode.auto, redaction.secrets(os.environ), log)
    try:
        told = int(ready) if ready else None
        status = supervise(Path(directory), exit_file or None, dict(os.environ), told, log=log)
    except LaunchError as error:
        status = console.complain(error)
    finally:
        if exit_file:
            with contextlib.suppress(OSError):  # then the guard beside it tries
                atomic.write(exit_file, f"{status}\n")
        console.drain()
    if lingers and sys.stdin.isatty() and _has_failed(Path(directory)):
        sys.stderr.flush()
        words = spawn.program("grpo_launch.execute.hold", str(status), bare=True)
        os.execv(words[0], words)  # noqa: S606 (a program of ours, no shell)
    return status


def _has_failed(directory: Path) -> bool:
    try:
        return reading.read(directory)[0].state == record.FAILED
    except (OSError, ValueError):
        return False


def supervise(
    directory: Path,
    exit_file: str | None,
    environ: Mapping[str, str],
    ready: int | None = None,
    *,
    sweeping: bool = False,
    log: Path | None = None,
) -> int:
    """Execute a run whose directory is prepared.

    Args:
        directory: the run directory, absolute.
        exit_file: where the guards leave the status if this process is killed.
        environ: the caller's environment, for the processes.
        ready: a pipe that tells a waiting launcher that this process has taken over.
        sweeping: whether more runs follow in this process; a signal ends them too, also one
            that came when the training was done already.
        log: keeps a copy of what the console says; None: nobody needs one.

    Returns:
        The status of the job where there is one, else of the service that ended first;
        128 + N for signal N.

    Raises:
        LaunchError: why the run failed; see the subclasses.
    """
    with events.Signals() as signals:
        tree.become_subreaper()
        plan, notes = plans.read(directory)
        around = Surroundings(
            plan=plan,
            record=RunRecord.open(directory),
            console=copied.of(ConsoleMode(plan.console), redaction.secrets(environ), log),
            environ=environ,
            cwd=Path.cwd(),
            signals=signals,
            paths=RunPaths(
                str(directory),
                exit_file,
                _groups(plan),
                names=(
                    *(spec.name for spec in plan.of_attempt),
                    *(stage.name for stage in plan.stages),
                    REHEARSAL,
                ),
            ),
        )
        for note in notes:
            around.console.say(f"warning: {plans.NAME}: {note}")
        run = _Run(around)
        try:
            status = run.execute(ready, sweeping=sweeping)
            if sweeping and signals.received:
                raise InterruptedRunError(signals.received[0])
            return status
        except InterruptedRunError as error:
            error.of_run_alone = (directory / record.STOP_ASKED).exists()
            raise
        finally:
            run.close()
            if around.paths.groups:
                cgroup.remove(around.paths.groups)
            around.console.drain()


def _groups(plan: LaunchPlan) -> str | None:
    """A control group for the run's groups, where one can be had."""
    parent = cgroup.delegated() if plan.groups else None
    if parent is None:
        return None
    directory = f"{parent}/grpo_launch-{os.urandom(4).hex()}"
    try:
        Path(directory).mkdir()
    except OSError:
        return None
    return directory


class _Run:
    """A run from its first attempt to its end."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._plan = around.plan
        directory = around.record.directory
        output_dir = around.cwd / around.plan.output_dir
        self._outputs = Outputs(around.plan, output_dir, directory / "logs")
        self._started = time.monotonic()
        self._steps: list[Step] = []
        self._ports = ports.Ports(str(directory))

    def close(self) -> None:
        """Give back what the run held."""
        self._ports.close()

    def execute(self, ready: int | None, *, sweeping: bool) -> int:
        with self._around.noting():
            self._around.record.supervised_here(goes_on=sweeping)
        if ready is not None:
            with contextlib.suppress(BrokenPipeError):  # its reader was killed
                os.write(ready, b"\n")
            os.close(ready)
        try:
            ended = self._attempts()
        except BaseException as error:
            interrupted = isinstance(error, InterruptedRunError)
            status = error.status if isinstance(error, LaunchError) else 1
            reason = _reason(error)
            self._end(record.INTERRUPTED if interrupted else record.FAILED, status, reason)
            raise
        if ended.status == 0 and self._plan.afterwards:
            self._summarise()
            self._say_what_happened(ended)
            finishing.finish(self._around, self._outputs, self._steps)
            self._note_the_end(record.DONE, 0, ended.reason)
            return 0
        self._end(record.FAILED if ended.status else record.DONE, ended.status, ended.reason)
        self._say_what_happened(ended)
        return ended.status

    def _attempts(self) -> Ended:
        recovery = self._plan.recovery
        earlier = self._around.record.attempts  # a loop may have been here before
        number, resumed_from = earlier + 1, recovery.resumed_from
        while True:
            attempt = self._attempt(number, resumed_from)
            try:
                ended, failure = attempt.run(), None
            except _OF_ATTEMPT as error:
                ended, failure = None, error
            except BaseException as error:
                self._ended(attempt, _reason(error))
                raise
            reason = ended.reason if ended is not None else _reason(failure)
            self._ended(attempt, reason)
            policy = recovery.on_failure
            if isinstance(failure, StalledError):
                policy = self._plan.watchdog.on_stall
            restarts = policy == "restart"
            if ended is not None and ended.status:
                attempt.show_tail(ended.name)
            is_well = ended is not None and ended.status == 0
            restarted = number - earlier - 1
            if is_well or not restarts or restarted >= recovery.restarts:
                if ended is None:
                    assert failure is not None
                    raise failure
                return ended
            self._back_off(restarted + 1, reason)
            number += 1
            self._around, resumed_from = resume.prepared(self._around, self._outputs, number)
            self._plan = self._around.plan

    def _attempt(self, number: int, resumed_from: str | None) -> Attempt | LoopAttempt:
        logs = self._around.record.directory / "logs" / f"attempt_{number}"
        with self._around.noting():  # alone, or the end of this attempt would be the last one's
            self._around.record.attempt(number, resumed_from)
        with self._around.noting():
            logs.mkdir(parents=True, exist_ok=True)
            links = {spec.name: "latest" for spec in self._plan.of_attempt}
            if number == 1 and self._plan.rehearsal is not None:
                links[REHEARSAL] = logs.name
            _point_logs(logs, links)
            file = self._plan.recovery.arguments_file
            if file is not None:
                shutil.copy(self._around.cwd / file, logs)
        if (loop := self._plan.loop) is not None:
            return LoopAttempt(self._around, loop, number, logs)
        return Attempt(self._around, number, logs)

    def _ended(self, attempt: Attempt | LoopAttempt, reason: str) -> None:
        # A loop reads those of all its attempts.
        earlier = self._steps if self._plan.loop is None else []
        self._steps = [*earlier, *attempt.steps]
        self._scrub(attempt.logs)
        with self._around.noting():
            self._around.record.attempt_ended(reason)

    def _scrub(self, logs: Path) -> None:
        """Remove secrets that the processes printed; they have ended."""
        hidden = redaction.secrets(self._around.environ)
        for directory in directories(str(self._around.record.directory), logs.name):
            for path in redaction.scrub_below(directory, hidden):
                self._around.console.say(f"warning: {path}: cannot be searched for secrets")

    def _back_off(self, number: int, reason: str) -> None:
        """Say what failed, and wait before the next attempt.

        Raises:
            InterruptedRunError: a signal asked for the end.
            PreflightError: see ``Ports.changed``.
        """
        recovery = self._plan.recovery
        seconds = min(recovery.backoff_s * 2 ** (number - 1), recovery.max_backoff_s)
        left = recovery.restarts - number
        with self._around.noting():
            self._around.record.enter(record.RESTARTING, reason)
        self._around.console.say(
            f"warning: {reason}; restarting in {duration(seconds)}, {left} more restarts after that"
        )
        self._wait(seconds)
        self._around = self._ports.changed(self._around)
        self._plan = self._around.plan
        ports.wait(self._plan, self._around.console.say, self._wait)

    def _wait(self, seconds: float) -> None:
        signals = self._around.signals
        until = time.monotonic() + seconds
        while not signals.received and (rest := until - time.monotonic()) > 0:
            events.wait([signals.fd], rest)
        if signals.received:
            raise InterruptedRunError(signals.received[0])

    def _end(self, state: str, status: int, reason: str) -> None:
        self._note_the_end(state, status, reason)
        self._summarise()

    def _note_the_end(self, state: str, status: int, reason: str) -> None:
        with self._around.noting():
            self._around.record.finish(state, status, reason)

    def _summarise(self) -> None:
        self._around.console.close()
        directory, console = self._around.record.directory, self._around.console
        if self._plan.loop is None:
            summary.write(self._plan, self._steps, directory, console)
        else:
            loop_report.write(directory, f"{self._plan.experiment}  {directory.name}", console)

    def _say_what_happened(self, ended: Ended) -> None:
        say = self._around.console.say
        took = f"{duration(time.monotonic() - self._started)}, {self._plan.run_dir}"
        if ended.status != 0:
            say(because(f"{ended.end} after {took}", ended.why))
        elif change := pace.change(self._steps):
            say(f"{change}, {took}")
        else:
            say(f"{called(ended.name)} ended well after {took}")


def _reason(error: BaseException | None) -> str:
    return error.reason if isinstance(error, LaunchError) else str(error) or type(error).__name__


def _point_logs(logs: Path, directories: Mapping[str, str]) -> None:
    """Point ``logs/latest`` at the newest attempt, and ``logs/<name>.log`` into ``directories``."""
    named = {f"{name}.log": f"{to}/{name}.log" for name, to in directories.items()}
    links = {"latest": logs.name, **named}
    for link, target in links.items():
        atomic.point(logs.parent / link, target)
