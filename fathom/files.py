"""Files that nothing inside a run's folder can turn into others, atomic writes, sentences for disk errors.

A run's folder may come from anyone. `Folder` looks every name up beneath the folder's descriptor and follows
no link on the way, so that what is read, written and removed lies in the folder itself.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fathom.errors import FathomError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_PLACE = (errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
# Windows has none of these; `Folder._open` refuses it.
_NOFOLLOW, _NONBLOCK, _CLOEXEC, _DIRECTORY = (
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY")
)
_READ = os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _CLOEXEC
_FOLDER = os.O_RDONLY | _DIRECTORY | _CLOEXEC
_CHUNK, _MOST_AT_ONCE = 1 << 20, 1 << 30


class UnsafeFileError(FathomError):
    """Something in a run's folder is not the plain file or folder that Fathom writes there."""


class Folder:
    """A folder and the files in it; a name is one entry of the folder, without slashes.

    Args:
        path: may be a link, or lie behind links, for the user named it.
        below: folders beneath it, none of which may be a link.

    Raises:
        UnsafeFileError: by every method: a name is a link, a folder where a file should be (or the other
            way round), a pipe, a device, or larger than it may be.
        OSError: by every method: the name is missing, the disk is full …
    """

    def __init__(self, path: Path, *below: str) -> None:
        self._root, self._below = path, below

    def __truediv__(self, name: str) -> Folder:
        return Folder(self._root, *self._below, name)

    @property
    def path(self) -> Path:
        """Its path, to show and to hand to what writes files by path."""
        return self._root.joinpath(*self._below)

    # -- reading ------------------------------------------------------------------------------

    def kind(self, name: str) -> str | None:
        """ "file", "folder", "link" or "other"; None where there is nothing."""
        try:
            with self._open() as folder:
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _kind(mode)

    def size(self, name: str) -> int:
        """Bytes of a file."""
        with self._descriptor(name) as file:
            return os.fstat(file).st_size

    def read(self, name: str, most: int) -> bytes:
        """The contents of a file of at most `most` bytes."""
        with self.reading(name, most) as file:
            return file.read()

    @contextmanager
    def reading(self, name: str, most: int) -> Iterator[Reader]:
        """Open a file of at most `most` bytes to read it from its start, or from where `Reader.skip` goes."""
        with self._descriptor(name) as descriptor:
            status = os.fstat(descriptor)
            size = status.st_size
            if size > most:
                raise UnsafeFileError(
                    f"{self.path / name} has {size:,} bytes, and a file of its kind at most {most:,}"
                )
            yield Reader(descriptor, size, status.st_blocks * 512, status.st_ino)

    def names(self) -> list[str]:
        """What is in the folder, links and the like included; nothing where there is no folder."""
        try:
            with self._open() as folder:
                return os.listdir(folder)
        except FileNotFoundError:
            return []

    # -- writing ------------------------------------------------------------------------------

    def make(self) -> None:
        """Make the folder where it is missing."""
        *above, name = self._below
        with Folder(self._root, *above)._open() as parent, suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
        with self._open():
            pass

    def write(self, name: str, data: bytes) -> None:
        """Write a new file, and return only when it is on the disk."""
        with self._open() as folder:
            _write(folder, name, data)

    def replace(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """Write a file so that a reader finds the old contents or the new, never a part."""
        temporary = f".{name}.{os.getpid()}.tmp"
        with self._open() as folder:
            try:
                _write(folder, temporary, data)
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a file, which is made where it is missing."""
        with self.writing(name, os.O_WRONLY | os.O_APPEND) as file:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]

    @contextmanager
    def writing(self, name: str, flags: int) -> Iterator[int]:
        """Open a file in place, made where it is missing; gives its descriptor."""
        with self._open() as folder:
            self._check(folder, name, missing=True)
            flags |= os.O_CREAT | _NOFOLLOW | _NONBLOCK | _CLOEXEC
            file = os.open(name, flags, 0o666, dir_fd=folder)
        try:
            if os.fstat(file).st_nlink > 1:
                raise UnsafeFileError(
                    f"{self.path / name} has another name elsewhere (a hard link), so it is not written to:"
                    " copy the run's folder, and use the copy"
                )
            yield file
        finally:
            os.close(file)

    def sync(self, name: str) -> None:
        """Bring what was added to a file to the disk, where there is such a file."""
        with suppress(FileNotFoundError), self._descriptor(name) as file:
            os.fsync(file)

    def sync_names(self) -> None:
        """Bring the folder's names to the disk: until then a file moved into it may be lost."""
        with self._open() as folder:
            os.fsync(folder)

    def rename(self, old: str, new: str) -> None:
        """Give an entry another name; a file of that name is replaced."""
        with self._open() as folder:
            os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self, name: str) -> None:
        """Remove a file, a link (not what it points to), or a folder with all that is in it.

        No half of a folder is ever found under its name.
        """
        with self._open() as folder:
            try:
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            except FileNotFoundError:
                return
            if not stat.S_ISDIR(mode):
                os.unlink(name, dir_fd=folder)
                return
            doomed = name
            if not name.startswith("."):
                doomed = f".{name}.{os.getpid()}.old.tmp"
                shutil.rmtree(doomed, ignore_errors=True, dir_fd=folder)
                os.rename(name, doomed, src_dir_fd=folder, dst_dir_fd=folder)
            shutil.rmtree(doomed, ignore_errors=True, dir_fd=folder)

    # -- descriptors --------------------------------------------------------------------------

    @contextmanager
    def _open(self) -> Iterator[int]:
        """The folder's descriptor."""
        if not _NOFOLLOW or os.open not in os.supports_dir_fd:
            raise FathomError(
                f"{self.path} cannot be used: Fathom keeps runs on Linux and macOS only, for this system cannot open"
                " files without following links; on Windows use the Windows Subsystem for Linux (docs/platforms.md)"
            )
        folder = os.open(self._root, _FOLDER)
        try:
            for depth, name in enumerate(self._below):
                try:
                    deeper = os.open(name, _FOLDER | _NOFOLLOW, dir_fd=folder)
                except OSError as error:
                    if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                        raise
                    at = self._root.joinpath(*self._below[: depth + 1])
                    raise UnsafeFileError(_not_own(at, "folder")) from error
                os.close(folder)
                folder = deeper
            yield folder
        except OSError as error:  # a name beneath a descriptor says nothing by itself
            if isinstance(error.filename, str) and error.filename != str(self._root):
                error.filename = str(self.path / error.filename)
            raise
        finally:
            os.close(folder)

    @contextmanager
    def _descriptor(self, name: str) -> Iterator[int]:
        """The descriptor of a file, to read it."""
        with self._open() as folder:
            self._check(folder, name)
            file = os.open(name, _READ, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise UnsafeFileError(_not_own(self.path / name, "file"))
            yield file
        finally:
            os.close(file)

    def _check(self, folder: int, name: str, missing: bool = False) -> None:
        """Refuse what is no file before it is opened, which for a device may be too much already."""
        try:
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            if missing:
                return
            raise
        if not stat.S_ISREG(mode):
            raise UnsafeFileError(_not_own(self.path / name, "file"))


class Reader:
    """Reads a file from its start; gives the bytes that were asked for, or fewer at its end."""

    def __init__(self, descriptor: int, size: int, stored: int, number: int) -> None:
        self._descriptor, self._left = descriptor, size
        self.size = size
        """Bytes of the file when it was opened; not more are read."""
        self.stored = stored
        """Bytes that the disk holds of it: fewer where it has holes; 0 where the file system does not say."""
        self.number = number
        """Number of the file (its inode), another one when a new file took its name."""
        self.rest = 0

    def skip(self, to: int) -> None:
        """Read on from a byte of the file, or from its end."""
        to = min(to, self.size)
        os.lseek(self._descriptor, to, os.SEEK_SET)
        self._left = self.size - to

    def read(self, count: int | None = None) -> bytes:
        left = self._left if count is None else min(count, self._left)
        parts = []
        while left and (part := os.read(self._descriptor, min(left, _MOST_AT_ONCE))):
            left -= len(part)
            self._left -= len(part)
            parts.append(part)
        return b"".join(parts)  # one part is not copied

    def chunks(self) -> Iterator[bytes]:
        """The rest of the file, in parts."""
        while part := self.read(_CHUNK):
            yield part

    def lines(self, longest: int) -> Iterator[bytes]:
        """The lines, with their ends; lines of more than `longest` bytes are left out.

        `rest` then says how many bytes at the end are of a line without an end.
        """
        rest, skipping = b"", False
        while part := self.read(_CHUNK):
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                if not skipping and len(line) <= longest:
                    yield line + b"\n"
                skipping = False
            if skipping or len(rest) > longest:
                rest, skipping = b"", True
        self.rest = len(rest)
        if rest and not skipping:
            yield rest

    def is_locked(self) -> bool:
        """Whether somebody has locked the file for himself (`flock`); False where there are no locks."""
        if fcntl is None:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False


def lock_file(file: int) -> None:
    """Lock an open file for this process alone, until it is closed; without locks warn of that.

    Raises:
        BlockingIOError: somebody else has locked it.
        OSError: its file system has no locks.
    """
    if fcntl is None:
        warnings.warn(
            "this system has no file locks: see to it yourself that no run is trained twice at the same time",
            stacklevel=2,
        )
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _not_own(path: Path, wanted: str) -> str:
    kinds = {
        "link": "a link",
        "file": "a file",
        "folder": "a folder",
        "other": "a pipe or a device",
    }
    kind = kinds[_kind(os.lstat(path).st_mode)]
    return f"{path} is {kind}, and Fathom uses it only as a plain {wanted} of the run's own"


@contextmanager
def reporting_disk_errors(folder: Path, advice: str | None = None) -> Iterator[None]:
    """Turn errors of a full, a read-only or a vanished disk into a FathomError.

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
        if error.errno == errno.ENOENT and not os.path.isdir(folder):
            raise FathomError(f"the folder {folder} was removed or moved meanwhile") from error
        if error.errno in (*_NOT_OURS, *_NO_PLACE):
            raise FathomError(
                f"{error.filename or folder} cannot be used: {error.strerror}"
            ) from error
        raise


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds the old contents or the new, never a part.

    The folder may lie behind links; a link at the path itself is replaced, not followed.
    """
    Folder(path.parent).replace(path.name, data)


def sync_file(path: Path) -> None:
    """Bring what was added to a file to the disk."""
    Folder(path.parent).sync(path.name)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk: until then a file moved into it may be lost."""
    Folder(folder).sync_names()


def _write(folder: int, name: str, data: bytes | Iterable[bytes]) -> None:
    """Write a file that is new: whatever had its name is not written to."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC
    with open(os.open(name, flags, 0o666, dir_fd=folder), "wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
        file.flush()
        os.fsync(file.fileno())
