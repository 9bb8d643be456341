"""The cells of a study as Ray tasks: speaks as a worker does (studies/worker.py), takes all orders at once and lets Ray place them, a core each.

Ray may hang, print and end the process that uses it; here that is a process of its own, and whoever gave the orders ends it.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from contextlib import ExitStack, suppress
from typing import Any

from asyncnet.studies.worker import carried_out

from .session import joined, knock, session

LOOK = 0.2  # seconds


def check(address: str | None) -> None:
    """Refuse, with a ScenarioError, a cluster that does not answer."""
    if address is not None:
        knock(address)


def main() -> None:
    """The process: `python -m asyncnet.actors.tasks [--address HOST:PORT]`."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    orders: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    address = sys.argv[2] if sys.argv[1:2] == ["--address"] else None
    with ExitStack() as stack:
        stack.enter_context(joined(address) if address else session(cpus=len(os.sched_getaffinity(0))))
        _work(orders, out)


def _listen(orders: queue.Queue[dict[str, Any] | None]) -> None:
    for line in sys.stdin.buffer:
        orders.put(json.loads(line))
    orders.put(None)


def _work(orders: queue.Queue[dict[str, Any] | None], out: Any) -> None:
    import ray

    run = ray.remote(num_cpus=1, max_retries=0)(_run)
    running: dict[Any, int] = {}
    while True:
        with suppress(queue.Empty):
            while True:
                order = orders.get(block=not running)
                if order is None:
                    return
                running[run.remote(json.dumps(order))] = order["cell"]
                if orders.empty():
                    break
        done, _ = ray.wait(list(running), num_returns=1, timeout=LOOK)
        for answer in done:
            word: dict[str, Any] = {"cell": running.pop(answer)}
            try:
                word["result"] = json.loads(ray.get(answer))
            except ray.exceptions.RayTaskError as error:
                word["failed"] = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())[:500]
            except ray.exceptions.RayError as error:
                word["failed"] = " ".join(str(error).split())[:500]
            out.write(json.dumps(word) + "\n")


def _run(order: str) -> str:
    """In a process of Ray's: one cell."""
    return json.dumps(carried_out(json.loads(order), lambda _: None))


if __name__ == "__main__":
    main()
