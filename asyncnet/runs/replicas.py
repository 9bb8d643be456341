"""Many seeds of one scenario in one process: compiled once, on as many cores as asked.

Compiled loops run without Python's lock, so threads are enough and each replica has the bits of a run of its own. A task that lives in Python (an environment
of Gymnasium's own) holds the lock while it steps; there more than one worker gains little.
"""

from __future__ import annotations

import inspect
import math
import statistics
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from asyncnet import api, interrupts
from asyncnet.api import Quiet, Result
from asyncnet.kernels.kernel import telling
from asyncnet.runs.embedded import loop_of
from asyncnet.runs.memory import GIB, check
from asyncnet.runs.record import Reporter
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.names import ScenarioName
from asyncnet.scenario.schema import Scenario

FIGURES = (
    "mean_reward",
    "last_mean_reward",
    "mean_squared_error",
    "last_mean_squared_error",
    "mean_return",
    "last_mean_return",
    "on_time",
    "decisions_per_second",
)

REFUSED = {"seed": "each has one of `seeds`", "engine": "they run embedded, in this process"}  # of what a run takes


def replicate(
    scenario: Scenario | ScenarioName | str | Path,
    seeds: Iterable[int],
    *,
    workers: int = 1,
    memory: float | None = None,
    out: str | Path | None = "runs",
    reporter: Reporter | None = None,
    **options: Any,
) -> list[Result]:
    """Run a scenario with each of `seeds`, `workers` at a time, and return the results in the order of the seeds.

    Each has its own run directory under `out` (None: none) and the digest it would have alone. `memory` is what all may take together, in GiB. `options` are
    those of `run`, embedded. KeyboardInterrupt ends all early; what was not begun is left out. Raises ScenarioError for a bad scenario or option, ValueError
    for fewer than one worker.
    """
    if workers < 1:
        raise ValueError(f"at least one worker, got {workers}")
    for option, why in REFUSED.items():
        if option in options:
            raise ScenarioError(option, "", f"no option of replicas: {why}")
    given = options.get("loggers", ())
    options["loggers"] = [given] if isinstance(given, str) or not isinstance(given, Iterable) else [*given]  # each run goes through them
    if workers > 1 and not all(isinstance(each, str) for each in options["loggers"]):
        raise ScenarioError("loggers", "", "an object hears one run at a time, and there are several workers; of a logger by name each run has its own")
    api.check_options("embedded", options.keys() - inspect.signature(api.run).parameters.keys())
    made = scenario if isinstance(scenario, Scenario) else api.load(scenario)
    variants = [made.replace(seed=seed) for seed in seeds]
    allowed = check(made, memory, min(workers, len(variants) or 1)) / GIB
    shared = _Shared(reporter or Quiet(), len(variants))
    if variants and loop_of(options.get("loop")) == "compiled":
        from asyncnet.loop.compiled.ahead import compile_ahead
        from asyncnet.loop.compiled.compiled_loop import CompiledLoop
        from asyncnet.loop.timekeeper import Virtual

        with telling(shared.shown.note):
            compile_ahead(variants[0])
            loop = CompiledLoop(variants[0], Virtual())
            try:
                loop.prepare()  # once, so that no thread waits for another's compiler
            finally:
                loop.nodes[0].close()  # type: ignore[attr-defined]  # the world
    futures: list[Future[Result]] = []

    def stop() -> None:
        shared.stopping.set()
        for future in futures:
            future.cancel()
        interrupts.tell_threads()

    with interrupts.instead(stop), ThreadPoolExecutor(workers) as pool:
        futures += [pool.submit(api.run, variant, out=out, memory=allowed, reporter=_One(shared, i), **options) for i, variant in enumerate(variants)]
        while wait(futures, timeout=0.2).not_done:  # a wait without end would not hear Ctrl-C
            pass
    return [future.result() for future in futures if not future.cancelled()]


def summarize(results: list[Result]) -> dict[str, Any]:
    """The replicas' summaries, and mean and standard error over them of each figure they have."""
    runs = [result.summary() for result in results]
    out: dict[str, Any] = {"scenario": runs[0]["scenario"], "seeds": [run["seed"] for run in runs], "mean": {}, "standard_error": {}, "runs": runs}
    for figure in FIGURES:
        values = [run[figure] for run in runs if run[figure] is not None]
        if values:
            out["mean"][figure] = statistics.mean(values)
            spread = len(values) > 1 and all(map(math.isfinite, values))
            out["standard_error"][figure] = statistics.stdev(values) / math.sqrt(len(values)) if spread else None
    return out


class _Shared:
    """What the replicas' reporters share: how far each is, and whether they are to stop."""

    def __init__(self, shown: Reporter, count: int) -> None:
        self.shown, self.done, self.decisions = shown, [0.0] * count, [0] * count
        self.lock, self.stopping, self.said = threading.Lock(), threading.Event(), set[str]()

    def note(self, text: str) -> None:
        """Say once what each of them says."""
        with self.lock:
            if text not in self.said:
                self.said.add(text)
                self.shown.note(text)


class _One:
    """The reporter of one replica."""

    def __init__(self, shared: _Shared, place: int) -> None:
        self._shared, self._place = shared, place

    def note(self, text: str) -> None:
        self._shared.note(text)

    def row(self, row: dict[str, Any]) -> None:
        shared = self._shared
        if shared.stopping.is_set():
            raise KeyboardInterrupt  # to one that was not told, for it was just beginning: the run ends and its result is kept
        with shared.lock:
            shared.done[self._place], shared.decisions[self._place] = row["done"], row["decisions"]
            shared.shown.row(row | {"done": sum(shared.done) / len(shared.done), "decisions": sum(shared.decisions)})
