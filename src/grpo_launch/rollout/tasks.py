"""Tasks: lines of a JSONL file, found again by number, so that a long file stays on disk."""

from __future__ import annotations

import json
import random
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from grpo_launch.errors import ConfigError

STANDARD = ("messages", "images", "audios", "videos", "tools", "objects")
"""Columns that have a field of their own in the request of an environment."""


@dataclass(frozen=True)
class Task:
    """What an episode is about.

    Attributes:
        id: its name in trajectories.
        row: its columns.
    """

    id: str
    row: Mapping[str, Any]

    @property
    def env_config(self) -> dict[str, Any]:
        """For its environment; a ``seed`` of the row is in it."""
        config = dict(self.row.get("env_config") or {})
        if "seed" in self.row:
            config.setdefault("seed", self.row["seed"])
        return config


class Tasks(Protocol):
    """Tasks by number; a list of :class:`Task` will do."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Task: ...


def checksum(tasks: Tasks) -> str:
    """Of the ids of tasks, whatever their order."""
    ids = (tasks[index].id.encode("utf-8", "replace") for index in range(len(tasks)))
    return f"{sum(map(zlib.crc32, ids)) % (1 << 32):08x}"


def episodes(tasks: Tasks, samples: int, seed: int) -> Iterator[tuple[int, int]]:
    """Numbers of task and sample, each pair once.

    The first samples of all tasks come before the second of any: what ends early has treated all
    tasks alike.

    Args:
        tasks: how many there are.
        samples: episodes of each.
        seed: of their order, which is another in each pass.
    """
    for sample in range(samples):
        order = array("L", range(len(tasks)))
        random.Random(f"{seed}/{sample}").shuffle(order)  # noqa: S311
        for index in order:
            yield index, sample


class TaskFile:
    """The tasks of a JSONL file: a row is a task, with ``id`` or else the number of its line.

    Args:
        path: the file; it must not change meanwhile.
        limit: only the first N tasks.

    Raises:
        ConfigError: it cannot be read, has no tasks, or a line is not a task.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self._path = path
        self._places = array("Q")
        self._lines = array("L")
        try:
            self._file = path.open("rb")
        except OSError as error:
            fix = "correct collector.train_tasks or eval_tasks"
            raise ConfigError(str(path), error.strerror or "cannot be read", fix) from None
        try:
            self._read(limit)
        except BaseException:
            self._file.close()
            raise

    def _read(self, limit: int | None) -> None:
        seen: set[str] = set()
        place = 0
        for number, line in enumerate(self._file, 1):
            if line.strip():
                task = self._task(line, number)
                if task.id in seen:
                    raise self._wrong(number, f"the id {task.id} stands twice")
                seen.add(task.id)
                self._places.append(place)
                self._lines.append(number)
                if len(self._places) == limit:
                    break
            place += len(line)
        if not self._places:
            raise ConfigError(str(self._path), "has no tasks", "write one in each line, as JSON")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int, /) -> Task:
        self._file.seek(self._places[index])
        return self._task(self._file.readline(), self._lines[index])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _task(self, line: bytes, number: int) -> Task:
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            raise self._wrong(number, "is not JSON") from None
        if not isinstance(row, dict):
            raise self._wrong(number, "is no object")
        row = cast("dict[str, Any]", row)
        if not isinstance(row.get("env_config") or {}, dict):
            raise self._wrong(number, "env_config is no object")
        messages: Any = row.get("messages") or []
        if not isinstance(messages, list) or not all(
            isinstance(each, dict) and isinstance(each.get("role"), str) and "content" in each
            for each in cast("list[Any]", messages)
        ):
            raise self._wrong(number, "messages is no list of objects with role and content")
        name = row.get("id")
        return Task(str(number if name is None else name), row)

    def _wrong(self, number: int, what: str) -> ConfigError:
        return ConfigError(f"{self._path}:{number}", what, "correct the task")
