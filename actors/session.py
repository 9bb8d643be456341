"""A private Ray session: starts fast, talks to nobody else, and leaves neither process nor file behind."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from asyncnet import interrupts
from asyncnet.scenario.schema import ScenarioError

from . import reaper
from .ray_internals import QUIET, environment, forget_token, found, knocked, loopback
from .reaper import leftovers

__all__ = ["Session", "leftovers", "session"]

OBJECT_STORE = 80_000_000
"""Bytes of Ray's object store, near the least Ray accepts: results are small and messages do not go through it."""

# One thread each: the loops are the parallelism, and sums over several threads would not repeat bit by bit.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

KNOCK = 5.0
"""Seconds in which a cluster must answer at its address."""

_REAPER_TIMEOUT = 20.0  # seconds; it gives up by itself well before
LONGEST_PARENT = 20  # characters; Ray puts sockets 84 characters deeper, and their paths may have 107


@dataclass(frozen=True)
class Session:
    """A running session: `address` of the cluster, the `namespace` for named actors, and for one of our own `mark` and `directory`."""

    address: str
    namespace: str
    mark: str | None = None
    directory: Path | None = None


@dataclass(frozen=True)
class Ground:
    """What a local session stands on: its `mark`, its `directory`, and the `environment` of its processes."""

    mark: str
    directory: Path
    environment: dict[str, str]


@contextmanager
def ground() -> Iterator[Ground]:
    """Hold what a local session stands on: when the block is left, or this process ends, every process that carries the mark ends and the directory goes."""
    mark = uuid.uuid4().hex
    parent = tempfile.gettempdir()
    directory = Path(tempfile.mkdtemp(prefix=reaper.PREFIX, dir=parent if len(parent) <= LONGEST_PARENT else "/tmp"))
    helper = _start_reaper(mark, directory)
    try:
        yield Ground(mark, directory, {**QUIET, **THREADS, reaper.MARK: mark, **_authentication(), **_token(directory)})
    finally:
        _finish(helper, mark)


@contextmanager
def session(address: str | None = None, cpus: int | None = None) -> Iterator[Session]:
    """Hold a Ray session for the length of a `with` block, in this process.

    Without an address it starts a local Ray of its own with `cpus` CPUs (None: those of the machine): loopback, token
    authentication, no dashboard, no usage statistics, a private directory. When the block is left, by an exception and by SIGTERM
    too, every process of it is ended and the directory removed; a driver that is killed has the same done within seconds by a
    helper process. With an address, `auto` or `host:port`, it joins that cluster in a namespace of its own and only leaves it.

    RuntimeError: this process has already initialised Ray. ValueError: `cpus` was given for a cluster that is to be joined.
    """
    if address is not None and cpus is not None:
        raise ValueError("a cluster that is joined has its own CPUs")
    imported_before = "ray" in sys.modules
    if imported_before:
        import ray

        if ray.is_initialized():
            raise RuntimeError("Ray is already initialised in this process")
    before = _sigterm_to_exit()
    try:
        with joined(address) if address is not None else _local(cpus, imported_before) as running, interrupts.raised():
            yield running
    finally:
        _set_sigterm(before)


@contextmanager
def _local(cpus: int | None, imported_before: bool) -> Iterator[Session]:
    with ground() as here:
        mode = here.environment.pop("RAY_AUTH_MODE", None)
        # Ray reads it when it is imported. Once imported, it would take it for granted and not act on it; unset, it turns tokens on by itself in `init`.
        if mode is not None and not imported_before:
            os.environ["RAY_AUTH_MODE"] = mode
        try:
            with environment(here.environment), _handlers_kept():
                forget_token()
                running = started(here, cpus)
            yield running
        finally:
            if "ray" in sys.modules:
                import ray

                ray.shutdown()
                forget_token()


def started(here: Ground, cpus: int | None = None) -> Session:
    """Start a local Ray on this ground, whose environment is that of this process, and be its driver."""
    import ray

    namespace = f"asyncnet-{uuid.uuid4().hex}"
    with loopback():
        context = ray.init(
            address="local",  # unlike None, which RAY_ADDRESS could point elsewhere
            num_cpus=cpus,
            namespace=namespace,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            # Ray opens its directory to everybody, so it gets one inside ours.
            _temp_dir=str(here.directory / "r"),
        )
    gcs = str(context.address_info["gcs_address"])
    if not gcs.startswith("127."):
        warnings.warn(f"Ray listens beyond this machine, at {gcs}", RuntimeWarning, stacklevel=4)
    return Session(gcs, namespace, here.mark, here.directory)


