"""What was found out about installed files, remembered until one of them changes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import files


class Memory:
    """Values in files of a directory, each valid while the files it is about are unchanged.

    A file that cannot be read or written costs time and nothing else.

    Args:
        directory: where; need not exist.
        place: what the values are about, for example an interpreter and versions: another
            place has a memory of its own.
    """

    def __init__(self, directory: Path, *place: str) -> None:
        self._directory = directory
        self._place = list(place)

    def recall(self, key: str) -> Any:
        """The value that was remembered for ``key``, or None."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            body = cast("dict[str, Any]", files.loads(files.read(self._file(key))))
            if body["place"] == self._place and body["files"] == _stamps(body["files"]):
                return body["value"]
        return None

    def remember(self, key: str, value: Any, files: Iterable[Path]) -> None:
        """Keep ``value``, which is plain data, until one of ``files`` changes."""
        with contextlib.suppress(OSError):
            body = {"place": self._place, "files": _stamps(map(str, files)), "value": value}
            _write(self._file(key), json.dumps(body))

    def _file(self, key: str) -> Path:
        place = zlib.crc32("\0".join(self._place).encode("utf-8", "surrogateescape"))
        name = re.sub(r"[^\w.+-]", "_", key)
        return self._directory / f"{name}-{place:08x}.json"


def _stamps(files: Iterable[str]) -> dict[str, list[int]]:
    """Size and time of the last change, in nanoseconds, of each file.

    Raises:
        OSError: one is gone.
    """
    stats = {path: Path(path).stat() for path in files}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}


def _write(file: Path, text: str) -> None:
    """Replace ``file`` in one step: another launcher may read it meanwhile. Only you may read it.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as out:
            out.write(text)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
