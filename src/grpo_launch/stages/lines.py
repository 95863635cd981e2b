"""Lines of a collector's file, which may be cut off, too long, or no episodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from grpo_launch.base import files


def of(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and the line; one that is too long is cut."""
    at = 0
    while line := file.readline(files.AT_MOST):
        whole = len(line)
        while not line.endswith(b"\n") and (rest := file.readline(files.AT_MOST)):
            whole += len(rest)
            line = b"\n" if rest.endswith(b"\n") else b" "
        if line.strip() or whole > len(line):
            yield at, line
        at += whole


def parsed(line: bytes) -> dict[str, Any] | None:
    """The episode of a line, or None where it is none."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    body = cast("dict[str, Any]", row)
    if body.get("error"):
        return body
    said = body.get("messages")
    if not isinstance(said, list) or not all(
        isinstance(each, dict) for each in cast("list[Any]", said)
    ):
        return None
    return body
