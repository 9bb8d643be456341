"""One actor: a loop with its nodes in a thread of its own; Ray's methods answer from another and never touch a node between events.

A plain class: the engine makes it remote at the one place where it is started, and a test may call it directly.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from asyncnet.kernels.plain import as_python
from asyncnet.loop import clock
from asyncnet.loop.compiled.agenda import of_who
from asyncnet.loop.counts import counted
from asyncnet.loop.gauge import Gauge
from asyncnet.loop.ledger import REFUSED, account
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import CHANNEL_NAMES, LIFE
from asyncnet.loop.timekeeper import Wall
from asyncnet.loop.underway import STAMP
from asyncnet.nodes.world import DECISIONS, EPISODES
from asyncnet.record.recorder import Recorder, digest_of
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.picture import Picture
from asyncnet.scenario import outside
from asyncnet.scenario.schema import check

from .courier import COURIERS
from .gateway import Gateway
from .lines import Lines, let_timers_be_exact
from .standing import StandingLoop, at_time_of_day
from .strip import Strip
from .windows import Windowed, WindowedLoop

TIMEOUT = 5.0  # seconds until a loop is between two events
PULSE = 0.25  # seconds between two beats of a host
PAUSE = 1.0  # seconds by which a beat that is late shows that the whole process has stood still
MOST_PAUSES = 1000  # that are noted
QUIET = 0.02  # seconds without a frame: the wire is empty

T = TypeVar("T")


def _address() -> str:
    import ray

    return ray.util.get_node_ip_address()


def machine() -> str:
    """Of which machine, since it was started, and of which view of it the numbers of processes are."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"


