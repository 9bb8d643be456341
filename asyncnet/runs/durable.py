"""Files that survive a crash at any instant: what has its name is complete, and what was appended is whole up to some byte.

Every step on the disk is one call of `os`, so that a test can stop a writer before each of them. What is not complete yet, or no longer, is called
`.NAME.part`; the next writer beside it takes it away, so a folder has one writer at a time.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PART = ".part"


def make(folder: Path) -> None:
    """Make a directory and those above it, where there are none; OSError if its name is that of something else, a symbolic link included."""
    if not folder.parent.exists():
        make(folder.parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise
    else:
        _sync(folder.parent)


def create(path: Path) -> int:
    """A new file to append to, as a descriptor; FileExistsError if its name is taken."""
    descriptor = _create(path)
    _sync(path.parent)
    return descriptor


def append(descriptor: int, data: bytes) -> None:
    """Add data to a file; all of it is on the disk when this returns, and any beginning of it may be if this raises OSError."""
    _write_all(descriptor, data)
    os.fsync(descriptor)


class Lines:
    """A file of whole lines, made anew; what the disk does not take waits, and is tried again with the next."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        self._size, self._waiting = 0, b""

    def add(self, text: str) -> None:
        """Add lines to those that wait, and write them; OSError: they go on waiting, and none is there in part."""
        self._waiting += text.encode()
        try:
            _write_all(self._descriptor, self._waiting)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size, self._waiting = self._size + len(self._waiting), b""

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def replace(path: Path, data: bytes) -> None:
    """Give a file new contents: whoever looks finds the old or the new."""
    aside = _aside(path)
    if os.path.lexists(aside):
        discard(aside)
    with _whole_or_gone(aside):
        _write(aside, data)
        os.replace(aside, path)
    _sync(path.parent)


def appear(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a directory that holds these files: it has its name when all are on the disk. OSError if the name is taken."""
    _clear(path.parent)
    aside = _aside(path)
    with _whole_or_gone(aside):
        os.mkdir(aside)
        for name, data in files.items():
            _write(aside / name, data)
        _sync(aside)
        os.rename(aside, path)
    _sync(path.parent)


def vanish(path: Path) -> None:
    """Remove a directory: it has lost its name before anything in it is gone."""
    _clear(path.parent)
    with _whole_or_gone(_aside(path)):
        os.rename(path, _aside(path))
        _sync(path.parent)
        discard(_aside(path))


def plain(path: Path) -> BinaryIO:
    """Open a regular file for reading; OSError if it is anything else, such as a symbolic link, or a pipe that would never be read to its end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read(path: Path, most: int) -> bytes:
    """The contents of a regular file; ValueError if they are more than `most` bytes, which is seen before any is read."""
    with plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"{path.name} has {size} bytes, at most {most} are read")
        return file.read(size)


@contextmanager
def _whole_or_gone(aside: Path) -> Iterator[None]:
    """What could not be completed, for a disk is full, leaves nothing behind."""
    try:
        yield
    except OSError:
        with suppress(OSError):
            discard(aside)
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}{PART}")


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)


def _write(path: Path, data: bytes) -> None:
    descriptor = _create(path)
    try:
        append(descriptor, data)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    for left in folder.glob(f".*{PART}"):
        discard(left)


def discard(path: Path) -> None:
    """Remove a file, or a directory with all that is in it; a symbolic link is not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        os.unlink(path)
