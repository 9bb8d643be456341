"""Whatever instant a writer is killed at, what it had finished is read back, and the next writer works."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asyncnet.record.journal import Digest, Reader, Segment, Writer, encode
from asyncnet.runs import durable
from asyncnet.runs.checkpoint import Checkpoint, load, save
from support.disk import watch
from support.places import ROOT

# --- one step at a time -----------------------------------------------------------------------------------------------------------


def traced(monkeypatch, work: Callable[[], None]) -> list[str]:
    """The steps of some work, each with the names of what it is done to."""
    rows: list[str] = []

    def before(name: str, call: Callable[..., Any], *args: Any) -> None:
        paths = [os.readlink(f"/proc/self/fd/{arg}") if isinstance(arg, int) else arg for arg in args[: 2 if name in ("rename", "replace") else 1]]
        rows.append(" ".join([name, *(Path(path).name for path in paths)]))

    with monkeypatch.context() as patch:
        watch(patch.setattr, before)
        work()
    return rows


def test_nothing_has_its_name_before_it_is_on_the_disk(tmp_path, monkeypatch):
    folder = tmp_path / "over" / "in"
    assert traced(monkeypatch, lambda: durable.make(folder)) == ["mkdir over", f"fsync {tmp_path.name}", "mkdir in", "fsync over"]
    assert traced(monkeypatch, lambda: durable.make(folder)) == ["mkdir in"]
    assert traced(monkeypatch, lambda: durable.replace(folder / "a", b"1")) == [
        *("open .a.part", "write .a.part", "fsync .a.part"),
        *("replace .a.part a", "fsync in"),
    ]
    assert traced(monkeypatch, lambda: durable.appear(folder / "d", {"x": b"1", "y": b"2"})) == [
        *("mkdir .d.part", "open x", "write x", "fsync x", "open y", "write y", "fsync y", "fsync .d.part"),
        *("rename .d.part d", "fsync in"),
    ]
    gone = traced(monkeypatch, lambda: durable.vanish(folder / "d"))
    assert gone[:2] == ["rename d .d.part", "fsync in"]
    assert sorted(gone[2:]) == ["rmdir .d.part", "unlink x", "unlink y"]
    assert os.listdir(folder) == ["a"]


def test_a_file_appended_to_is_new_and_grows_by_what_is_on_the_disk(tmp_path, monkeypatch):
    descriptors: list[int] = []
    assert traced(monkeypatch, lambda: descriptors.append(durable.create(tmp_path / "a"))) == ["open a", f"fsync {tmp_path.name}"]
    assert traced(monkeypatch, lambda: durable.append(descriptors[0], b"12")) == ["write a", "fsync a"]
    durable.append(descriptors[0], b"3")
    os.close(descriptors[0])
    assert durable.read(tmp_path / "a", 3) == b"123"
    with pytest.raises(FileExistsError):
        durable.create(tmp_path / "a")


def test_what_a_crash_left_is_taken_away_by_the_next_writer_and_links_are_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"mine")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / ".a.part").symlink_to(kept / "file")
    (folder / ".d.part").symlink_to(kept)
    (folder / ".e.part").mkdir()
    (folder / ".e.part" / "half").write_bytes(b"1")
    durable.replace(folder / "a", b"1")
    durable.appear(folder / "d", {})
    assert sorted(os.listdir(folder)) == ["a", "d"]
    assert (kept / "file").read_bytes() == b"mine"


def test_a_folder_and_a_file_must_be_what_they_seem(tmp_path):
    (tmp_path / "file").write_bytes(b"12")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "link", "folder", "pipe"):
        with pytest.raises(FileExistsError):
            durable.make(tmp_path / name)
    for name in ("link", "folder", "pipe", "missing", "."):
        with pytest.raises(OSError, match=r"symbolic links|regular|No such"):
            durable.read(tmp_path / name, 1 << 20)
    with pytest.raises(ValueError, match="file has 2 bytes, at most 1"):
        durable.read(tmp_path / "file", 1)


# --- the kills --------------------------------------------------------------------------------------------------------------------


def state(number: int) -> Checkpoint:
    """A small state that differs from the others."""
    rng = np.random.default_rng(number)
    arrays = {"node/a": rng.normal(size=(3, 2)), "counts": rng.integers(-9, 9, 4), "none": np.zeros((0, 5))}
    return Checkpoint({"now": number, "score": [0.1 * number, None, "é"]}, arrays)


def segment(loop: str, number: int, last: bool = False) -> Segment:
    """One of two events; its loop's others come before and after."""
    events = np.array([[500 * number + i, 1 << 58 | i, number + 1] for i in range(2)], dtype=np.int64)
    return Segment(loop, number, 2 * number, events, np.full((1, 3), 0.1 * number), (Digest(2 * number + 2, 1, bytes([number]) * 16),), last)


STATES = [state(number) for number in range(4)]
TAPES = {"1": [segment("1", 0), segment("1", 1), segment("1", 2, last=True)], "2": [segment("2", 0), segment("2", 1)]}
BYTES = {loop: [encode(one) for one in tape] for loop, tape in TAPES.items()}
# A checkpoint by its number, a segment by its loop and number. Before the first there is checkpoint 0.
WORK = (1, ("1", 0), ("2", 0), 2, ("1", 1), ("2", 1), 3, ("1", 2))


