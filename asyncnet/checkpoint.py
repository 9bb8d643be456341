"""Complete states on disk: a directory for each, `state.safetensors` and `manifest.json`; the last two are kept. Loading one executes nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from asyncnet import durable
from asyncnet.scenario import ScenarioError

VERSION = 1
KEPT = 2
STATE, MANIFEST = "state.safetensors", "manifest.json"
MOST_MANIFEST, MOST_STATE = 1 << 26, 1 << 36  # bytes
_TYPES = {"float64", "int64"}


class Checkpoint(NamedTuple):
    """A state: plain data that JSON can hold, and arrays (float64 or int64) by name."""

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]


def save(folder: Path, number: int, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, fsync it and give it its name; then drop all but the last KEPT. One of that number that is there already stays as it is."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{number:016d}"
    if not path.exists():
        arrays = {name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()}
        data = safetensors.numpy.save(arrays)
        manifest = {
            "version": VERSION,
            "number": number,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "arrays": {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()},
            "about": checkpoint.about,
        }
        durable.appear(path, {STATE: data, MANIFEST: json.dumps(manifest, allow_nan=False).encode()})
    for old in _all(folder)[:-KEPT]:
        durable.vanish(old)
    return path


def load(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest whole checkpoint, and a line for each newer one that is damaged; raises ScenarioError if none is whole."""
    passed: list[str] = []
    for path in reversed(_all(folder)):
        try:
            return _read(path), passed
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            passed.append(f"{path}: {' '.join(str(error).split())[:200] or type(error).__name__}")
    raise ScenarioError(str(folder), "", "; ".join(["no whole checkpoint", *passed]))


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.name.isdigit())


def _read(path: Path) -> Checkpoint:
    if path.is_symlink():
        raise ValueError("a symbolic link")
    manifest = json.loads(durable.read(path / MANIFEST, MOST_MANIFEST))
    if manifest["version"] != VERSION:
        raise ValueError(f"version {manifest['version']}, this program reads {VERSION}")
    data = durable.read(path / STATE, min(int(manifest["bytes"]), MOST_STATE))
    if len(data) != manifest["bytes"] or hashlib.sha256(data).hexdigest() != manifest["sha256"]:
        raise ValueError(f"{STATE} is not what the manifest says")
    arrays = safetensors.numpy.load(data)
    if {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()} != manifest["arrays"]:
        raise ValueError(f"the arrays of {STATE} are not those of the manifest")
    if not all(str(array.dtype) in _TYPES for array in arrays.values()) or not isinstance(manifest["about"], dict):
        raise ValueError("not a state")
    return Checkpoint(manifest["about"], arrays)
