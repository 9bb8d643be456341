"""Checkpoints come back to the bit; one that is damaged or hostile is passed over, by name, and nothing else happens."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given, settings

from asyncnet.runs.checkpoint import KEPT, MANIFEST, STATE, Checkpoint, load, save
from asyncnet.scenario.schema import ScenarioError

shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
arrays = st.one_of(hnp.arrays(np.float64, shapes, elements=st.floats(width=64)), hnp.arrays(np.int64, shapes))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=4))
data = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=8)
checkpoints = st.builds(Checkpoint, st.dictionaries(st.text(max_size=4), data, max_size=3), st.dictionaries(st.text(max_size=4), arrays, max_size=3))

OLD = Checkpoint({"now": 1}, {"node/a.1": np.arange(3.0)})
NEW = Checkpoint({"now": 2, "score": [0.1, -0.0]}, {"node/a.1": np.arange(4.0), "counts": np.arange(2)})


def plain(checkpoint: Checkpoint) -> Any:
    """All of it, as what compares equal if the bits do."""
    return repr(checkpoint.about), {name: (array.dtype, array.shape, array.tobytes()) for name, array in checkpoint.arrays.items()}


def there(folder: Path) -> list[int]:
    return sorted(int(name) for name in os.listdir(folder))


@pytest.fixture
def folder(tmp_path) -> Path:
    """An older and a newer checkpoint, 1 and 2."""
    save(tmp_path / "checkpoints", 1, OLD)
    save(tmp_path / "checkpoints", 2, NEW)
    return tmp_path / "checkpoints"


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """At most a megabyte is taken meanwhile."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:012d}"


@settings(max_examples=40)
@given(checkpoints)
@example(Checkpoint({}, {}))
@example(Checkpoint({}, {"turned": np.arange(6.0).reshape(2, 3).T, "every other": np.arange(9)[::2]}))
def test_a_checkpoint_gives_back_its_state(checkpoint):
    with tempfile.TemporaryDirectory() as name:
        save(Path(name) / "checkpoints", 7, checkpoint)
        found, passed = load(Path(name) / "checkpoints")
    assert plain(found) == plain(checkpoint)
    assert passed == []


@pytest.mark.parametrize("array", [np.zeros(2, dtype=np.float32), np.zeros(2, dtype=">f8"), np.array([None]), np.array(["a"])])
def test_another_dtype_is_not_saved(tmp_path, array):
    with pytest.raises(ValueError, match="neither float64 nor int64"):
        save(tmp_path / "checkpoints", 1, Checkpoint({}, {"a": array}))
    assert os.listdir(tmp_path / "checkpoints") == []


def test_the_last_two_whole_ones_are_kept(tmp_path):
    for number in (1, 20, 300):
        save(tmp_path, number, OLD)
    assert KEPT == 2
    assert there(tmp_path) == [20, 300]
    (path_of(tmp_path, 300) / STATE).write_bytes(b"")
    save(tmp_path, 4000, OLD)
    assert there(tmp_path) == [20, 300, 4000]
    save(tmp_path, 10**12, NEW)
    assert there(tmp_path) == [4000, 10**12]
    assert plain(load(tmp_path)[0]) == plain(NEW)


def test_a_number_that_is_there_is_replaced_only_if_it_is_damaged(folder):
    assert save(folder, 2, OLD) == path_of(folder, 2)
    assert plain(load(folder)[0]) == plain(NEW)
    (path_of(folder, 2) / MANIFEST).unlink()
    save(folder, 2, OLD)
    assert plain(load(folder)[0]) == plain(OLD)
    assert there(folder) == [1, 2]


def assert_passed_over(folder: Path, why: str = "") -> None:
    """The older one is loaded, and one line says what is wrong with the newer."""
    found, passed = load(folder)
    assert plain(found) == plain(OLD)
    assert len(passed) == 1
    assert passed[0].startswith(f"{path_of(folder, 2)}: ")
    assert re.search(why, passed[0])
    assert "\n" not in passed[0]


@pytest.mark.parametrize("name", [STATE, MANIFEST])
def test_a_flipped_bit_anywhere_is_seen(folder, name):
    path = path_of(folder, 2) / name
    sound = path.read_bytes()
    for at in range(len(sound)):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << at % 8]) + sound[at + 1 :])
        assert_passed_over(folder, f"{name} is damaged")
    path.write_bytes(sound)
    assert plain(load(folder)[0]) == plain(NEW)


@pytest.mark.parametrize("name", [STATE, MANIFEST])
def test_a_file_cut_anywhere_or_longer_is_seen(folder, name):
    path = path_of(folder, 2) / name
    sound = path.read_bytes()
    for cut in [*(sound[:at] for at in range(len(sound))), sound + b"\0"]:
        path.write_bytes(cut)
        assert_passed_over(folder, name)


def forge(folder: Path, state: bytes | None, changes: dict[str, Any]) -> None:
    """Make the newer checkpoint's checksums match another state and other entries of its manifest."""
    path = path_of(folder, 2)
    manifest = json.loads((path / MANIFEST).read_bytes())
    del manifest["sha256"]
    if state is not None:
        (path / STATE).write_bytes(state)
        manifest["state"] = {"size": len(state), "sha256": hashlib.sha256(state).hexdigest()}
    text = json.dumps(manifest | changes)
    (path / MANIFEST).write_text(f'{text[:-1]}, "sha256": "{hashlib.sha256(text.encode()).hexdigest()}"}}\n')


