"""What the rows of a local data set say to an environment.

ms-swift gives each row's ``env_config`` to the environment of its episode
(``swift/rollout/multi_turn.py``, ``GYMScheduler``). Only JSON lines are looked into, and of a
large file only the beginning: a check must stay fast.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import files
from grpo_launch.base.shipped_files import located

MAX_LINES = 20_000
"""Lines that are looked at; 20,000 with 200 bytes each take about 0.15 s."""

MAX_BYTES = 16 * 1024 * 1024
"""Bytes that are looked at, and the longest line."""

MOST_COUNTED = 256 * 1024 * 1024
"""Bytes of a file whose rows are counted; that many take about 0.3 s."""

_DATA_FILES = (".jsonl", ".json", ".csv", ".txt", ".parquet", ".arrow", ".tsv")
"""Names that end so mean a file, not the id of a data set in a hub."""


@dataclass(frozen=True)
class Rows:
    """One entry of ``dataset``.

    Attributes:
        name: the file, as the configuration names it, without ``#rows``.
        missing: whether it is a file that does not exist.
        unseen: why it was not looked into, or None.
        lines: lines looked at that hold a row.
        whole: whether these are all of them.
        unreadable: the number of the first line that is no JSON object; nothing behind it is read.
        without: rows without an ``env_config`` that is a mapping.
        first_without: the line of the first of them.
        names: for each environment that ``env_config.name`` names, the first line that does.
        nameless: the line of the first ``env_config`` that names no environment.
    """

    name: str
    missing: bool = False
    unseen: str | None = None
    lines: int = 0
    whole: bool = True
    unreadable: int | None = None
    without: int = 0
    first_without: int | None = None
    names: tuple[tuple[Any, int], ...] = field(default=())
    nameless: int | None = None


def read(entry: str, cwd: Path) -> Rows:
    """Look at one entry of ``dataset``.

    Args:
        entry: ``FILE``, ``FILE#ROWS`` or the id of a data set in a hub; found as the learner
            finds it (``swift/dataset/dataset_syntax.py``), among the shipped files too.
        cwd: the working directory of the learner.
    """
    name = name_of(entry, cwd)
    path = cwd / str(located("dataset", name, cwd))
    try:
        if path.is_file():
            return _read(name, path)
        if path.is_dir():
            return Rows(name, unseen=f"{name} is a directory")
    except (OSError, ValueError) as error:  # a name with a zero byte, no permission
        return Rows(name, unseen=f"{name} cannot be read ({_reason(error)})")
    if is_file_name(name):
        return Rows(name, missing=True)
    return Rows(name, unseen=f"{name} is a data set of a hub")


@dataclass(frozen=True)
class Counts:
    """The rows of each entry of ``dataset``; None where they were not counted."""

    rows: tuple[tuple[str, int | None], ...]

    @property
    def all(self) -> int | None:
        """The rows of all entries together; None where one is not known."""
        counted = [number for _, number in self.rows if number is not None]
        return sum(counted) if counted and len(counted) == len(self.rows) else None


def count(entry: str, cwd: Path) -> int | None:
    """The rows that one entry of ``dataset`` gives; None where that takes more than counting lines.

    Args:
        entry: as for :func:`read`; ``#ROWS`` samples as many.
        cwd: the working directory of the learner.
    """
    name = name_of(entry, cwd)
    _, hash_, rows = entry.rpartition("#")
    if hash_ and rows.isdecimal() and not _is_file(cwd / entry):
        return int(rows)
    path = cwd / str(located("dataset", name, cwd))
    try:
        if path.suffix != ".jsonl" or not path.is_file() or path.stat().st_size > MOST_COUNTED:
            return None
        with path.open("rb") as file:
            return sum(1 for line in file if not line.isspace())
    except (OSError, ValueError):
        return None


def sample_of(entry: str, cwd: Path) -> str | None:
    """What stands for ROWS in ``NAME#ROWS``; None where nothing does."""
    _, hash_, rows = entry.rpartition("#")
    return rows if hash_ and not exists(cwd / entry) else None


def name_of(entry: str, cwd: Path) -> str:
    """The file or the id, without ``hf::``, ``:subset`` and ``#rows``."""
    name = entry if sample_of(entry, cwd) is None else entry.rpartition("#")[0]
    return name if _is_file(cwd / name) else name.rpartition("::")[2].partition(":")[0]


def is_file_name(name: str) -> bool:
    """Whether a name means a file: it is no id ``ORGANIZATION/NAME`` of a data set in a hub."""
    ends = name.lower().endswith(_DATA_FILES)
    return ends or name.startswith(("/", ".", "~")) or name.count("/") > 1


def objects(text: bytes) -> list[dict[str, Any]] | None:
    """The rows of a line; None where it is no JSON object, nor several in a row."""
    if (row := _object(text)) is not None:
        return [row]
    decoder, rows, at = json.JSONDecoder(), [], 0
    try:
        line = text.decode("utf-8").strip()
        while at < len(line):
            row, end = decoder.raw_decode(line, at)
            rows.append(row)
            at = end + len(line[end:]) - len(line[end:].lstrip())
    except (ValueError, RecursionError):
        return None
    return rows if all(isinstance(row, dict) for row in rows) else None


def exists(path: Path) -> bool:
    """Whether there is such a file; false also for what cannot be a name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _read(name: str, path: Path) -> Rows:
    if path.suffix != ".jsonl":
        return Rows(name, unseen=f"{name} holds no JSON lines")
    lines = without = 0
    first_without = nameless = unreadable = None
    names: dict[Any, int] = {}
    reader = Lines(path)
    for number, text in reader.numbered():
        row = _object(text)
        if row is None:
            unreadable = number
            break
        lines += 1
        config = env_config(row)
        if not isinstance(config, dict):
            without += 1
            first_without = first_without or number
        elif "name" not in config:
            nameless = nameless or number
        else:
            said: Any = cast("dict[str, Any]", config)["name"]
            names.setdefault(said if isinstance(said, str) else repr(said), number)
    return Rows(
        name=name,
        lines=lines,
        whole=reader.whole and unreadable is None,
        unreadable=unreadable,
        without=without,
        first_without=first_without,
        names=tuple(names.items()),
        nameless=nameless,
    )


def env_config(row: dict[str, Any]) -> Any:
    """The ``env_config`` that the server gets with a row; None where there is none.

    Source: ``OnPolicySample.to_infer_request`` (``swift/rl_core/data.py``): a column
    ``data_dict`` wins over the others.
    """
    inner = row.get("data_dict")
    if isinstance(inner, dict) and "env_config" in inner:
        return cast("dict[str, Any]", inner)["env_config"]
    return row.get("env_config")


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        row = files.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", row) if isinstance(row, dict) else None


class Lines:
    """The first lines of a file, with their numbers; blank ones are left out."""

    def __init__(self, path: Path, most: int | None = None) -> None:
        self._path = path
        self._most = MAX_LINES if most is None else most
        self.whole = True

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """The number and the text of each line, from 1."""
        left = MAX_BYTES
        with files.opened(self._path) as file:
            for number in range(1, self._most + 1):
                text = file.readline(left + 1)
                left -= len(text)
                if not text or left < 0:
                    self.whole = not text
                    return
                if text.strip():
                    yield number, text
            self.whole = not file.read(1)
