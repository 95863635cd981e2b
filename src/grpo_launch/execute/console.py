"""What a person sees while a run goes on; everything goes to standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from grpo_launch.base import redaction, terminal
from grpo_launch.base.tailing import Tail
from grpo_launch.config.choices import ConsoleMode
from grpo_launch.errors import LaunchError
from grpo_launch.execute.writer import Writer

if TYPE_CHECKING:
    from grpo_launch.runs.metrics import Step

_LINES_OF_A_TAIL = 20
_BYTES_OF_A_TAIL = 64 * 1024
_LONGEST_OF_A_TAIL = 400

QUIET_S = 60.0
"""Without a terminal a finished step is reported at least this often, where there is one."""

_ROWS = 1000
"""Rows of the training that tell how fast it is."""


class Console:
    """Messages, a progress bar on a terminal, plain lines elsewhere.

    Nothing here waits for the reader, but for :meth:`drain`.

    Args:
        mode: what to show of the learner.
        stream: where to write.
        clock: monotonic seconds.
        hidden: texts that are shown as stars (see ``redaction.secrets``).
    """

    def __init__(
        self,
        mode: ConsoleMode = ConsoleMode.auto,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        hidden: Sequence[str] = (),
    ) -> None:
        self._hidden = hidden
        self._mask = redaction.Mask(hidden)
        self._filter = terminal.Filter()
        self._writer = Writer(sys.stderr if stream is None else stream)
        self._mode = mode
        self._bar: Any = None
        self._task: Any = None
        self._clock = clock
        self._steps: list[Step] = []
        self._printed_step = 0
        self._printed_at = clock()

    @property
    def shows_log(self) -> bool:
        """Whether the learner's own output is shown."""
        return self._mode is ConsoleMode.log

    def say(self, text: str) -> None:
        """One line of the launcher's own."""
        text = redaction.masked(text, self._hidden)
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._writer.write(f"{text}\n")

    def complain(self, error: LaunchError) -> int:
        """The lines of an error; returns its exit status."""
        for line in error.lines():
            self.say(f"{error.label}{line}")
        return error.status

    def log(self, text: str) -> None:
        """Output of a process, without secrets and what would act on the terminal."""
        text = self._mask.take(self._filter.take(text))
        if text and self._bar is None:
            self._writer.write(text)

    def steps(self, steps: Sequence[Step]) -> None:
        """Steps that the learner finished; also without any the bar's clock goes on."""
        if self._mode is ConsoleMode.log:
            return
        self._steps = [*self._steps, *steps][-_ROWS:]
        if self._writer.isatty() or self._mode is ConsoleMode.progress:
            self._advance(steps)
        elif steps:
            self._print(steps[-1])

    def next_job(self) -> None:
        """Begin anew for the steps of another job."""
        self.close()
        self._steps = []
        self._printed_step, self._printed_at = 0, self._clock()

    def close(self) -> None:
        """Take the bar away, show what was held back; calling it again is harmless."""
        rest = self._mask.take(self._filter.rest()) + self._mask.rest()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif rest:
            self._writer.write(rest)

    def drain(self) -> None:
        """Close, and give the reader a moment for what it has not taken yet."""
        self.close()
        self._writer.drain()

    def _advance(self, steps: Sequence[Step]) -> None:
        if self._bar is None and steps:
            self._bar = self._new_bar(steps[-1])
        if self._bar is None:
            return
        if steps:
            self._bar.update(self._task, completed=steps[-1].step, facts=_facts(self._steps))
        if not self._writer.is_behind:  # a bar is of this moment
            self._bar.refresh()

    def _new_bar(self, step: Step) -> Any:
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        # Rich would draw it in a thread; the loop looks often enough.
        bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            console=RichConsole(file=cast("IO[str]", self._writer)),
            auto_refresh=False,
        )
        bar.start()
        self._task = bar.add_task("train", total=step.max_steps or None, facts="")
        return bar

    def _print(self, step: Step) -> None:
        # Not a line a step: a long run would fill its caller's log.
        now = self._clock()
        due = step.step - self._printed_step >= max(1, step.max_steps // 20)
        if due or now - self._printed_at >= QUIET_S or step.step in (1, step.max_steps):
            self._printed_step, self._printed_at = step.step, now
            self.say(f"step {step.of_all}  {_facts(self._steps)}")


def complain(error: LaunchError, hidden: Sequence[str] = ()) -> int:
    """Print the lines of an error, ``hidden`` texts as stars; returns its exit status."""
    try:
        for line in error.lines():
            print(f"{error.label}{redaction.masked(line, hidden)}", file=sys.stderr)
    except OSError:
        silence(sys.stderr)
    return error.status


def silence(stream: TextIO) -> None:
    """Let a stream whose reader is gone write into nothing, now and at the exit."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


def tail(path: Path, hidden: Sequence[str] = (), lines: int = _LINES_OF_A_TAIL) -> str:
    """The last ``lines`` lines of a log, for a terminal; empty where there is none.

    Args:
        path: the log.
        hidden: texts that are shown as stars; a long line is cut after that.
        lines: how many.
    """
    end = Tail(path)
    end.skip(_BYTES_OF_A_TAIL)
    return last_lines(end.read(), hidden, lines)


def last_lines(end: bytes, hidden: Sequence[str] = (), lines: int = _LINES_OF_A_TAIL) -> str:
    """The last ``lines`` lines of what a log ends with; see :func:`tail`."""
    text = redaction.masked(end[-_BYTES_OF_A_TAIL:].decode("utf-8", "replace"), hidden)
    return "\n".join(map(_shown, text.replace("\r", "\n").rstrip().split("\n")[-lines:]))


def _shown(line: str) -> str:
    """A line without what would confuse a terminal: a log may hold anything."""
    if len(line) > _LONGEST_OF_A_TAIL:
        line = f"{line[:_LONGEST_OF_A_TAIL]} [{len(line) - _LONGEST_OF_A_TAIL} more]"
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)


def duration(seconds: float) -> str:
    """``1m41s``, ``9s``, ``2h03m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _facts(steps: Sequence[Step]) -> str:
    from grpo_launch.runs import pace

    newest, each = pace.newest(steps), pace.seconds_per_step(steps)
    facts = [] if newest is None else [newest]
    facts += [] if each is None else [f"{each:.1f} s/step"]
    left = pace.seconds_left(steps)
    facts += [f"{duration(left)} left"] if left else []
    return "  ".join(facts)