class Host:
    """Hosts the nodes `numbers` of a scenario given as plain data; `wire` is memory, zmq or ray, `address` the IP address to be reached at (None: its own).

    In `virtual` time its loop shares simulated time with the others (windows.py). With a `record` name what its nodes hear is written down. `given` is what the
    scenario needs from outside the package (asyncnet/scenario/outside.py). With `returns` a host that is lost may be followed by another: this one is the
    `life`-th with these nodes, whose books are to be mended by `owed` (ledger.Books.mend), and whose recording goes on at the event `since`.
    """

    def __init__(
        self,
        scenario: dict[str, Any],
        numbers: list[int],
        wire: str,
        address: str | None,
        *,
        virtual: bool = False,
        record: str | None = None,
        begin: tuple[dict[str, Any], dict[str, np.ndarray]] | None = None,
        reverse: bool = False,
        given: Sequence[dict[str, str]] = (),
        returns: bool = False,
        life: int = 0,
        owed: bytes = b"",
        since: int = 0,
    ) -> None:
        outside.receive(given)
        # A request from Ray should not keep the loop from its next tick for Python's usual 5 ms.
        sys.setswitchinterval(0.0005)
        kind, keeper = (WindowedLoop, Windowed()) if virtual else (StandingLoop, None)
        self.loop = kind(check(scenario, "scenario"), keeper, numbers, reverse=reverse)
        if begin is not None:
            snapshot.put(self.loop, Checkpoint(*begin))
        self._returns = returns
        if life:
            self.loop.books.mend(*np.frombuffer(owed, dtype=np.int64).reshape(2, -1))
            if self.loop.struck.size:
                self.loop.struck[:] = begin[1]["struck"]
        self.recorder = Recorder(record, first=since) if record is not None else None
        self.strip = Strip() if self.recorder is not None and returns else None
        if self.recorder is not None:
            self.recorder.watch(self.loop)
            if life:
                self.recorder.say_how_it_begins()
        if self.strip is not None:
            self.loop.strip, self.strip.rows[0, 0] = self.strip.rows, since
        self.loop.prepare(wired=True)
        self._shares = wire == "memory"
        self.courier = COURIERS[wire](address or _address(), self.loop.largest)
        self._gateway: Gateway | None = None
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._told = 0
        self._picture: Picture | None = None
        self._seconds = 0.0  # that its loop ran
        self._score: dict[str, Any] | None = None  # as of the last row of progress
        self.pauses: list[tuple[float, float]] = []  # when this process stood still, in seconds of the run, and for how many

    def pid(self) -> int:
        """The number of its process."""
        return os.getpid()

    def place(self) -> tuple[int, str]:
        """The same, and whose number that is."""
        return os.getpid(), machine()

    def size(self) -> int:
        """How many bytes its state has."""
        return sum(node.state.nbytes for node in self.loop.nodes.values())

    def address(self) -> list[str]:
        """What others need to reach this host over the wire."""
        return self.courier.address

    def connect(self, peers: dict[str, list[str]], where: dict[int, str], handles: dict[str, Any]) -> list[str]:
        """Meet the other hosts: their addresses by name, which of them hosts each node, and their handles; returns what they need to share its memory."""
        self.courier.where = where
        self.courier.connect(peers, handles)
        if isinstance(self.loop, WindowedLoop):
            self.loop.join(where)
        self.loop.wire = self.lines = Lines(self.loop, where, open_house=self._returns)
        whole = isinstance(self.loop, WindowedLoop)
        self._gateway = Gateway(self.lines, self.courier, lambda: self._starts[1].start, self._failed, whole=whole)
        return self.lines.memory.address if self._shares else []

    def begins(self) -> tuple[dict[str, Any], dict[str, np.ndarray], int]:
        """The state from which it will start, and how many events were written down before."""
        return *self._now()[:2], self.recorder.events if self.recorder else 0

    def share(self, memories: dict[str, list[str]]) -> None:
        """Share memory with the other hosts, by name, as far as that can be done."""
        self.lines.share({name: address for name, address in memories.items() if address})

    def meet_again(self, lost: Collection[str], peers: dict[str, list[str]], handles: dict[str, Any]) -> list[str]:
        """While it stands: meet those who take the place of hosts that were lost, and leave these; returns what they need to share its memory."""

        def leave() -> None:
            self._gateway.leave(lost)
            for name in lost:
                self.lines.part(name)

        self._between(leave)
        self._gateway.have(lambda: self.courier.connect(peers, handles))
        return self.lines.memory.address if self._shares else []

    def join_again(self, lives: dict[str, int]) -> None:
        """While it stands, when all have shared what they can: hear them again, in these lives and no earlier ones."""

        def join() -> None:
            for name, life in lives.items():
                self._gateway.take(self.lines.join([name], life * LIFE))

        self._between(join)

    def _between(self, what: Callable[[], T]) -> T | None:
        """Have the loop do something between two events; None if it takes too long to come there."""
        done: queue.SimpleQueue[T] = queue.SimpleQueue()  # of one
        self.loop.ask(lambda: done.put(what()))
        self.lines.wake()
        try:
            return done.get(timeout=TIMEOUT)
        except queue.Empty:
            return None

    def start(self, at: int) -> None:
        """Begin the run at `at`, nanoseconds of the time of day, when all have shared what they can: its first instant is then on every host."""
        wall = at_time_of_day(at, self.loop.now)
        self.courier.clock = lambda: wall.now
        if not isinstance(self.loop, WindowedLoop):
            self.loop.keeper = wall
        self._starts = self.loop.now, wall
        self._gateway.take(self.lines.join())
        gc.freeze()  # what is here now stays: the collector need not walk through all of Ray while the loop runs
        self._thread.start()
        threading.Thread(target=self._beat, args=(wall,), name="beat", daemon=True).start()

    def _beat(self, wall: Wall) -> None:
        """Notice when this process stands still: nothing of it knows, but that a moment was long."""
        last = time.monotonic()
        while self._thread.is_alive() and len(self.pauses) < MOST_PAUSES:
            at = wall.now / 1e6
            time.sleep(PULSE)
            late, last = time.monotonic() - last - PULSE, time.monotonic()
            if late > PAUSE:
                self.pauses.append((at, late))

    def _failed(self, report: str) -> None:
        self.failure = report
        self.loop.stop("failed")
        self.lines.wake()

    def _run(self) -> None:
        try:
            let_timers_be_exact()
            first, wall = self._starts
            time.sleep(max(0.0, (first - wall.now) / 1e6))
            began = time.monotonic()
            try:
                self.loop.run(self._progress if self.loop.score else None)
            finally:
                self._seconds = time.monotonic() - began
            if self.recorder is not None:
                self.recorder.finish()
        except BaseException:
            self._failed(traceback.format_exc())

    def _progress(self, loop: Loop) -> None:
        self._score = loop.score.summary()  # in the loop's thread: what it adds up grows there

    def deliver(self, frame: bytes) -> None:
        """Take a frame from another host (the wire `ray`)."""
        self.courier.deliver(frame)

    def status(self, counts: bool = False) -> dict[str, Any]:
        """How it is going: why the loop stopped, if it has, rows not told before, the stamp each learning node holds; with what was counted if asked."""
        rows = self.loop.score.rows[self._told :] if self.loop.score else []
        self._told += len(rows)
        stamps = {node.name: int(node.view.stamp[0]) for i, node in self.loop.nodes.items() if self.loop.plan.layer_of(i).learns}
        told = {"stopped": self.loop.stopped, "failure": self.failure, "rows": rows, "stamps": stamps}
        if self.loop.score:
            done = self.loop.nodes[0].view.counts
            told |= {"decisions": int(done[DECISIONS]), "episodes": int(done[EPISODES]), "score": self._score}
        if counts:
            if self._picture is None:
                self._picture = Picture(self.loop.scenario)
            told["counts"] = tuple(self._picture.shown(counted(self.loop)))
        if isinstance(self.loop, WindowedLoop):
            since, names = self.loop.waits
            told |= {"window": self.loop.window, "waits": names, "waited": time.monotonic() - since if names else 0.0}
        return told

    def segments(self) -> list[tuple[int, bytes]]:
        """What was recorded since the last call, as segments (asyncnet/record/journal.py), and after which event each ends."""
        return self.recorder.segments() if self.recorder else []

    def outliving(self) -> list[str]:
        """How to open what it has written down last, so that it outlives this host; [] if it does not."""
        return self.strip.address if self.strip is not None else []

    def meet(self, purpose: int) -> None:
        """In virtual time, on the world's host: have all loops meet, for a checkpoint or the end (windows.py)."""
        self.loop.meet(purpose)

    def met(self) -> int:
        """In virtual time: the instant at which all loops met last, -1 if they never have."""
        made = self.loop.at_meeting
        return -1 if made is None else made.about["now"]

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """The complete state of its nodes: at the run's end, once its loop has ended there; in virtual time at the last meeting, else as soon as the loop is
        between two events; None if there is none.
        """
        if self.loop.stopped == "finished" and not self._thread.is_alive():
            return tuple(self._at_the_end())
        if isinstance(self.loop, WindowedLoop):
            return None if self.loop.at_meeting is None else tuple(self.loop.at_meeting)  # nothing is turned away there
        if self.loop.stopped is not None:
            return None
        state = self._between(self._now)
        return None if state is None else tuple(state)

    def goes_on_from(self) -> tuple[dict[str, Any], dict[str, np.ndarray], int] | None:
        """In real time: the state from which another may go on in its place, and how many events were written down by then."""
        return None if self.loop.stopped is not None else self._between(self.begins)

    def _now(self) -> Checkpoint:
        """The state of its loop at this moment."""
        state = snapshot.take(self.loop)
        self._note_refused(state.arrays["ledger"])
        return state

    def _at_the_end(self) -> Checkpoint:
        """The state of a loop that has ended, and what has come for it since: that is under way."""
        self._settle()
        return self._now()

    def _note_refused(self, table: np.ndarray) -> np.ndarray:
        """The ledger, with the messages that found no room here."""
        for code, count in self.courier.turned_away.items():
            if (link := self._link(code)) is not None:
                table[REFUSED, link] += count
        return table

    def _link(self, code: int) -> int | None:
        """The link of a message; None if there is no such link."""
        kind, dst, src = (int(part) for part in as_python(of_who)(np.int64(code)))
        try:
            return self.loop.plan.link(kind, src, dst) if kind in CHANNEL_NAMES else None
        except (KeyError, IndexError):
            return None

    def stand(self, at: int) -> None:
        """In real time: have the loop stand still from `at` on, nanoseconds of the time of day (standing.py)."""
        self.loop.stand(at)

    def stands(self) -> tuple[int, bytes] | None:
        """Since when it stands, in microseconds of the run, and its books; None if it does not."""
        stands = self.loop.stands
        return None if stands is None else (stands[0], self._note_refused(stands[1].copy()).tobytes())

    def reached(self) -> int:
        """While it stands: the latest decision of which its nodes have heard, or are about to hear."""
        stamps = [int(node.view.stamp[0]) for node in self.loop.nodes.values() if "stamp" in node.places]
        return self._between(lambda: max([*stamps, *self.loop.under_way().rows[:, STAMP].tolist()])) or 0

    def go_on(self, now: int, at: int) -> None:
        """Have a loop that stands go on at `at`, nanoseconds of the time of day, where the run's time is `now`."""
        self.loop.go_on(now, at)

    def await_end(self, timeout: float) -> bool:
        """Wait until the loop has ended, for so many seconds at most; returns whether it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def stop(self, why: str) -> None:
        """Have the loop end before its next event."""
        self.loop.stop(why)
        if self.loop.wire is not None:
            self.lines.wake()

    def books(self) -> bytes:
        """The ledger of a loop that has ended, with what is on the wire as in flight as soon as it has come."""
        self._settle()
        return self._note_refused(account(self.loop)).tobytes()

    def result(self) -> dict[str, Any]:
        """Everything this host's nodes did, as plain values; call it after the loop's end."""
        loop, tick, books = self.loop, self.loop.tick, self.books()
        nodes = {}
        for i, node in loop.nodes.items():
            if i:
                period = clock.mean_period(loop.clocks[i])
                nodes[node.name] = {"ticks": int(loop.ticks[i]), "skipped": int(loop.skipped[i]), "period": period / tick, **loop.missed(i), **node.counts()}
        for i, (*bins, most) in zip((i for i in sorted(loop.nodes) if i), loop.late.tolist(), strict=False):
            gauge = Gauge(np.array(bins))
            if gauge.count:
                nodes[loop.nodes[i].name] |= {"late_p50_us": gauge.quantile(0.5), "late_p99_us": gauge.quantile(0.99), "late_max_us": most / 1e3}
        return {
            "score": loop.score.summary() if loop.score else None,
            "returns": loop.score.returns if loop.score else None,
            "lengths": loop.score.lengths if loop.score else None,
            "ends": loop.score.ends if loop.score else None,
            "rewards": loop.score.rewards.binned() if loop.score else None,
            "states": {i: node.digested.astype("<f8").tobytes() for i, node in loop.nodes.items()},
            "weights": {n.name: {k: [list(a.shape), a.tobytes()] for k, a in n.learned().items()} for i, n in loop.nodes.items() if i},
            "nodes": nodes,
            "fields": {node.name: digest_of(node).hex() for node in loop.nodes.values()},
            "ledger": books,
            "struck": loop.struck.tolist(),
            "measured": {name: [loop.took[channel, :-1].tolist(), int(loop.took[channel, -1])] for channel, name in CHANNEL_NAMES.items()},
            "malformed": self.courier.malformed + loop.malformed,
            "outlived": loop.outlived,
            "elapsed": loop.now,
            "seconds": self._seconds,
            "pauses": self.pauses,
        }

    def _settle(self) -> None:
        """Take in what was on its way when all loops had ended."""
        if self._thread.ident is None:  # it has never run: nothing can have come, and its tables know of no bell
            return
        before = -1
        while self._gateway is not None and self._gateway.moved > before and self._gateway.opened:
            before = self._gateway.moved
            time.sleep(QUIET)
        self.loop.take_in()

    def close(self) -> None:
        """Close the wire."""
        if self._gateway is not None:
            self._gateway.close()
        self.courier.close()
