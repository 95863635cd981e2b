"""What a command gets from its process: streams, clocks, the directory of the runs."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from grpo_launch.base import terminal


@dataclass(frozen=True)
class Context:
    """The surroundings of one command.

    Attributes:
        root: the directory of the runs, as it was said.
        cwd: what relative paths are relative to.
        stdin, stdout, stderr: the streams.
        now: seconds since the epoch.
        monotonic: seconds of a clock that never jumps.
        sleep: wait that many seconds.
    """

    root: Path
    cwd: Path
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @staticmethod
    def current(root: str) -> Context:
        """Those of this process, for the runs below ``root``."""
        return Context(Path(root), Path.cwd(), sys.stdin, sys.stdout, sys.stderr)

    @property
    def width(self) -> int | None:
        """Characters of a line of the terminal; None where there is none to be fitted."""
        return shutil.get_terminal_size().columns if self.stdout.isatty() else None

    def out(self, text: str) -> None:
        """Print what was asked for; a reader sees it at once."""
        print(terminal.escaped(text), file=self.stdout, flush=True)

    def say(self, text: str) -> None:
        """Print a remark."""
        print(terminal.escaped(text), file=self.stderr, flush=True)

    def json(self, body: Mapping[str, Any]) -> None:
        """Print one JSON object."""
        self.out(json.dumps(body, indent=2, ensure_ascii=False))
