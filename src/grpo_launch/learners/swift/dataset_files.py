"""The files of ``dataset`` and ``val_dataset``: whether they can be read, and their columns.

Found and read as ms-swift 4.6.0 does: ``DatasetSyntax.parse`` (``swift/dataset/dataset_syntax.py``)
and ``DatasetLoader._load_dataset_path`` (``loader.py``), which gives a file to the reader of
``datasets`` that its ending names.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

from grpo_launch.base import files
from grpo_launch.base.shipped_files import located
from grpo_launch.config.arguments import find, listed
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.learners.swift import dataset_directories, dataset_rows
from grpo_launch.learners.swift.dataset_messages import is_dropped

FEW_LINES = 200
"""Lines that a dry run looks at, which must stay fast; a check reads ``dataset_rows.MAX_LINES``."""

_READERS = ("arrow", "csv", "hdf5", "json", "jsonl", "lance", "pandas", "parquet", "txt", "xml")
"""Endings of files that ``datasets`` has a reader for, and those that ms-swift translates."""

_HEAD_BYTES = 1 << 20
_MOST_SHAPES = 200
_GZIP = b"\x1f\x8b"
"""``datasets`` decompresses such a file, whatever its name."""

_PARQUET = b"PAR1"
_REGISTERED = ("self-cognition",)
"""Names of data sets that ms-swift knows besides the ids of hubs."""

_INFO = "custom_dataset_info"
_CACHED = ("cached_dataset", "cached_val_dataset")


@dataclass(frozen=True)
class Shape:
    """Rows with the same columns: how many, and the line of the first one."""

    columns: tuple[str, ...]
    rows: int
    line: int


@dataclass(frozen=True)
class DataFile:
    """One entry of a data set.

    Attributes:
        key: dotted; that names it.
        name: the file, as the configuration names it, without ``#rows``.
        missing: whether it is a file that does not exist.
        beside: the existing directory that would hold it, where it is taken for a hub's.
        unseen: why it was not looked into, or None.
        fault: what keeps it from being read, ``d.jsonl:3 is not a JSON object``, or None.
        shapes: of the rows that were looked at.
        whole: whether these are all of them.
        longest: bytes of the longest prompt, and its line.
        dropped: rows whose messages ms-swift cannot read, and the line of the first.
    """

    key: str
    name: str
    missing: bool = False
    beside: str | None = None
    unseen: str | None = None
    fault: str | None = None
    shapes: tuple[Shape, ...] = ()
    whole: bool = True
    longest: tuple[int, int] = (0, 0)
    dropped: tuple[int, int] = (0, 0)

    @property
    def rows(self) -> int:
        """Rows that were looked at."""
        return sum(shape.rows for shape in self.shapes)


@dataclass(frozen=True)
class DataFiles:
    """Every entry of ``dataset``, ``val_dataset`` and their cached forms."""

    MISSING: ClassVar[str] = "the data set was not looked at"

    entries: tuple[DataFile, ...]


def read(config: LaunchConfig, cwd: Path) -> DataFiles:
    """Look at each entry.

    Args:
        config: as composed.
        cwd: the working directory of the learner.
    """
    most = FEW_LINES if config.dry_run else dataset_rows.MAX_LINES
    return DataFiles(tuple(_entries(config, cwd, most)))


def _entries(config: LaunchConfig, cwd: Path, most: int) -> Iterator[DataFile]:
    for argument in ("dataset", "val_dataset", *_CACHED, _INFO):
        key, value = find(config, argument)
        for item in listed(value):
            if isinstance(item, str) and item.strip():
                made = _cached if argument in _CACHED else _entry
                made = _info if argument == _INFO else made
                yield made(f"train.{key}", item, cwd, most)


def _cached(key: str, entry: str, cwd: Path, most: int) -> DataFile:
    del most
    name = dataset_rows.name_of(entry, cwd)
    try:
        missing = not (cwd / name).exists()
    except (OSError, ValueError):
        missing = True
    return DataFile(key, name, missing=missing, unseen=f"{name} is a cached data set")


def _info(key: str, entry: str, cwd: Path, most: int) -> DataFile:
    """A file, or a text, that describes data sets (``register_dataset_info``)."""
    del most
    path = cwd / Path(entry).expanduser()
    found = DataFile(key, entry, unseen=f"{entry} describes data sets")
    text: str | bytes = entry
    try:
        if path.is_file():
            text = files.read(path, dataset_rows.MAX_BYTES)
        body = files.loads(text)
    except OSError:
        return found
    except ValueError as error:
        if text is entry and not entry.lstrip().startswith(("[", "{")):
            return replace(found, missing=True)
        line = getattr(error, "lineno", None)
        return replace(found, fault=f"{entry}{f':{line}' if line else ''} is not JSON")
    items = cast("list[Any]", body) if isinstance(body, list) else [None]
    wrong = not all(map(_is_dict, items))
    return replace(found, fault=f"{entry} is no list of data sets") if wrong else found


def _entry(key: str, entry: str, cwd: Path, most: int) -> DataFile:
    name, sample = dataset_rows.name_of(entry, cwd), dataset_rows.sample_of(entry, cwd)
    if sample is not None and not re.fullmatch(r"\d{1,18}", sample.lstrip("0"), re.ASCII):
        fault = f"{entry} asks for {sample or 'no'} rows, which is no positive integer"
        return DataFile(key, name, fault=fault)
    path = cwd / str(located("dataset", name, cwd))
    try:
        if path.is_file():
            if name.endswith("/"):
                return DataFile(key, name, fault=f"{name} is a file, not a directory")
            return _file(key, name, path, most)
        if path.is_dir():
            return _directory(key, name, path, most)
        if path.exists():
            return DataFile(key, name, fault=f"{name} is no regular file")
    except (OSError, ValueError) as error:  # a name with a zero byte, no permission
        reason = getattr(error, "strerror", None) or type(error).__name__
        return DataFile(key, name, fault=f"{name} cannot be read ({reason})")
    if dataset_rows.is_file_name(name):
        return DataFile(key, name, missing=True)
    first, slash, _ = name.partition("/")
    beside = first if slash and (cwd / first).is_dir() else None
    if not slash and "::" not in entry and name not in _REGISTERED:
        beside = "."
    return DataFile(key, name, beside=beside, unseen=f"{name} is a data set of a hub")


def _directory(key: str, name: str, path: Path, most: int) -> DataFile:
    unseen = DataFile(key, name, unseen=f"{name} is a directory")
    file, fault = dataset_directories.train_file(path, _READERS)
    if file is None:
        return replace(unseen, fault=fault and f"{name} {fault}")
    shown = f"{name.rstrip('/')}/{file.relative_to(path)}"
    return replace(_file(key, shown, file, most), whole=False)


def _file(key: str, name: str, path: Path, most: int) -> DataFile:
    ending = path.suffix.lstrip(".")
    if path.stat().st_size == 0:
        return DataFile(key, name, fault=f"{name} has no rows")
    if ending not in _READERS:
        known = ", ".join(f".{kind}" for kind in ("jsonl", "json", "csv", "parquet", "txt"))
        what = f"{name} ends in {path.suffix or 'nothing'}, ms-swift reads {known}"
        return DataFile(key, name, fault=what)
    if ending in ("json", "jsonl"):
        return _json(key, name, path, most)
    if ending == "csv":
        return _csv(key, name, path)
    if ending == "txt":  # ``datasets`` makes one column of its lines
        return DataFile(key, name, shapes=(Shape(("text",), 1, 1),), whole=False)
    if ending == "parquet" and not _is_parquet(path):
        return DataFile(key, name, fault=f"{name} is no Parquet file")
    return DataFile(key, name, unseen=f"the columns of {name} were not read")


def _json(key: str, name: str, path: Path, most: int) -> DataFile:
    with files.opened(path) as file:
        head = file.read(_HEAD_BYTES).lstrip()[:2]
    if head == _GZIP:
        return DataFile(key, name, unseen=f"{name} is compressed")
    if head[:1] == b"[":
        return _list(key, name, path)
    seen = _Seen()
    reader = dataset_rows.Lines(path, most)
    for number, text in reader.numbered():
        rows = dataset_rows.objects(text)
        if rows is None:
            if not seen.shapes and (path.suffix == ".json" or text.strip() == b"{"):
                return _of_several_lines(key, name, path)
            what = f"{name}:{number} is not a JSON object"
            return DataFile(key, name, fault=what, whole=False)
        for row in rows:
            seen.add(row, number, len(text))
    return seen.file(key, name, reader.whole)


def _list(key: str, name: str, path: Path) -> DataFile:
    try:
        body = files.loads(files.read(path, dataset_rows.MAX_BYTES))
    except OSError:
        return DataFile(key, name, unseen=f"{name} is too long to be read as one list")
    except ValueError as error:
        where = f":{line}" if (line := getattr(error, "lineno", None)) else ""
        return DataFile(key, name, fault=f"{name}{where} is not JSON")
    seen = _Seen()
    for number, item in enumerate(cast("list[Any]", body), 1):
        if isinstance(item, str):
            seen.add({"text": item}, number, len(item))
        elif isinstance(item, dict):
            seen.add(cast("dict[str, Any]", item), number, _HEAD_BYTES)
        else:
            return DataFile(key, name, fault=f"item {number} of {name} is no row")
    return seen.file(key, name, whole=True)


def _of_several_lines(key: str, name: str, path: Path) -> DataFile:
    """Objects that are written over several lines, which ``datasets`` may read as rows."""
    unseen = DataFile(key, name, unseen=f"{name} holds JSON of several lines")
    try:
        body = files.loads(files.read(path, dataset_rows.MAX_BYTES))
    except OSError:
        return unseen
    except ValueError as error:
        if "Extra data" in str(error):
            return unseen
        where = f":{line}" if (line := getattr(error, "lineno", None)) else ""
        return DataFile(key, name, fault=f"{name}{where} is not JSON")
    columns = cast("dict[str, Any]", body).values() if isinstance(body, dict) else [None]
    if path.suffix == ".json" and not any(isinstance(c, list | dict) for c in columns):
        return DataFile(key, name, fault=f"{name} is one JSON value, not a list of rows")
    return unseen


def _csv(key: str, name: str, path: Path) -> DataFile:
    with files.opened(path) as file:
        text = file.read(_HEAD_BYTES).decode("utf-8-sig", "replace")
        whole = not file.read(1)
    try:
        rows = csv.reader(io.StringIO(text))
        columns, first = next(rows, []), next(rows, None)
        long = next((n for n, row in enumerate(rows, 3) if len(row) > len(columns)), None)
    except csv.Error:  # the first line is longer than csv takes
        return DataFile(key, name, unseen=f"the columns of {name} were not read")
    if first is None and whole:
        return DataFile(key, name, fault=f"{name} has no rows")
    if long and first is not None and len(first) <= len(columns) and whole:
        fault = f"row {long} of {name} has more fields than the {len(columns)} columns"
        return DataFile(key, name, fault=fault)
    return DataFile(key, name, shapes=(Shape(tuple(columns), 1, 2),), whole=False)


def _is_parquet(path: Path) -> bool:
    if path.stat().st_size < 3 * len(_PARQUET):
        return False
    with files.opened(path) as file:
        starts = file.read(len(_PARQUET)) == _PARQUET
        file.seek(-len(_PARQUET), io.SEEK_END)
        return starts and file.read() == _PARQUET


class _Seen:
    """Rows as they are read."""

    def __init__(self) -> None:
        self.shapes: dict[tuple[str, ...], list[int]] = {}
        self._longest = (0, 0)
        self._dropped = (0, 0)

    def add(self, row: dict[str, Any], number: int, at_most: int) -> None:
        """A row; ``at_most`` are the bytes of all of it."""
        columns = tuple(name for name, value in row.items() if value is not None)
        if is_dropped(row):
            self._dropped = (self._dropped[0] + 1, self._dropped[1] or number)
        if (seen := self.shapes.get(columns)) is not None:
            seen[0] += 1
        elif len(self.shapes) < _MOST_SHAPES:
            self.shapes[columns] = [1, number]
        if at_most > self._longest[0]:
            self._longest = max(self._longest, (_prompt_bytes(row), number))

    def file(self, key: str, name: str, whole: bool) -> DataFile:
        """What was seen."""
        if not self.shapes:
            return DataFile(key, name, fault=f"{name} has no rows")
        shapes = tuple(Shape(names, n, line) for names, (n, line) in self.shapes.items())
        seen = DataFile(key, name, shapes=shapes, whole=whole, longest=self._longest)
        return replace(seen, dropped=self._dropped)


def _prompt_bytes(row: dict[str, Any]) -> int:
    """UTF-8 bytes of what the learner surely sends as the prompt: the questions in a row."""
    messages = row.get("messages", row.get("conversations"))
    texts: list[Any] = [row.get("query"), row.get("prompt")]
    if isinstance(messages, list):
        turns = [cast("dict[str, Any]", m) for m in cast("list[Any]", messages) if _is_dict(m)]
        last = len(turns) - 1
        # The learner drops an answer at the end (``remove_response``).
        asked = (t for i, t in enumerate(turns) if i < last or t.get("role") != "assistant")
        texts = [turn.get("content", turn.get("value")) for turn in asked]
    return sum(len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str))


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)
