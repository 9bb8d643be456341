"""Processes that run the cells of a study, and what they say of them; one that dies costs its cell, and another takes its place.

A crew is a command and how many cells each of its processes takes at once: a process of this machine takes one, the one that speaks to Ray takes all.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from asyncnet import interrupts

LOOK = 0.2  # seconds; a wait without end would not hear Ctrl-C
LEAVING = 10.0  # seconds for a process to end by itself
ENDED = "ended"

# One thread each: the processes are the parallelism, and sums over several threads would not repeat bit by bit.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class Member:
    """One process: `at_work` are the cells that it has been given and that have not come back."""

    def __init__(self, module: str, arguments: Iterable[str], words: queue.Queue[tuple[Member, dict[str, Any]]]) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        # -P: it looks where this process does, and not here first, where a rule's file may be called like a library
        command = [sys.executable, "-P", "-m", module, *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env={**os.environ, **THREADS, "PYTHONPATH": paths}
        )
        interrupts.leaving.append(self.kill)
        self.at_work: set[int] = set()
        self._words = words
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            with suppress(ValueError):  # half a line: it was ended while it wrote, or its pipe was closed here
                for line in self.process.stdout:
                    self._words.put((self, json.loads(line)))
        finally:
            self._words.put((self, {ENDED: True}))

    def give(self, cell: int, order: Mapping[str, Any]) -> None:
        """Have it run a cell."""
        self.at_work.add(cell)
        with suppress(BrokenPipeError):  # it is gone, and says so by its end
            self.process.stdin.write(json.dumps({"cell": cell, **order}).encode() + b"\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        """End it at once, and what it has started in its session."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def leave(self) -> None:
        """End it, and wait until it has: it goes when its orders end, and takes with it what it has started."""
        with suppress(OSError):
            self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(LEAVING)
        self.kill()
        self.process.wait()
        interrupts.leaving.remove(self.kill)

    def how_it_ended(self) -> str:
        """Why a process that ended by itself has."""
        code = self.process.wait()
        return f"its process was ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with exit code {code}"


class Crew:
    """Up to `workers` processes of a module, each of which takes `at_once` cells; they are started when there is work, and stay until the crew leaves."""

    def __init__(self, workers: int, *, module: str = "asyncnet.studies.worker", arguments: Iterable[str] = (), at_once: int = 1) -> None:
        self._workers, self._module, self._arguments, self._at_once = workers, module, tuple(arguments), at_once
        self._words: queue.Queue[tuple[Member, dict[str, Any]]] = queue.Queue()
        self._members: list[Member] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """End all processes."""
        while self._members:
            self._members.pop().leave()

    def work_off(self, orders: Mapping[int, Mapping[str, Any]], most: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Run all cells and give what is said of each: {"done": share}, and at last {"result": ...} or {"failed": why}; who stops listening has them leave.

        At `most` so many processes work (None: all).
        """
        waiting, left, workers = deque(orders), len(orders), min(self._workers, most or self._workers)
        while left:
            while waiting and len(self._members) < min(workers, left):
                self._members.append(Member(self._module, self._arguments, self._words))
            for member in self._members[:workers]:
                while waiting and len(member.at_work) < self._at_once:
                    cell = waiting.popleft()
                    member.give(cell, orders[cell])
            try:
                member, word = self._words.get(timeout=LOOK)
            except queue.Empty:
                for member in self._members:
                    if member.process.poll() is not None:  # what it has started may hold its pipe open
                        self._words.put((member, {ENDED: True}))
                continue
            if member not in self._members:
                continue
            if ENDED not in word:
                cell = word.pop("cell")
                yield cell, word
                if "done" not in word:
                    member.at_work.discard(cell)
                    left -= 1
                continue
            self._members.remove(member)
            why = member.how_it_ended()
            member.leave()
            for cell in sorted(member.at_work):
                left -= 1
                yield cell, {"failed": why}


def worked_off(orders: Mapping[int, Mapping[str, Any]], workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run all cells with `workers` processes of this machine; closing the generator, or an exception where it is used, ends them all."""
    with Crew(workers) as crew:
        yield from crew.work_off(orders)
