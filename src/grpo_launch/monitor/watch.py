"""``grpo-runs watch``: one run, live."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import tty
from collections import deque
from collections.abc import Generator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from grpo_launch.errors import one_line
from grpo_launch.monitor import living, planned
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.dashboard import Scene, draw
from grpo_launch.monitor.detail import detail, full
from grpo_launch.monitor.gpus import Gpus
from grpo_launch.monitor.listing import FORMAT, finite
from grpo_launch.monitor.logs import Logs, Wanted
from grpo_launch.monitor.view import view
from grpo_launch.runs import find, plans
from grpo_launch.runs.metrics import History
from grpo_launch.runs.timing import Timings

PERIOD_S = 1.0
"""How often the picture is renewed."""

_PLAIN_WIDTH = 100
"""Characters of a line where there is no terminal."""

_LINES = 50
"""Lines of a log that are kept: more than a screen shows."""

_LOOKED_AT = 1000
"""Lines of a log that are read at first; those that only tell of a request are left out."""

_LEAVING = ("q", "Q", "")
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def run(context: Context, word: str, *, as_json: bool) -> int:
    """Show a run until it has ended or the person leaves; without a terminal show it once.

    Returns:
        The exit status: 0, or 128 + N when signal N ended the view.

    Raises:
        ConfigError: the word means no run, or several.
    """
    watcher = Watcher(find.one(word, context.root, context.cwd))
    try:
        scene = watcher.look()
        if as_json:
            context.json(_as_json(scene, context.now()))
            return 0
        on_terminal = context.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        console = Console(file=context.stdout, width=None if on_terminal else _PLAIN_WIDTH)
        status = 0
        if on_terminal and not _has_ended(scene):
            status = _live(context, watcher, console)
            scene = watcher.look()
        for line in draw(scene, context.now(), console.width):
            console.print(line, soft_wrap=True)
        return status
    finally:
        watcher.close()


class Watcher:
    """Looks at one run again and again."""

    def __init__(self, found: find.Found) -> None:
        self._found = found
        self._past: History | None = None
        self._timings = Timings(found.directory)
        self._logs = Logs(found.directory, Wanted(lines=_LOOKED_AT))
        self._access = {
            spec.name: plans.pattern(spec.signs.access)
            for spec in planned.read(found.directory).plan.of_attempt
        }
        self._tails: dict[str, deque[str]] = {}
        self._gpus: Gpus | None = None

    def look(self) -> Scene:
        """The run, now."""
        shown = view(self._found, living.look(), with_step=False)
        if self._past is None and shown.recorded is not None:
            plan = planned.read(self._found.directory)
            self._past = planned.history(self._found.directory, shown.recorded, plan)
        seen = detail(shown, self._past, self._timings, with_checkpoints=False)
        for line in self._logs.read():
            access = self._access.get(line.process)
            if access is not None and access.match(line.text):
                continue
            self._tails.setdefault(line.process, deque(maxlen=_LINES)).append(line.text)
        ids = [gpu for gpus in seen.planned.gpus.values() for gpu in gpus]
        if ids and self._gpus is None and shown.is_here and not shown.is_over:
            self._gpus = Gpus()
        return Scene(
            detail=seen,
            gpus=self._gpus.read(ids) if self._gpus else [],
            gpu_problem=self._gpus.problem if self._gpus else None,
            tails={name: list(self._tails.get(name, ())) for name in seen.logs},
        )

    def close(self) -> None:
        """Let go of what it looks with."""
        if self._gpus is not None:
            self._gpus.close()


def _live(context: Context, watcher: Watcher, console: Console) -> int:
    """Renew the picture until the run has ended; the exit status."""
    with _interruptible() as received, _keys(context) as keys:
        try:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                while True:
                    scene = watcher.look()
                    live.update(_picture(scene, context, console), refresh=True)
                    if _has_ended(scene) or keys.pressed(PERIOD_S) in _LEAVING:
                        return 0
        except KeyboardInterrupt:
            return 128 + (received[0] if received else signal.SIGINT)


def _picture(scene: Scene, context: Context, console: Console) -> Group:
    lines = draw(scene, context.now(), console.width, console.height - 1)
    lines = lines[: console.height - 1]
    lines += [Text()] * (console.height - 1 - len(lines))
    return Group(*lines, Text("q leaves, the run goes on", style="dim"))


def _has_ended(scene: Scene) -> bool:
    shown = scene.detail.view
    return shown.has_end or shown.is_over


class _Keys:
    """Keys that are pressed, where there is a keyboard."""

    def __init__(self, context: Context, fd: int | None) -> None:
        self._context = context
        self._fd = fd

    def pressed(self, timeout_s: float) -> str | None:
        """The next key, empty when the keyboard is gone; None after ``timeout_s``."""
        if self._fd is None:
            self._context.sleep(timeout_s)
            return None
        readable, _, _ = select.select([self._fd], [], [], timeout_s)
        return os.read(self._fd, 1).decode("ascii", "replace") if readable else None


@contextlib.contextmanager
def _keys(context: Context) -> Generator[_Keys]:
    """Take keys one by one, without showing them."""
    if not context.stdin.isatty():
        yield _Keys(context, None)
        return
    fd = context.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd, termios.TCSANOW)
    try:
        yield _Keys(context, fd)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _interruptible() -> Generator[list[int]]:
    """Let signals that end this process leave its terminal in order first."""
    received: list[int] = []

    def leave(signum: int, frame: object) -> None:
        del frame
        received.append(signum)
        raise KeyboardInterrupt

    before = {signum: signal.signal(signum, leave) for signum in _SIGNALS}
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _as_json(scene: Scene, now: float) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **full(scene.detail, now),
        "rewards": [[step.step, finite(step.reward)] for step in scene.detail.steps],
        "losses": [[step.step, finite(step.loss)] for step in scene.detail.steps],
        "gpus": [
            {"id": gpu.id, "used": gpu.used, "total": gpu.total, "use": gpu.use}
            for gpu in scene.gpus
        ],
        "gpu_problem": scene.gpu_problem,
        "last_lines": {one_line(name): lines for name, lines in scene.tails.items()},
    }