def work(folder: Path, done: Callable[[], None]) -> None:
    """Everything that is written in one run, with a call after each piece of it."""
    writer = Writer(folder / "record")
    for what in WORK:
        if isinstance(what, int):
            save(folder / "checkpoints", what, STATES[what])
        else:
            writer.append(what[0], BYTES[what[0]][what[1]])
        done()


def killed(folder: Path, boundary: int) -> tuple[bool, int]:
    """Do the work in a child that kills itself at a boundary: whether it came so far, and how many pieces were done."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            boundaries, really_write = itertools.count(), os.write

            def before(name: str, call: Callable[..., Any], *args: Any) -> None:
                if next(boundaries) == boundary:
                    os.kill(os.getpid(), signal.SIGKILL)
                if name == "write" and next(boundaries) == boundary:
                    call(args[0], args[1][: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)

            watch(setattr, before)
            work(folder, lambda: really_write(tell, b"."))
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as file:
        done = len(file.read())
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status != 0, done


def same(one: Checkpoint, other: Checkpoint) -> bool:
    def plain(state: Checkpoint) -> dict[str, Any]:
        return {name: (array.dtype, array.shape, array.tobytes()) for name, array in state.arrays.items()}

    return one.about == other.about and plain(one) == plain(other)


def check_checkpoints(folder: Path, done: int) -> int:
    """The one under way is loaded if it has its name, else the last that was done; which one."""
    under_way = WORK[done] if done < len(WORK) else None
    number = max(what for what in (0, *WORK[:done]) if isinstance(what, int))
    if isinstance(under_way, int) and (folder / f"{under_way:012d}").exists():
        number = under_way
    found, passed = load(folder)
    assert same(found, STATES[number])
    assert not passed
    return number


def check_recording(path: Path, done: int) -> str | None:
    """All segments that were done are read, and none besides but the one under way; what is wrong with the file."""
    loop = path.stem
    appended = sum(what[0] == loop for what in WORK[:done] if not isinstance(what, int))
    if not path.exists():
        assert appended == 0
        return "missing"
    reader = Reader(path)
    found = [encode(one) for one in reader]
    assert found == BYTES[loop][: len(found)]
    assert appended <= len(found) <= appended + (WORK[done : done + 1] == ((loop, appended),))
    assert (reader.damage is None) == (len(found) > 0 and TAPES[loop][len(found) - 1].last)
    return reader.damage and reader.damage.partition(": ")[2].partition(",")[0]


def goes_on(folder: Path) -> None:
    """The next run saves and loads, and records beside what there is, never after it."""
    save(folder / "checkpoints", 9, STATES[1])
    assert same(load(folder / "checkpoints")[0], STATES[1])
    assert not list((folder / "checkpoints").glob(".*"))
    for loop in TAPES:
        if (folder / "record" / f"{loop}.anr").exists():
            with pytest.raises(FileExistsError, match=f"{loop}.anr"):
                Writer(folder / "record").append(loop, BYTES[loop][0])
    writer = Writer(folder / "again")
    writer.append("1", BYTES["1"][0])
    writer.close()
    assert [encode(one) for one in Reader(folder / "again" / "1.anr")] == BYTES["1"][:1]


def test_killed_at_every_boundary_of_writing_a_run_stays_readable_and_can_go_on(tmp_path):
    first = tmp_path / "first"
    first.mkdir()
    save(first / "checkpoints", 0, STATES[0])
    unreadable, loaded, damage = [], set(), set()
    for boundary in itertools.count():
        folder = tmp_path / str(boundary)
        shutil.copytree(first, folder)
        died, done = killed(folder, boundary)
        try:
            loaded.add(check_checkpoints(folder / "checkpoints", done))
            damage |= {check_recording(folder / "record" / f"{loop}.anr", done) for loop in TAPES}
            goes_on(folder)
        except (AssertionError, OSError, ValueError) as error:
            unreadable.append(f"at {boundary}, after {done}: {error!r}")
        if not died:
            break
    print(f"{len(unreadable)} of {boundary} unreadable")
    assert not unreadable
    assert boundary >= 50
    assert done == len(WORK)
    assert loaded == {0, 1, 2, 3}
    assert damage == {"missing", "holds no segment", "ends without the loop's end", *(f"ends within segment {number}" for number in range(3)), None}


# --- reading executes nothing -----------------------------------------------------------------------------------------------------

READS = """
import sys
from pathlib import Path
from asyncnet.runs.checkpoint import load
from asyncnet.record.journal import Reader
folder, seen = Path(sys.argv[1]), []
BANNED = ("pickle.", "exec", "compile", "import", "marshal.", "ctypes.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.", "socket.")
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(BANNED) else None)
state, passed = load(folder / "checkpoints")
readers = [Reader(folder / "record" / name) for name in ("1.anr", "2.anr")]
print(state.about["now"], len(passed), *(f"{len(list(reader))} {reader.damage is None}" for reader in readers))
print(seen)
exec("1")
print(seen)
"""


def test_reading_executes_nothing_even_where_a_file_is_damaged(tmp_path):
    durable.make(tmp_path / "checkpoints")
    work(tmp_path, lambda: None)
    (tmp_path / "checkpoints" / f"{3:012d}" / "state.safetensors").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with (tmp_path / "record" / "2.anr").open("ab") as file:
        file.write(b"cos\nsystem\n(S'true'\ntR.")
    done = subprocess.run([sys.executable, "-c", READS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["2 1 3 True 2 False", "[]", "['compile', 'exec']"], done.stderr
