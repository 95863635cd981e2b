"""What a person sees while a run goes on; everything goes to standard error."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from grpo_launch.base import redaction, terminal
from grpo_launch.base.tailing import Tail
from grpo_launch.config.choices import ConsoleMode
from grpo_launch.errors import LaunchError

if TYPE_CHECKING:
    from grpo_launch.runs.metrics import Step

_LINES_OF_A_TAIL = 20
_BYTES_OF_A_TAIL = 64 * 1024
_LONGEST_OF_A_TAIL = 400

QUIET_S = 60.0
"""Without a terminal a finished step is reported at least this often, where there is one."""


_PATIENCE_S = 0.2
"""How long a full pipe or a stopped terminal is waited for, once."""

_AT_A_TIME = 1024
"""Characters of a log written at once: a pipe that takes any takes 4096 bytes (pipe(7))."""


class Console:
    """Messages, a progress bar on a terminal, plain lines elsewhere.

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
        self._stream = sys.stderr if stream is None else stream
        self._mode = mode
        self._terminal = self._stream.isatty()
        self._bar: Any = None
        self._task: Any = None
        self._clock = clock
        self._is_stuck = False
        self._printed_step = 0
        self._printed_at = clock()

    @property
    def shows_log(self) -> bool:
        """Whether the learner's own output is shown."""
        return self._mode is ConsoleMode.log

    def say(self, text: str) -> None:
        """One line of the launcher's own."""
        if not self._is_read():
            return
        text = redaction.masked(text, self._hidden)
        with self._writing():
            if self._bar is not None:
                self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=self._stream, flush=True)

    def log(self, text: str) -> None:
        """Output of a process, without secrets and what would act on the terminal."""
        text = self._mask.take(self._filter.take(text))
        if text and self._bar is None:
            for start in range(0, len(text), _AT_A_TIME):
                if not self._is_read():
                    return
                with self._writing():
                    self._stream.write(text[start : start + _AT_A_TIME])
                    self._stream.flush()

    def steps(self, steps: Sequence[Step]) -> None:
        """Steps that the learner finished."""
        if not steps or self._mode is ConsoleMode.log:
            return
        if self._terminal or self._mode is ConsoleMode.progress:
            if self._is_read():
                with self._writing():
                    self._advance(steps[-1])
        else:
            self._print(steps[-1])

    def close(self) -> None:
        """Take the bar away, show what was held back; calling it again is harmless."""
        rest = self._mask.take(self._filter.rest()) + self._mask.rest()
        if rest and self._bar is None:
            with self._writing():
                self._stream.write(rest)
        if self._bar is not None:
            with self._writing():
                self._bar.stop()
            self._bar = None

    def _is_read(self) -> bool:
        """Whether the stream takes text: a reader that has stopped must not stop a run.

        What it does not take within a moment is lost to it; logs and records have it.
        """
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            return True  # no file: nothing that could be full
        poller = select.poll()
        poller.register(descriptor, select.POLLOUT)
        self._is_stuck = not poller.poll(0 if self._is_stuck else _PATIENCE_S * 1000)
        return not self._is_stuck

    @contextlib.contextmanager
    def _writing(self) -> Generator[None]:
        """Go quiet when the reader is gone: a closed terminal must not stop a teardown."""
        try:
            yield
        except (OSError, ValueError):
            self._bar = None
            silence(self._stream)

    def _advance(self, step: Step) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        if self._bar is None:
            self._bar = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[facts]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=RichConsole(file=self._stream),
                refresh_per_second=4,
            )
            self._bar.start()
            self._task = self._bar.add_task("train", total=step.max_steps or None, facts="")
        self._bar.update(self._task, completed=step.step, facts=_facts(step))

    def _print(self, step: Step) -> None:
        # Not a line a step: a long run would fill its caller's log.
        now = self._clock()
        due = step.step - self._printed_step >= max(1, step.max_steps // 20)
        if due or now - self._printed_at >= QUIET_S or step.step in (1, step.max_steps):
            self._printed_step, self._printed_at = step.step, now
            self.say(f"step {step.of_all}  {_facts(step)}")


def complain(error: LaunchError, hidden: Sequence[str] = ()) -> int:
    """Print the lines of an error, ``hidden`` texts as stars; returns its exit status."""
    try:
        for line in error.lines():
            print(f"error: {redaction.masked(line, hidden)}", file=sys.stderr)
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
    text = redaction.masked(end.read().decode("utf-8", "replace"), hidden)
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


def _facts(step: Step) -> str:
    facts = [] if step.reward is None else [f"reward {step.reward:.2f}"]
    if step.step_time is not None:
        facts.append(f"{step.step_time:.1f} s/step")
    return "  ".join(facts)
