"""Files that are whole whenever a process or a machine stops: what is there under its name is complete, what is appended is whole up to some byte.

Everything goes through os.* calls, one step each, so that a test can stop a writer before any of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

PART = ".part"


def create(path: Path) -> int:
    """A new file to append to, as a descriptor; FileExistsError if there is one of that name."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND | os.O_CLOEXEC, 0o644)


def append(descriptor: int, data: bytes) -> None:
    """Add data to a file; it is on the disk when this returns."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def replace(path: Path, data: bytes) -> None:
    """Give a file new contents: the old ones or the new, never anything else."""
    aside = path.with_name(f".{path.name}{PART}")
    _write(aside, data)
    os.replace(aside, path)
    _sync(path.parent)


def appear(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a directory with these files; it has its name only when all is on the disk. What earlier attempts left beside it is removed."""
    for old in path.parent.glob(f".*{PART}"):
        shutil.rmtree(old) if old.is_dir() else os.unlink(old)
    aside = path.with_name(f".{path.name}{PART}")
    os.mkdir(aside)
    for name, data in files.items():
        _write(aside / name, data)
    _sync(aside)
    os.rename(aside, path)
    _sync(path.parent)


def vanish(path: Path) -> None:
    """Remove a directory of files: it loses its name before anything in it is gone."""
    aside = path.with_name(f".{path.name}{PART}")
    os.rename(path, aside)
    _sync(path.parent)
    for file in sorted(aside.iterdir()):
        os.unlink(file)
    os.rmdir(aside)


def read(path: Path, most: int) -> bytes:
    """The contents of a file of at most so many bytes, links not followed; raises OSError, or ValueError if it is longer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size > most:
            raise ValueError(f"{size} bytes, at most {most}")
        return file.read(size)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        append(descriptor, data)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
