"""Complete states on disk, from which a run can go on.

    000000012000/state.safetensors     every array
    000000012000/weights.safetensors   what was learned, by name (weights.py); for others, it is not read again
    000000012000/manifest.json         version, number, size and SHA-256 of the state, dtype and shape of each array, plain data; SHA-256 of all this

A checkpoint has its name when it is whole (durable.py), and the last two stay. Loading one executes nothing and trusts nothing: sizes are checked before
anything is read, checksums before anything is parsed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import safetensors.numpy
from pydantic import Field, ValidationError
from safetensors import SafetensorError

from asyncnet.runs import durable
from asyncnet.scenario.model import Model
from asyncnet.scenario.schema import ScenarioError
from asyncnet.text import as_json

KEPT = 2
STATE, MANIFEST = "state.safetensors", "manifest.json"
MOST_MANIFEST, MOST_STATE = 64 << 20, 64 << 30  # bytes
VERSION = 1

_NAME = re.compile(r"[0-9]{12,18}")
_DTYPES = {np.dtype(np.float64): "F64", np.dtype(np.int64): "I64"}
_BAD = (OSError, ValueError, KeyError, RecursionError, MemoryError, SafetensorError)  # what reading a damaged or hostile checkpoint may raise


class Checkpoint(NamedTuple):
    """A state: data that JSON can hold, and arrays of float64 or int64 by name. Numbers of the data that are not finite come back as None."""

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]
    where: str = "checkpoint"  # its directory, for those who find it wrong


class _State(Model):
    size: Annotated[int, Field(ge=0, le=MOST_STATE)]
    sha256: str


class _Array(Model):
    dtype: Literal["F64", "I64"]
    shape: list[Annotated[int, Field(ge=0)]]


class _Manifest(Model):
    version: Literal[1]
    number: int
    state: _State
    arrays: dict[str, _Array]
    about: dict[str, Any]


def save(folder: Path, number: int, checkpoint: Checkpoint, more: Mapping[str, bytes] | None = None) -> Path:
    """Write a checkpoint, of a larger number than those before it, and drop all that are older than the last KEPT whole ones.

    `more` are files beside it. A whole one of that number stays as it is. ValueError: an array of another dtype, or data that JSON cannot hold.
    """
    durable.make(folder)
    path = folder / f"{number:012d}"
    if not _whole(path):
        files = {**(more or {}), **_files(number, checkpoint)}
        if os.path.lexists(path):
            durable.vanish(path)
        durable.appear(path, files)
    whole = 0
    for each in _newest_first(folder):
        if whole == KEPT:
            durable.vanish(each)
        else:
            whole += each == path or _whole(each)
    return path


def load(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest whole checkpoint, and a line for each newer one, saying what is wrong with it; ScenarioError if none is whole."""
    if folder.is_symlink():
        raise ScenarioError(str(folder), "", "a symbolic link, which is not followed")
    passed: list[str] = []
    for path in _newest_first(folder):
        try:
            manifest = _manifest(path)
            return Checkpoint(manifest.about, _arrays(_state(path, manifest), manifest), str(path)), passed
        except _BAD as error:
            passed.append(f"{path}: {' '.join(str(error).split())[:200] or type(error).__name__}")
    raise ScenarioError(str(folder), "", "; ".join(["no whole checkpoint", *passed]))


def listed(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every checkpoint whose manifest is whole, the oldest first, with its plain data; their states are not looked at."""
    for path in reversed([] if folder.is_symlink() else _newest_first(folder)):
        try:
            about = _manifest(path).about
        except _BAD:
            continue
        yield path, about


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*") if _NAME.fullmatch(path.name)), key=lambda path: int(path.name), reverse=True)


def _files(number: int, checkpoint: Checkpoint) -> dict[str, bytes]:
    arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.arrays.items()}
    for name, array in arrays.items():
        if array.dtype not in _DTYPES:
            raise ValueError(f"array {name!r} is of {array.dtype}, neither float64 nor int64")
    state = safetensors.numpy.save(arrays)
    manifest = {
        "version": VERSION,
        "number": number,
        "state": {"size": len(state), "sha256": hashlib.sha256(state).hexdigest()},
        "arrays": {name: {"dtype": _DTYPES[array.dtype], "shape": array.shape} for name, array in arrays.items()},
        "about": checkpoint.about,
    }
    sealed = _sealed(as_json(manifest).encode())
    if len(sealed) > MOST_MANIFEST or len(state) > MOST_STATE:
        raise ValueError(f"a manifest of {len(sealed)} bytes and a state of {len(state)}, at most {MOST_MANIFEST} and {MOST_STATE} would be read again")
    return {STATE: state, MANIFEST: sealed}


def _whole(path: Path) -> bool:
    try:
        _state(path, _manifest(path))
    except _BAD:
        return False
    return True


def _manifest(path: Path) -> _Manifest:
    if path.is_symlink():
        raise ValueError("a symbolic link, which is not followed")
    raw = durable.read(path / MANIFEST, MOST_MANIFEST)
    text = raw[:-_SEAL] + b"}"
    if raw != _sealed(text):
        raise ValueError(f"{MANIFEST} is damaged: its checksum does not match")
    try:
        manifest = _Manifest.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{MANIFEST} is not of version {VERSION}: {'.'.join(str(key) for key in first['loc'])}: {first['msg']}") from None
    if manifest.number != int(path.name):
        raise ValueError(f"{MANIFEST} is that of number {manifest.number}")
    return manifest


def _state(path: Path, manifest: _Manifest) -> bytes:
    size = manifest.state.size
    if sum(8 * math.prod(array.shape) for array in manifest.arrays.values()) > size:
        raise ValueError(f"{MANIFEST} names arrays larger than {STATE}")
    data = durable.read(path / STATE, size)
    if len(data) != size:
        raise ValueError(f"{STATE} has {len(data)} bytes instead of {size}")
    if hashlib.sha256(data).hexdigest() != manifest.state.sha256:
        raise ValueError(f"{STATE} is damaged: its checksum does not match")
    return data


def _arrays(data: bytes, manifest: _Manifest) -> dict[str, np.ndarray]:
    arrays = safetensors.numpy.load(data)
    found = {name: (_DTYPES.get(array.dtype), list(array.shape)) for name, array in arrays.items()}
    if found != {name: (array.dtype, array.shape) for name, array in manifest.arrays.items()}:
        raise ValueError(f"the arrays of {STATE} are not those that {MANIFEST} names")
    return arrays


def _sealed(text: bytes) -> bytes:
    """A manifest with the checksum of all before it as its last key, so that no byte can change unseen."""
    return b'%s, "sha256": "%s"}\n' % (text[:-1], hashlib.sha256(text).hexdigest().encode())


_SEAL = len(_sealed(b"}"))
