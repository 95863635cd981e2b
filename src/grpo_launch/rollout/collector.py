"""Many episodes at once, each written as it ends."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpo_launch.errors import LaunchError
from grpo_launch.rollout.answers import Answer, EpisodeError
from grpo_launch.rollout.client import Client, Server
from grpo_launch.rollout.environments import Environments, Instance, Messages
from grpo_launch.rollout.episode import Episode
from grpo_launch.rollout.meter import ENVIRONMENT, Meter
from grpo_launch.rollout.settings import Settings
from grpo_launch.rollout.summary import ALL, BUDGET, THRESHOLD, Summary, comes_to_the_same
from grpo_launch.rollout.tasks import Task, Tasks, checksum, episodes
from grpo_launch.rollout.trajectories import Pair, Trajectories

_CLOSES_S = 0.8
"""Seconds that environments get to close once nobody waits for their episodes."""

_THREADS = 256
"""Environments at most whose plain functions run at once."""


class _OverBudgetError(Exception):
    """No more tokens may be spent; the episode is neither finished nor failed."""


class Collector:
    """Collects episodes until each task has its samples.

    Args:
        client: the servers.
        environment: what tasks are played in.
        tasks: for example a ``TaskFile``, or a list of ``Task``.
        settings: sizes, limits, sampling.
        output: directory; what is in it is taken up.
        split: ``train`` or ``eval``; decides how many samples.
        version: of the weights, for the trajectories.
        report: gets the figures of :meth:`Meter.figures` about every second.
        note: gets lines for the user.
        interval_s: seconds between two reports.
    """

    def __init__(
        self,
        client: Client,
        environment: Environments,
        tasks: Tasks,
        settings: Settings,
        *,
        output: Path,
        split: str = "train",
        version: str = "0",
        report: Callable[[dict[str, Any]], None] | None = None,
        note: Callable[[str], None] | None = None,
        interval_s: float = 1.0,
    ) -> None:
        self._client = client
        self._environments = environment
        self._tasks = tasks
        self._settings = settings
        self._output = output
        self._split = split
        self._version = version
        self._report_to = report
        self._note = note or _nothing
        self._interval_s = interval_s
        self._samples = settings.samples(split)
        self._total = len(tasks) * self._samples
        self._meter = Meter()

    async def run(self) -> Summary:
        """Collect; a cancelled one goes on where it was when it is run again.

        Returns:
            What has been collected, in all attempts.

        Raises:
            ConfigError: no request can succeed, or a task names an environment that is not there.
            ServerDiedError: a server is gone.
            LaunchError: too many episodes failed, or the output cannot be written.
        """
        trajectories = Trajectories(self._output)
        try:
            summary = trajectories.summary()
            if summary and comes_to_the_same(
                summary, self._settings, self._total, **self._of, tasks=checksum(self._tasks)
            ):
                self._note(f"{self._output}: is complete")
                return Summary(**summary)
            return await self._collect(trajectories)
        finally:
            trajectories.close()

    async def _collect(self, trajectories: Trajectories) -> Summary:
        settings = self._settings
        meter = self._meter = Meter()
        for index in range(len(self._tasks)):
            self._environments.named(self._tasks[index])
        finished, notes = trajectories.resume(
            lambda row: meter.add(row, resumed=True), self._asked_for(trajectories), self._of
        )
        for line in notes:
            self._note(line)
        meter.spent = max(meter.spent, trajectories.spent())
        size = max(self._client.capacity, settings.environments or 0)
        self._trajectories = trajectories
        self._threads = ThreadPoolExecutor(min(_THREADS, size), "environment")
        self._instances = asyncio.Semaphore(settings.environments or size)
        self._stop: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._closing = self._has_grace = False
        pairs = self._remaining(finished)
        self._check_threshold()
        try:
            async with self._client:
                workers = [asyncio.create_task(self._work(pairs)) for _ in range(size)]
                ended = await self._watch(workers)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._report()
        result = Summary.of(meter, self._total, ended, **self._of, tasks=checksum(self._tasks))
        trajectories.end(result.as_dict())
        return result

    @property
    def _of(self) -> dict[str, str]:
        """What all episodes of an output have in common."""
        return {"version": self._version, "split": self._split}

    def _asked_for(self, trajectories: Trajectories) -> Callable[[Pair], bool]:
        """Whether an episode that is there already is one of these tasks."""
        count = len(self._tasks) if trajectories.has_episodes() else 0
        ids = {self._tasks[index].id for index in range(count)}
        return lambda pair: pair[0] in ids and 0 <= pair[1] < self._samples

    def _remaining(self, finished: set[Pair]) -> Iterator[tuple[Task, int]]:
        for index, sample in episodes(self._tasks, self._samples, self._settings.seed):
            task = self._tasks[index]
            if (task.id, sample) not in finished:
                yield task, sample

    async def _watch(self, workers: list[asyncio.Task[None]]) -> str:
        """Wait for the workers, or for a reason to stop them; which it was."""
        reporter = asyncio.create_task(self._keep_reporting())
        everything: asyncio.Future[Any] = asyncio.gather(*workers)
        try:
            await asyncio.wait(
                {everything, reporter, self._stop}, return_when=asyncio.FIRST_COMPLETED
            )
            if reporter.done():
                await reporter
            if everything.done():
                await everything
            return self._stop.result() if self._stop.done() else ALL
        finally:
            self._closing = True
            for task in (reporter, *workers):
                task.cancel()
            await asyncio.wait({reporter, *workers}, timeout=_CLOSES_S)
            if everything.done() and not everything.cancelled():
                everything.exception()  # known by now, or of no interest any more

    async def _work(self, pairs: Iterator[tuple[Task, int]]) -> None:
        for task, sample in pairs:
            # Before Python 3.12 wait_for forgets a cancellation that comes as an episode ends.
            if self._stop.done() or self._closing:
                return
            server = self._client.take()
            try:
                await self._play(task, sample, server)
            finally:
                self._client.give_back(server)

    async def _play(self, task: Task, sample: int, server: Server) -> None:
        settings, meter = self._settings, self._meter
        name = self._environments.named(task)
        instance = Instance(self._environments, name, self._threads, meter)
        seed = zlib.crc32(f"{settings.seed}/{task.id}/{sample}".encode())

        async def ask(messages: Messages) -> Answer:
            cap = settings.max_tokens_spent
            if cap is not None and meter.spent >= cap:
                self._end(BUDGET)
                raise _OverBudgetError
            answer = await self._client.ask(server, messages)
            meter.spent += answer.prompt_tokens + answer.completion_tokens
            return answer

        async with self._instance(instance, name):
            episode = Episode(task, sample)
            error = await self._ended(episode.play(instance, ask, meter, seed, settings.max_turns))
            if error is not None:
                self._add(episode, error)

    async def _ended(self, playing: Coroutine[Any, Any, None]) -> str | None:
        """Why an episode failed; empty: it did not, None: it is not to be counted."""
        limit_s = self._settings.episode_timeout_s
        try:
            await asyncio.wait_for(playing, limit_s)
        except asyncio.TimeoutError:
            return f"not done within {limit_s:g} s"
        except EpisodeError as failure:
            return str(failure)
        except _OverBudgetError:
            return None
        except asyncio.CancelledError:
            if self._closing:
                raise
            return "environment: it was cancelled"
        return ""

    def _add(self, episode: Episode, error: str) -> None:
        """An episode has ended: write it, and see what that means for the others."""
        meter, limit = self._meter, self._settings.max_failed
        row = episode.row(self._version, self._split, error, self._trajectories.save)
        self._trajectories.append(row)
        meter.add(row)
        if meter.failed > limit * self._total:
            reasons = "; ".join(f"{count} x {what}" for what, count in meter.errors.most_common(3))
            raise LaunchError(
                f"{self._output}",
                f"{meter.failed} of {self._total} episodes failed ({reasons})",
                f"see `error` in its lines; collector.max_failed={limit:g} allows fewer",
            )
        self._check_threshold()

    @asynccontextmanager
    async def _instance(self, instance: Instance, name: str | None) -> AsyncGenerator[None]:
        """While this lasts, there is room for one more environment."""
        if name is None:
            yield
            return
        self._meter.begin(ENVIRONMENT)
        try:
            await self._instances.acquire()
        finally:
            self._meter.end(ENVIRONMENT)
        try:
            yield
        finally:
            try:
                await instance.close()
            finally:
                self._instances.release()

    def _check_threshold(self) -> None:
        """Give the last episodes their grace, once enough have ended."""
        enough = math.ceil(self._settings.completion_threshold * self._total - 1e-9)
        if enough <= self._meter.ended < self._total and not self._has_grace:
            self._has_grace = True
            loop = asyncio.get_running_loop()
            loop.call_later(self._settings.grace_s, self._end, THRESHOLD)

    def _end(self, reason: str) -> None:
        if not self._stop.done():
            self._stop.set_result(reason)

    def _report(self) -> None:
        figures = self._meter.figures(self._total)
        self._trajectories.progress(figures)
        if self._report_to is not None:
            self._report_to(figures)

    async def _keep_reporting(self) -> None:
        loop = asyncio.get_running_loop()
        synced = loop.time()
        while True:
            await asyncio.sleep(self._interval_s)
            self._report()
            if loop.time() - synced >= self._settings.sync_s:
                synced = loop.time()
                await loop.run_in_executor(None, self._trajectories.sync)


def _nothing(_: str) -> None:
    """Nobody wants to know."""
