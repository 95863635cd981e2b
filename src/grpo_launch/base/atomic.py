"""Files that are replaced as a whole."""

from __future__ import annotations

import contextlib
import errno
import os

_SPARE = 32 * 1024
"""Bytes that are put aside for a file's last content."""


def put_aside(path: str | os.PathLike[str]) -> None:
    """Take disk space for the last content of a file, see ``write(..., last=True)``.

    Raises:
        OSError: there is none.
    """
    spare = _spare(path)
    try:
        with open(spare, "xb") as file:
            file.write(bytes(_SPARE))  # written, not only allocated: that may fail later
    except FileExistsError:
        return
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(spare)
        raise


def write(
    path: str | os.PathLike[str], text: str, *, durable: bool = False, last: bool = False
) -> None:
    """Write ``text`` so that a reader sees the old content or the new, never a part.

    Args:
        path: the file; its directory exists.
        text: the whole content.
        durable: also wait until it would survive a power cut (fsync of file and directory).
        last: nothing more will be written; use what was put aside where the disk is full.

    Raises:
        OSError: it cannot be written; the old content is still there.
    """
    directory, name = os.path.split(os.fspath(path))
    fresh = os.path.join(directory, f".{name}.{os.getpid()}")
    try:
        _replace(path, fresh, "w", text, durable=durable)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not (last and is_full and os.path.exists(_spare(path))):
            raise
        _replace(path, _spare(path), "r+", text, durable=durable)
    if last:
        with contextlib.suppress(OSError):
            os.unlink(_spare(path))
    if durable:
        descriptor = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(
    path: str | os.PathLike[str], fresh: str, mode: str, text: str, *, durable: bool
) -> None:
    with open(fresh, mode, encoding="utf-8") as file:
        file.write(text)
        file.truncate()
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(fresh, path)


def _spare(path: str | os.PathLike[str]) -> str:
    directory, name = os.path.split(os.fspath(path))
    return os.path.join(directory, f".{name}.spare")


def point(link: str | os.PathLike[str], target: str) -> None:
    """Let a symbolic link lead to ``target``; a reader sees where it led before, or that.

    Raises:
        OSError: it cannot be made.
    """
    directory, name = os.path.split(os.fspath(link))
    fresh = os.path.join(directory, f".{name}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(target, fresh)
    os.replace(fresh, link)


def write_once(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` where there is no file yet; a reader never sees a part of it.

    Raises:
        FileExistsError: there is one; it is left as it is.
        OSError: it cannot be written.
    """
    directory, name = os.path.split(os.fspath(path))
    fresh = os.path.join(directory, f".{name}.{os.getpid()}")
    try:
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links (link(2))
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
