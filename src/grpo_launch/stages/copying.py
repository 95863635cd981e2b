"""Copies of large files, synced as they grow, so that a signal never waits long for the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_BLOCK = 32 << 20
"""Bytes between two looks at signals."""

_CANNOT = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)
"""What a kernel or a file system answers that copies nothing by itself."""


def copy(source: Path, target: Path) -> None:
    """Copy a file; where the file system can, it shares the blocks.

    Raises:
        OSError: it cannot be read or written, or its end is missing.
    """
    with open(source, "rb") as old, open(target, "xb") as new:
        size = os.fstat(old.fileno()).st_size
        if not _copied_by_kernel(old.fileno(), new.fileno(), size):
            while block := old.read(_BLOCK):
                new.write(block)
                new.flush()
                os.fdatasync(new.fileno())
        os.fchmod(new.fileno(), os.fstat(old.fileno()).st_mode & 0o777 | 0o400)
        os.fsync(new.fileno())
        if os.fstat(new.fileno()).st_size != size:
            raise OSError(errno.EIO, f"is not {size} bytes long any more", str(source))


def link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the file system cannot.

    Raises:
        OSError: as :func:`copy`.
    """
    source = source.resolve()  # link(2) would link a symbolic link itself
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (*_CANNOT, errno.EACCES, errno.EMLINK):
            raise
        copy(source, target)
        return
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copied_by_kernel(old: int, new: int, size: int) -> bool:
    """Whether copy_file_range(2) did all of it; if not, both files are at their beginning."""
    copied = 0
    while copied < size:
        try:
            count = os.copy_file_range(old, new, min(_BLOCK, size - copied))
        except OSError as error:
            if copied or error.errno not in _CANNOT:
                raise
            return False
        if not count:
            break
        copied += count
        os.fdatasync(new)
    return copied > 0 or not size  # some file systems answer that they have copied nothing
