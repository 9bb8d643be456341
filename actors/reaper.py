"""Ends what a session has started, even if its driver was killed: a script that outlives the driver by a moment.

It runs as a process of its own, in its own process session, and waits for the end of the driver: the end of file on its standard
input, which no death of the driver can withhold. It is told by its arguments the session's mark and directory and the driver's pid.
The mark is found in the environment of processes, since whatever Ray starts inherits it; nothing is ever ended by its name.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "ASYNCNET_SESSION"
"""Environment variable that all processes of a session carry, with the session's mark as its value."""

PREFIX = "asyncnet-"
"""How the name of a session's directory begins; the reaper removes no other."""

_GRACE = 0.7  # seconds from the polite signal to the one nobody can refuse
_TIMEOUT = 8.0  # seconds after which the reaper gives up
_PAUSE = 0.05


def leftovers(mark: str) -> list[psutil.Process]:
    """Return the live processes that carry this mark in their environment, except the caller's own."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def reap(mark: str, directory: Path) -> bool:
    """End all processes with this mark, then remove the directory; return whether both succeeded in the time allowed."""
    deadline = time.monotonic() + _TIMEOUT
    asked: set[psutil.Process] = set()
    empty = 0
    # Two empty looks: a process may fork and die while one look goes over the list.
    while empty < 2 and time.monotonic() < deadline:
        victims = leftovers(mark)
        empty = 0 if victims else empty + 1
        for process in victims:
            with suppress(psutil.Error):
                # A process knows itself by pid and start time, so a pid in new hands is not signalled.
                if process in asked:
                    process.kill()
                else:
                    process.terminate()
        _wait_gone(victims, _GRACE if victims and not asked else _PAUSE)
        asked.update(victims)
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.0 if not directory.exists() else _PAUSE)
    return empty >= 2 and not directory.exists()


def _wait_gone(processes: list[psutil.Process], seconds: float) -> None:
    """Wait until none of the processes runs, or until the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.02)
        if processes and not any(map(_runs, processes)):
            return


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _await_end_of(driver: int) -> None:
    """Return when the driver has closed the pipe or is gone; the second serves when a fork of it holds the pipe open."""
    while os.getppid() == driver:
        readable, _, _ = select.select([0], [], [], 1.0)
        if readable and not os.read(0, 64):
            return


def main(mark: str, directory: str, driver: int) -> int:
    """Wait for the driver's end, clean up, and return 0 if nothing is left."""
    path = Path(directory)
    if not path.name.startswith(PREFIX):
        return 2
    # Ctrl-C and a hang-up go to whole groups; only the end of the driver counts here.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _await_end_of(driver)
    return 0 if reap(mark, path) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
