"""A process that runs the cells of a study, one after another: orders come in as lines of JSON, and what came of each goes out as lines.

    in     {"cell": n, "scenario": {...}, "outside": [...], "memory": bytes, "out": folder of its run's directory, or null}
    out    {"cell": n, "done": share}   now and then    {"cell": n, "result": {...}}   or   {"cell": n, "failed": "why"}

It ends when its orders do, also in the middle of a run: whoever gave them is gone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from asyncnet.scenario.mistakes import ScenarioError

EVERY = 0.5  # seconds between words of progress


def check(address: str | None) -> None:
    """Refuse, with a ScenarioError, what makes no sense here."""
    if address is not None:
        raise ScenarioError("--address", "", "is for --engine ray")


def main() -> None:
    """The process: `python -m asyncnet.studies.worker`."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a task prints is no word of ours
    orders: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()

    def say(**word: Any) -> None:
        out.write(json.dumps(word, allow_nan=True) + "\n")

    while True:
        order = orders.get()
        try:
            say(cell=order["cell"], result=carried_out(order, lambda done, cell=order["cell"]: say(cell=cell, done=done)))
        except Exception as error:  # the run's, whatever it is: the study goes on without this cell
            say(cell=order["cell"], failed=" ".join(f"{type(error).__name__}: {error}".split())[:500])


def _listen(orders: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        orders.put(json.loads(line))
    os._exit(0)


def carried_out(order: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """What came of a cell: {"scenario", "summary", "rows", "returns"}; raises what the run raised."""
    from asyncnet import api
    from asyncnet.scenario import outside
    from asyncnet.scenario.schema import check

    outside.receive(order["outside"])
    shown = _Progress(progress)
    result = api.run(check(order["scenario"], "scenario"), out=order.get("out"), checkpoint=0.0, memory=order["memory"], reporter=shown)
    return {"scenario": order["scenario"], "summary": result.summary(), "rows": shown.rows, "returns": result.record.returns}


class _Progress:
    """A reporter that keeps the rows, and passes on how far the run is."""

    def __init__(self, progress: Callable[[float], None]) -> None:
        self._progress, self._last = progress, 0.0
        self.rows: list[dict[str, Any]] = []

    def note(self, text: str) -> None:
        """Notes are not passed on."""

    def row(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if time.monotonic() - self._last > EVERY:
            self._last = time.monotonic()
            self._progress(row["done"])


if __name__ == "__main__":
    main()
