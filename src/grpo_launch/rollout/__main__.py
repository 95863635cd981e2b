"""The program: ``python -m grpo_launch.rollout SETTINGS.json --output DIR``, or ``grpo-rollout``.

Exit status: 0 done, 1 too many episodes failed, 2 the configuration is wrong, 5 a server is gone,
143 or 130 after a signal. The same command goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

from grpo_launch.errors import ConfigError, LaunchError
from grpo_launch.rollout import bar, plugin_files, settings
from grpo_launch.rollout.client import Client
from grpo_launch.rollout.collector import Collector
from grpo_launch.rollout.environments import Environments
from grpo_launch.rollout.settings import Settings
from grpo_launch.rollout.summary import Summary
from grpo_launch.rollout.tasks import TaskFile

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ENDS_S = 1.4
"""Seconds after a signal, at most: an environment may block the loop or a thread."""
_RESTS_S = 10.0
"""Seconds that threads of environments get once all is written."""


def main(argv: Sequence[str] | None = None) -> int:
    """Collect; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return _collect(arguments)
    except LaunchError as error:
        return _refused(error)


def script() -> None:
    """The console program: also ends where a thread of an environment does not."""
    for each in _SIGNALS:  # nothing is open yet
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, lambda number, _: os._exit(128 + number))
    status = main()
    _end_within(_RESTS_S, status)
    sys.exit(status)


def _collect(arguments: argparse.Namespace) -> int:
    chosen = settings.read(arguments.settings)
    if arguments.url:
        try:
            chosen = dataclasses.replace(chosen, urls=tuple(arguments.url))
        except ValueError as error:
            raise ConfigError("--url", str(error), "correct it") from None
    if arguments.seed is not None:
        chosen = dataclasses.replace(chosen, seed=arguments.seed)
    client = Client.of(chosen, _key(chosen))
    environment = plugin_files.load(chosen.plugins, chosen.environment, chosen.env_config)
    if arguments.check is not None:
        splits = arguments.check or [arguments.split]
        return max(_checked(environment, chosen, split) for split in splits)
    with (
        contextlib.closing(_tasks(chosen, arguments.split)) as tasks,
        bar.shown(arguments.split) as report,
    ):
        collector = Collector(
            client,
            environment,
            tasks,
            chosen,
            output=arguments.output,
            split=arguments.split,
            version=arguments.version,
            report=report,
            note=_say,
        )
        result = asyncio.run(_until_signal(collector))
    if isinstance(result, signal.Signals):
        _say(f"{result.name}: what is finished is in {arguments.output}; start it again to go on")
        return 128 + result
    _say(result.line())
    return 0


def _checked(environment: Environments, chosen: Settings, split: str) -> int:
    """Whether all tasks of a split can be played: an exit status."""
    try:
        with contextlib.closing(_tasks(chosen, split)) as tasks:
            for index in range(len(tasks)):
                environment.named(tasks[index])
    except LaunchError as error:
        return _refused(error)
    return 0


def _tasks(chosen: Settings, split: str) -> TaskFile:
    path = chosen.tasks_file(split)
    if path is None:
        raise ConfigError(f"collector.{split}_tasks", "is not set", "name a JSONL file of tasks")
    return TaskFile(path, chosen.limit(split))


async def _until_signal(collector: Collector) -> Summary | signal.Signals:
    task = asyncio.ensure_future(collector.run())
    with _signals(task) as received:
        try:
            return await task
        except asyncio.CancelledError:
            if not received:
                raise
            return received[0]


@contextlib.contextmanager
def _signals(task: asyncio.Future[Summary]) -> Generator[list[signal.Signals]]:
    """The signals that came and have cancelled the task; there is an end even where it is stuck."""
    received: list[signal.Signals] = []
    loop = asyncio.get_running_loop()

    def note(number: int, _: object) -> None:
        received.append(signal.Signals(number))
        _end_within(_ENDS_S, 128 + number)
        loop.call_soon_threadsafe(task.cancel)

    # What nohup or a shell lets a program ignore stays ignored.
    taken = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in taken}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_within(seconds: float, status: int) -> None:
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()


def _key(chosen: Settings) -> str | None:
    if chosen.key is None:
        return None
    if not (key := os.environ.get(chosen.key, "").strip()):
        fix = f"export {chosen.key}"
        raise ConfigError("collector.key", f"the variable {chosen.key} is not set", fix)
    return key


def _refused(error: LaunchError) -> int:
    for line in error.lines():
        _say(f"error: {line}")
    return error.status


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grpo-rollout", description="Collect episodes from OpenAI-compatible servers."
    )
    parser.add_argument("settings", type=Path, metavar="SETTINGS.json", help="the node collector")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="is taken up")
    parser.add_argument("--split", choices=settings.SPLITS, default="train")
    parser.add_argument("--version", default="0", help="of the weights, for the trajectories")
    parser.add_argument("--seed", type=int, help="in place of the settings'")
    parser.add_argument(
        "--check", nargs="*", choices=settings.SPLITS, metavar="SPLIT",
        help="look at settings, plugins and tasks, of --split or several, and ask nobody",
    )  # fmt: skip
    parser.add_argument(
        "--url", action="append", metavar="URL", help="of a server, in place of the settings'"
    )
    return parser


if __name__ == "__main__":
    script()
