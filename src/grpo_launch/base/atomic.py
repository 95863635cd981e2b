"""Files that are replaced as a whole."""

from __future__ import annotations

import contextlib
import os


def write(path: str | os.PathLike[str], text: str, *, durable: bool = False) -> None:
    """Write ``text`` so that a reader sees the old content or the new, never a part.

    Args:
        path: the file; its directory exists.
        text: the whole content.
        durable: also wait until it would survive a power cut (fsync of file and directory).

    Raises:
        OSError: it cannot be written; the old content is still there.
    """
    directory, name = os.path.split(os.fspath(path))
    fresh = os.path.join(directory, f".{name}.{os.getpid()}")
    try:
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    if durable:
        descriptor = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