def state_of(header: Any, values: bytes = bytes(8)) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def one(dtype: str = "F64", shape: tuple[int, ...] = (1,), end: int = 8) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


ONE = {"a": {"dtype": "F64", "shape": [1]}}
SHA = "0" * 64


def test_a_forged_checkpoint_that_is_well_formed_is_loaded(folder):
    forge(folder, state_of(one()), {"arrays": ONE})
    assert load(folder)[0].arrays == {"a": np.zeros(1)}


@pytest.mark.parametrize(
    ("why", "state", "changes"),
    [
        ("not of version 1: version", None, {"version": 2}),
        ("that of number 3", None, {"number": 3}),
        ("not of version 1: number", None, {"number": "2"}),
        ("not of version 1: about", None, {"about": []}),
        ("not of version 1: more", None, {"more": 1}),
        ("not of version 1: state.size", None, {"state": {"size": (64 << 30) + 1, "sha256": SHA}}),
        ("not of version 1: state.size", None, {"state": {"size": -1, "sha256": SHA}}),
        ("not of version 1: state", None, {"state": None}),
        ("arrays larger", None, {"state": {"size": 1, "sha256": SHA}}),
        ("bytes instead of", None, {"state": {"size": 64 << 30, "sha256": SHA}}),
        ("arrays larger", None, {"arrays": {"a": {"dtype": "F64", "shape": [1 << 40, 1 << 40]}}}),
        ("not of version 1: arrays.a.dtype", None, {"arrays": {"a": {"dtype": "F32", "shape": [1]}}}),
        ("not of version 1: arrays.a.shape", None, {"arrays": {"a": {"dtype": "F64", "shape": [-1]}}}),
        ("are not those", state_of(one("F32", end=4), bytes(4)), {"arrays": {}}),
        ("are not those", state_of(one("I64")), {"arrays": ONE}),
        ("are not those", state_of(one(shape=(1, 1))), {"arrays": ONE}),
        ("are not those", state_of({}, b""), {"arrays": {"a": {"dtype": "F64", "shape": [0]}}}),
        ("BF16", state_of(one("BF16", (4,))), {"arrays": {}}),
        ("unknown variant `O`", state_of(one("O")), {"arrays": {}}),
        ("overflow", state_of(one(shape=(1 << 62, 4))), {"arrays": {}}),
        ("deserializing", state_of(one(shape=(1 << 40,))), {"arrays": {}}),
        ("header", struct.pack("<Q", 1 << 60) + b"{}", {"arrays": {}}),
        ("header", struct.pack("<Q", 10) + b"{}", {"arrays": {}}),
        ("header", b"", {"arrays": {}}),
        ("header", b"\x93NUMPY\x01\x00" + bytes(120), {"arrays": {}}),
    ],
)
def test_a_hostile_checkpoint_whose_checksums_match_is_passed_over(folder, why, state, changes):
    forge(folder, state, changes)
    assert_passed_over(folder, why)


def test_a_deep_manifest_is_passed_over(folder):
    text = '{"about": ' + "[" * 100_000
    (path_of(folder, 2) / MANIFEST).write_text(f'{text}, "sha256": "{hashlib.sha256(f"{text}}}".encode()).hexdigest()}"}}\n')
    assert_passed_over(folder, "recursion|Expecting")


def test_an_array_too_large_to_be_real_takes_no_memory(folder):
    (path_of(folder, 2) / STATE).unlink()
    for name, size in ((STATE, 60 << 30), (MANIFEST, (64 << 20) + 1)):
        with (path_of(folder, 2) / name).open("wb") as file:
            file.truncate(size)  # takes no room on the disk either
        with little_memory():
            load(folder)
        shutil.rmtree(path_of(folder, 2))
        save(folder, 2, NEW)


def link_file(name: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        (path / name).rename(path.parent.parent / name)
        (path / name).symlink_to(path.parent.parent / name)

    return link


def link_folder(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def pipe(path: Path) -> None:
    (path / STATE).unlink()
    os.mkfifo(path / STATE)


@pytest.mark.parametrize(
    ("why", "harm"),
    [
        ("symbolic link", link_file(STATE)),
        ("symbolic link", link_file(MANIFEST)),
        ("symbolic link", link_folder),
        ("regular file", pipe),
        ("No such file.*state", lambda path: (path / STATE).unlink()),
        ("No such file.*manifest", lambda path: (path / MANIFEST).unlink()),
    ],
)
def test_links_pipes_and_missing_files_are_passed_over(folder, why, harm):
    harm(path_of(folder, 2))
    assert_passed_over(folder, why)


def test_where_none_is_whole_the_error_says_why(folder):
    for number in (1, 2):
        (path_of(folder, number) / STATE).write_bytes(b"")
    with pytest.raises(ScenarioError, match=r"checkpoints: no whole checkpoint; .*000002: state.safetensors has 0 bytes.*; .*000001: ") as caught:
        load(folder)
    assert (caught.value.where, caught.value.key) == (str(folder), "")
    with pytest.raises(ScenarioError, match="no whole checkpoint"):
        load(folder / "missing")
    (folder.parent / "link").symlink_to(folder)
    with pytest.raises(ScenarioError, match="symbolic link"):
        load(folder.parent / "link")
    with pytest.raises(FileExistsError):
        save(folder.parent / "link", 3, NEW)


def test_the_state_is_a_safetensors_file_that_others_can_read(folder):
    found = safetensors.numpy.load_file(path_of(folder, 2) / STATE)
    assert plain(Checkpoint(NEW.about, found)) == plain(NEW)
