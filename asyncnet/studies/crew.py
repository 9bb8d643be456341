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
        paths = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-m", module, *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env={**os.environ, **THREADS, "PYTHONPATH": paths}
        )
        interrupts.leaving.append(self.kill)
        self.at_work: set[int] = set()
        self._words = words
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self._words.put((self, json.loads(line)))
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


def worked_off(
    orders: Mapping[int, Mapping[str, Any]], workers: int, *, module: str = "asyncnet.studies.worker", arguments: Iterable[str] = (), at_once: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run all cells and give what is said of each: {"done": share}, and at last {"result": ...} or {"failed": why}.

    `workers` processes of that module take `at_once` cells each. Closing the generator, or an exception where it is used, ends them all.
    """
    waiting, words = deque(orders), queue.Queue()
    crew: list[Member] = []
    try:
        left = len(waiting)
        while left:
            while waiting and len(crew) < workers:
                crew.append(Member(module, arguments, words))
            for member in crew:
                while waiting and len(member.at_work) < at_once:
                    cell = waiting.popleft()
                    member.give(cell, orders[cell])
            try:
                member, word = words.get(timeout=LOOK)
            except queue.Empty:
                continue
            if ENDED in word:
                if member not in crew:
                    continue
                crew.remove(member)
                why = member.how_it_ended()
                member.leave()
                lost = sorted(member.at_work)
            else:
                cell = word.pop("cell")
                yield cell, word
                if "done" in word:
                    continue
                member.at_work.discard(cell)
                left -= 1
                continue
            for cell in lost:
                left -= 1
                yield cell, {"failed": why}
    finally:
        for member in crew:
            member.leave()
