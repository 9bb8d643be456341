"""What a machine offers, and what may keep runs from working here: a finding each, none of which changes anything.

What is left of sessions whose end nobody saw (a helper that was killed together with its driver) is found by the mark that their processes carry and by the
names of their directories; `clean` ends and removes that, and nothing of a session that is alive.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from asyncnet.kernels.kernel import cache_folder

from . import reaper
from .memory import Memory
from .ray_internals import found
from .session import LONGEST_PARENT, OBJECT_STORE, THREADS, unanswered

FINE, NOTE, WRONG = "fine", "note", "wrong"
NEEDED = ("numpy", "numba", "ray", "msgpack", "pyzmq", "pydantic")
SPARE = 1 << 30  # bytes that should be free where runs are written
YOUNG = 60.0  # seconds: a directory may be there before its helper is
PARENTS = (tempfile.gettempdir(), "/tmp")
LATE = 500.0  # microseconds that a sleep of a millisecond may be late
_TIME_ERROR = 5  # what adjtimex says of a clock that nobody keeps


class Finding(NamedTuple):
    """What was looked at, what was found, whether that is fine, and what to do else."""

    what: str
    found: str
    verdict: str
    advice: str = ""


class Left(NamedTuple):
    """What is left of a session that nobody looks after any more."""

    mark: str  # "": only a directory
    processes: tuple[int, ...]
    directory: Path | None


def findings() -> Iterator[Finding]:
    """Everything that is looked at, one after the other."""
    yield _versions()
    yield _cores()
    yield _threads()
    yield _cache()
    yield from _room()
    yield _sharing()
    yield _encryption()
    yield _timers()
    yield _clock()
    yield _token()
    yield _cluster()
    yield _leftovers()


def _versions() -> Finding:
    try:
        known = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in NEEDED)
    except importlib.metadata.PackageNotFoundError as error:
        return Finding("versions", f"{error.name} is missing", WRONG, "pip install asyncnet")
    return Finding("versions", f"Python {platform.python_version()}, {known}", FINE)


def _cores() -> Finding:
    cores, memory = len(os.sched_getaffinity(0)), psutil.virtual_memory()
    said = f"{cores} core{'s' * (cores != 1)}, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB of memory free"
    few = "on one core actors take turns, and clocks of a millisecond are missed: raise `tick`, or keep to one process"
    return Finding("machine", said, NOTE if cores < 2 else FINE, few if cores < 2 else "")


def _threads() -> Finding:
    unset = [name for name in THREADS if os.environ.get(name) != "1"]
    advice = f"export {' '.join(f'{name}=1' for name in unset)}: sums by several threads need not repeat bit by bit" if unset else ""
    return Finding("threads of libraries", "one each" if not unset else f"{', '.join(unset)}: not 1", NOTE if unset else FINE, advice)


def _cache() -> Finding:
    folder = cache_folder()
    if folder is None:
        return Finding(
            "compiled kernels", "there is no place to keep them", WRONG, "set ASYNCNET_CACHE to a folder that can be written; each run compiles else"
        )
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    kept = f"{len(sizes):,} files, {sum(sizes) / 2**20:,.0f} MiB in {folder}"
    if folder.name.startswith("kernels-of-asyncnet-"):
        return Finding("compiled kernels", kept, NOTE, "the folder for them cannot be written, so they go with this process; set ASYNCNET_CACHE")
    return Finding("compiled kernels", kept, FINE)


def _room() -> Iterator[Finding]:
    parent = tempfile.gettempdir()
    free = shutil.disk_usage(parent).free
    long = len(parent) > LONGEST_PARENT
    advice = (
        "its name is too long for Ray's sockets, so sessions live in /tmp"
        if long
        else "less than a GiB is free: Ray and checkpoints want some"
        if free < SPARE
        else ""
    )
    yield Finding("temporary files", f"{parent}, {free / 2**30:.1f} GiB free", NOTE if advice else FINE, advice)
    with suppress(OSError):
        free = shutil.disk_usage("/dev/shm").free
        small = free < OBJECT_STORE
        yield Finding(
            "/dev/shm",
            f"{free / 2**20:,.0f} MiB free",
            NOTE if small else FINE,
            "Ray keeps its objects on the disk then; a container wants --shm-size" if small else "",
        )


def _sharing() -> Finding:
    try:
        memory = Memory(1, 64)
        opened = Memory.of(memory.address)
        memory.hide()
    except OSError as error:
        return Finding("memory between actors", error.strerror or str(error), NOTE, "actors of this machine talk over sockets instead: tens of times slower")
    if opened is None:
        return Finding(
            "memory between actors", "another process's cannot be opened", NOTE, "actors of this machine talk over sockets instead: /proc is hidden here"
        )
    return Finding("memory between actors", "can be shared", FINE)


def _encryption() -> Finding:
    import zmq

    if not zmq.has("curve"):
        return Finding("sockets between machines", "this ZeroMQ has no CURVE", WRONG, "install pyzmq from its own wheels: without keys nothing is sent")
    return Finding("sockets between machines", f"ZeroMQ {zmq.zmq_version()} with CURVE", FINE)


def _timers() -> Finding:
    late = []
    for _ in range(50):
        began = time.perf_counter()
        time.sleep(0.001)
        late.append(1e6 * (time.perf_counter() - began) - 1000.0)
    late.sort()
    bad = late[-5] > LATE
    advice = "clocks of a millisecond will miss ticks: the machine is busy, or it wakes slowly" if bad else ""
    return Finding("timers", f"a sleep of 1 ms is {late[25]:.0f} us late (median), {late[-5]:.0f} us (90%)", NOTE if bad else FINE, advice)


def _clock() -> Finding:
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # modes 0: it only tells
    if state in (-1, _TIME_ERROR):
        return Finding(
            "time of day", "nobody keeps it" if state == _TIME_ERROR else "not known", NOTE, "only runs over several machines need it: chrony or ntpd on each"
        )
    return Finding("time of day", "kept by a time service", FINE)


def _token() -> Finding:
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode is not None and mode.lower() != "token":
        return Finding("Ray's token", f"RAY_AUTH_MODE={mode}", WRONG, "every user of this machine can run code in your sessions: unset it")
    if "RAY_AUTH_TOKEN" in os.environ:
        return Finding(
            "Ray's token",
            "in RAY_AUTH_TOKEN",
            NOTE,
            "processes of the same user can read an environment; a file of mode 0600 in RAY_AUTH_TOKEN_PATH is as good for less",
        )
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named or Path.home() / ".ray" / "auth_token")
    try:
        mode_of = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        if named:
            return Finding("Ray's token", f"{path} cannot be read", WRONG, "RAY_AUTH_TOKEN_PATH must name a file that holds it")
        return Finding("Ray's token", "each session of our own makes a fresh one", FINE)
    if mode_of & 0o077:
        return Finding("Ray's token", f"{path} is open to others (mode {mode_of:04o})", WRONG, f"chmod 600 {path}")
    return Finding("Ray's token", f"{path}, mode {mode_of:04o}", FINE)


def _cluster() -> Finding:
    address = os.environ.get("RAY_ADDRESS") or "auto"
    try:
        known = found(address)
    except (OSError, ValueError):
        known = ""
    if not known or known == "auto":
        return Finding("a Ray cluster to join", "none runs here", FINE)
    if why := unanswered(known):
        return Finding(
            "a Ray cluster to join",
            f"{known} does not answer: {why}",
            NOTE,
            "runs start a Ray of their own, unless --address asks for that one; `ray stop` clears what is left of it",
        )
    return Finding("a Ray cluster to join", f"{known} answers (--address {address})", FINE)


def _leftovers() -> Finding:
    left = leftovers()
    if not left:
        return Finding("left of sessions", "nothing", FINE)
    processes, directories = sum(len(one.processes) for one in left), sum(one.directory is not None for one in left)
    return Finding("left of sessions", f"{processes} processes, {directories} directories", WRONG, "asyncnet doctor --clean ends and removes them")


def leftovers() -> list[Left]:
    """What is left of sessions of this user whose helper is gone: it would have ended them."""
    guarded, marked = _guarded(), {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            mark = process.environ().get(reaper.MARK)
            if mark and mark not in guarded and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                marked.setdefault(mark, []).append(process.pid)
    directories = [path for path in _directories() if str(path) not in guarded.values()]
    of_none = [Left("", (), path) for path in directories]
    return [Left(mark, tuple(pids), None) for mark, pids in sorted(marked.items())] + of_none


def _guarded() -> dict[str, str]:
    """The directory of each session whose helper is there, by mark."""
    sessions = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            line = process.cmdline()
            if len(line) == 6 and line[1] == "-P" and Path(line[2]).name == Path(reaper.__file__).name:
                sessions[line[3]] = line[4]
    return sessions


def _directories() -> Iterator[Path]:
    """Directories of this user that sessions have made."""
    for parent in dict.fromkeys(PARENTS):
        for path in sorted(Path(parent).glob(f"{reaper.PREFIX}*")):
            with suppress(OSError):
                known = path.lstat()
                ours = stat.S_ISDIR(known.st_mode) and known.st_uid == os.getuid() and stat.S_IMODE(known.st_mode) == 0o700
                if ours and time.time() - known.st_mtime > YOUNG:
                    yield path


def clean(left: list[Left]) -> list[Left]:
    """End and remove it; returns what is still there."""
    for one in left:
        if one.mark:
            reaper.reap(one.mark, Path(os.devnull) / "nothing")
        if one.directory is not None:
            shutil.rmtree(one.directory, ignore_errors=True)
    return leftovers()
