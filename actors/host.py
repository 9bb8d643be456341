"""One actor: a loop with its nodes in a thread of its own; Ray's methods answer from another and never touch a node between events.

A plain class: the engine makes it remote at the one place where it is started, and a test may call it directly.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from typing import Any

from asyncnet import clock
from asyncnet.compiled_loop import CompiledLoop
from asyncnet.embedded import weights
from asyncnet.message import CHANNEL_NAMES
from asyncnet.scenario import check
from asyncnet.timekeeper import Wall

from .courier import COURIERS


class Host:
    """Hosts the nodes `numbers` of a scenario given as plain data; `wire` is zmq or ray, `address` the IP address to be reached at."""

    def __init__(self, scenario: dict[str, Any], numbers: list[int], wire: str, address: str) -> None:
        # A request from Ray should not keep the loop from its next tick for Python's usual 5 ms.
        sys.setswitchinterval(0.0005)
        self.courier = COURIERS[wire](address)
        self.loop = CompiledLoop(check(scenario, "scenario"), None, numbers, self.courier)
        self.loop.prepare(wired=True)
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._told = 0

    def address(self) -> list[str]:
        """What others need to reach this host over the wire."""
        return self.courier.address

    def connect(self, peers: dict[str, list[str]], where: dict[int, str], handles: dict[str, Any]) -> None:
        """Meet the other hosts: their addresses by name, which of them hosts each node, and their handles."""
        self.courier.where = where
        self.courier.connect(peers, handles)

    def start(self, at: int) -> None:
        """Begin the run at `at`, nanoseconds of the time of day; its time 0 is then on every host."""
        self.loop.keeper = Wall(at - (time.time_ns() - time.monotonic_ns()))
        self.courier.clock = lambda keeper=self.loop.keeper: keeper.now
        gc.freeze()  # what is here now stays: the collector need not walk through all of Ray while the loop runs
        self._thread.start()

    def _run(self) -> None:
        try:
            time.sleep(max(0.0, -self.loop.keeper.now / 1e6))
            self.loop.run()
        except BaseException:
            self.failure = traceback.format_exc()
            self.loop.stop("failed")

    def deliver(self, frame: bytes) -> None:
        """Take a frame from another host (the wire `ray`)."""
        self.courier.deliver(frame)

    def status(self) -> dict[str, Any]:
        """How it is going: why the loop stopped, if it has, rows of progress not told before, and the stamp each node holds."""
        rows = self.loop.score.rows[self._told :] if self.loop.score else []
        self._told += len(rows)
        stamps = {node.name: int(node.view.stamp[0]) for i, node in self.loop.nodes.items() if i}
        decisions = self.loop.score.decisions if self.loop.score else None
        return {"stopped": self.loop.stopped, "failure": self.failure, "rows": rows, "stamps": stamps, "decisions": decisions}

    def stop(self, why: str) -> None:
        """End the loop before its next event and wait for it."""
        self.loop.stop(why)
        self.courier.wake()
        if self._thread.ident is not None:
            self._thread.join(10.0)

    def result(self) -> dict[str, Any]:
        """Everything this host's nodes did, as plain values; call it after `stop`."""
        loop, tick = self.loop, self.loop.tick
        nodes = {}
        for i, node in loop.nodes.items():
            if i:
                period = clock.mean_period(loop.clocks[i])
                nodes[node.name] = {"ticks": loop.ticks[i], "skipped": loop.skipped[i], "period": period / tick, **node.counts()}
        return {
            "score": loop.score.summary() if loop.score else None,
            "returns": loop.score.returns if loop.score else None,
            "states": {i: node.state.astype("<f8").tobytes() for i, node in loop.nodes.items()},
            "weights": {n.name: {k: [list(a.shape), a.tobytes()] for k, a in weights(n).items()} for i, n in loop.nodes.items() if i},
            "nodes": nodes,
            "links": loop.ledger(),
            "measured": {CHANNEL_NAMES[c]: [g.bins, g.total] for c, g in self.courier.measured().items()},
            "refused": self.courier.refused,
            "malformed": self.courier.malformed + loop.malformed,
            "elapsed": loop.now,
        }

    def close(self) -> None:
        """Close the wire."""
        self.courier.close()
