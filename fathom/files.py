"""Atomic file writes, and sentences for disk errors."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fathom.errors import FathomError

_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_PLACE = (errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


@contextmanager
def reporting_disk_errors(folder: Path, advice: str | None = None) -> Iterator[None]:
    """Turn errors of a full or read-only disk into a FathomError.

    Args:
        advice: what to do when the disk is full; to make room and resume, if not given.
    """
    resume = f"the last checkpoint is intact: make room and run `fathom resume {folder}`"
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise FathomError(
                f"the disk that holds {folder} is full, or a limit on file sizes was reached; "
                f"{advice or resume}"
            ) from error
        if error.errno in _NOT_OURS:
            raise FathomError(
                f"{error.filename or folder} cannot be written: {error.strerror}"
            ) from error
        if error.errno in _NO_PLACE:
            raise FathomError(
                f"{error.filename or folder} cannot be used: {error.strerror}"
            ) from error
        raise


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds the old contents or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_synced(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file, and return only when it is on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Bring what was added to a file to the disk, where there is such a file."""
    with suppress(FileNotFoundError), open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk: until then a file moved into it may be lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that no half of it is ever found under its name."""
    if folder.exists():
        doomed = folder.with_name(f".{folder.name}.{os.getpid()}.old.tmp")
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(folder, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
