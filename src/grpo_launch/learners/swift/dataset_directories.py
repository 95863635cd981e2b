"""Which file of a directory ``datasets`` takes for training (``datasets/data_files.py``)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from itertools import islice
from pathlib import Path

_MOST_FILES = 1000
_NO_DATA = ("", ".md", ".yaml", ".py", ".log", ".lock")
_OTHER_SPLIT = re.compile(
    r"(^|[-._ 0-9/])(test|testing|eval|evaluation|val|valid|validation|dev)([-._ 0-9/]|$)"
)


def train_file(directory: Path, endings: Collection[str]) -> tuple[Path | None, str | None]:
    """The first file of the split train, or none and why that cannot be read.

    Args:
        directory: which is looked into at all depths.
        endings: of files that ``datasets`` has a reader for, without a dot.

    Returns:
        The file and None; None and a fault; or twice None where it cannot be told: the card of a
        data set may name the files, and media have readers of their own.
    """
    inner = islice(directory.rglob("*"), _MOST_FILES)
    there = sorted(p for p in inner if p.is_file() and not p.name.startswith("."))
    data = [path for path in there if path.suffix.lstrip(".") in endings]
    if not there:
        return None, "is an empty directory"
    if not data and all(path.suffix in _NO_DATA for path in there):
        return None, "holds no data files"
    if not data or len(there) == _MOST_FILES or any(p.name == "README.md" for p in there):
        return None, None
    names = {path: str(path.relative_to(directory)) for path in data}
    train = [path for path in data if "train" in names[path]]
    if not train and any(map(_OTHER_SPLIT.search, names.values())):
        return None, None
    first = (train or data)[0]
    kinds = Counter(path.suffix for path in there)
    # Of several formats the most common one is read.
    return (first, None) if kinds[first.suffix] == max(kinds.values()) else (None, None)