def unanswered(address: str) -> str:
    """Why nobody can be reached at a cluster's address, or "" if somebody answers there."""
    try:
        host, _, port = found(address).removeprefix("ray://").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), KNOCK).close()
    except (OSError, ValueError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def knock(address: str) -> None:
    """Refuse, with a ScenarioError, an address at which no cluster answers, or one that does not know us: Ray itself would try for minutes."""
    if why := unanswered(address):
        raise ScenarioError("--address", "", f"no Ray cluster answers at {address}: {why}")
    if address.startswith("ray://"):
        return
    try:
        against = knocked(found(address), 2 * KNOCK)
    except subprocess.TimeoutExpired:
        raise ScenarioError("--address", "", f"what answers at {address} is no Ray cluster") from None
    if "authentication" in against.lower():
        why = "it wants a token, the one this process has is missing or another; set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it"
        raise ScenarioError("--address", "", f"the Ray cluster at {address} does not let us in: {why}")


@contextmanager
def joined(address: str, *, ours: bool = False) -> Iterator[Session]:
    """Join the cluster at this address, and leave it; `ours`: another process of this machine is in it under that very address."""
    with _handlers_kept():
        import ray

    namespace = f"asyncnet-{uuid.uuid4().hex}"
    try:
        # Of an address on the loopback interface Ray makes one of the network's otherwise, where a local Ray does not listen.
        with _handlers_kept(), loopback() if ours and address.startswith("127.") else nullcontext():
            context = ray.init(
                address=address,
                namespace=namespace,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": dict(THREADS)},
            )
        yield Session(str(context.address_info["gcs_address"]), namespace)
    finally:
        ray.shutdown()


def _start_reaper(mark: str, directory: Path) -> subprocess.Popen[bytes]:
    # Not marked itself, even if this driver runs inside another session: that one's reaper must not end this one's.
    environment = {name: value for name, value in os.environ.items() if name != reaper.MARK}
    return subprocess.Popen(
        # -P: the script's own folder must not shadow modules of the standard library.
        [sys.executable, "-P", reaper.__file__, mark, str(directory), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=environment,
    )


def _finish(helper: subprocess.Popen[bytes], mark: str) -> None:
    """Let the reaper do its work and wait for it; a warning names what it could not end."""
    if helper.stdin is not None:
        helper.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        helper.wait(_REAPER_TIMEOUT)
    if helper.returncode != 0:
        pids = ", ".join(str(process.pid) for process in leftovers(mark))
        warnings.warn(f"the Ray session left something behind; processes: {pids or 'none'}", RuntimeWarning, stacklevel=2)


def _authentication() -> dict[str, str]:
    """Return the variable that turns token authentication on, or nothing if the user has chosen."""
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode is not None and mode.lower() != "token":
        warnings.warn(f"RAY_AUTH_MODE={mode}: every user of this machine can run code in this Ray session", RuntimeWarning, stacklevel=2)
    return {"RAY_AUTH_MODE": "token"} if mode is None else {}


def _token(directory: Path) -> dict[str, str]:
    """Return the variable that tells Ray where a fresh token lies, or nothing if the user has provided one."""
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return {}
    path = directory / "token"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return {"RAY_AUTH_TOKEN_PATH": str(path)}


def _exit_on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _sigterm_to_exit() -> object:
    """Make SIGTERM unwind the driver unless it has a handler of its own; return the handler it had."""
    before = signal.getsignal(signal.SIGTERM)
    _set_sigterm(before, within=True)
    return before


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray puts in a handler for SIGTERM of its own, when it is imported and when it starts, which exits with 15: meanwhile nobody sets one."""
    set_one = signal.signal
    signal.signal = lambda number, handler: signal.getsignal(number) if number == signal.SIGTERM else set_one(number, handler)
    try:
        yield
    finally:
        signal.signal = set_one


def _set_sigterm(before: object, within: bool = False) -> None:
    """Set the handler for SIGTERM to `before`, or within a session to ours if that is the default.

    Only the main thread may set handlers, and None means one not set from Python.
    """
    if threading.current_thread() is threading.main_thread() and before is not None:
        ours = within and before is signal.SIG_DFL
        signal.signal(signal.SIGTERM, _exit_on_sigterm if ours else before)  # type: ignore[arg-type]
