"""Files that anybody may have written or forged: read to a limit, and never waited for.

A name says nothing of what is there: opening a FIFO waits for ever, a device has no end,
and JSON can nest deeper than the interpreter. Guards import this module.
"""

from __future__ import annotations

import errno
import json
import os
import select
import stat
import time
from typing import Any, BinaryIO

AT_MOST = 64 << 20
"""Bytes that are read of a file unless somebody says otherwise."""

DEEPEST = 100
"""Levels of nesting in JSON; what walks through it later calls itself for each."""

_BLOCK = 1 << 16


def opened(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, open for reading bytes.

    Raises:
        OSError: it cannot be opened, or is no regular file.
        ValueError: a name that no file can have.
    """
    # Some devices act as soon as they are opened.
    _check_regular(os.stat(path), path)  # noqa: PTH116 (guards do without pathlib)
    file = os.fdopen(_descriptor(path), "rb")
    try:
        _check_regular(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def read(path: str | os.PathLike[str], at_most: int = AT_MOST) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        at_most: bytes.

    Raises:
        OSError: it cannot be read, is no regular file, or is longer.
        ValueError: a name that no file can have.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1) if size <= at_most else b""
        if len(content) > size:  # it has grown, or its size lies as in /proc
            content += file.read(at_most + 1 - len(content))
    if size > at_most or len(content) > at_most:
        raise _too_long(path, at_most)
    return content


def text(path: str | os.PathLike[str], at_most: int = AT_MOST) -> str:
    """As :func:`read`, as text; ``ValueError`` also where it is not UTF-8."""
    return read(path, at_most).decode("utf-8")


def from_person(path: str | os.PathLike[str], at_most: int, timeout_s: float) -> bytes:
    """What a person names on purpose, which may be a pipe: ``/dev/fd/63`` of ``<(...)``.

    Args:
        path: a file, pipe or device.
        at_most: bytes.
        timeout_s: seconds until it has to end.

    Raises:
        OSError: it cannot be read, is longer, or does not end in time.
        ValueError: a name that no file can have.
    """
    until = time.monotonic() + timeout_s
    content = b""
    descriptor = _descriptor(path)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        # An empty pipe reads like one that has ended; only poll(2) knows.
        while poller.poll(max(0.0, until - time.monotonic()) * 1000):
            block = os.read(descriptor, _BLOCK)
            content += block
            if not block:
                return content
            if len(content) > at_most:
                raise _too_long(path, at_most)
    finally:
        os.close(descriptor)
    raise OSError(errno.ETIMEDOUT, f"does not end within {timeout_s:g} s", os.fspath(path))


def loads(content: str | bytes) -> Any:
    """The value of JSON.

    Raises:
        ValueError: it is none, or nested deeper than :data:`DEEPEST`.
    """
    try:
        value: Any = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return value
    raise ValueError("nested too deeply")


def _descriptor(path: str | os.PathLike[str]) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)


def _check_regular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is no regular file", os.fspath(path))


def _too_long(path: str | os.PathLike[str], at_most: int) -> OSError:
    return OSError(errno.EFBIG, f"has more than {at_most} bytes", os.fspath(path))
