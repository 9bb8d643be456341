"""The measured tables of docs/results.md: runs every cell over its seeds, keeps what is done, and prints Markdown.

    python benchmarks/tables.py published            Weight Maximization in lock-step beside the published figures
    python benchmarks/tables.py hardship             the 3-bit multiplexer on free clocks under each condition
    python benchmarks/tables.py map                  asynchronous MAP Propagation under each hardship; its starts and steps
    python benchmarks/tables.py tasks                every published task: MAP Propagation (phases, ticks, free clocks), Weight Maximization, REINFORCE
    python benchmarks/tables.py ablation             what of asynchronous MAP Propagation matters: start, step, interval, gate, credit
    python benchmarks/tables.py questions            multiplexer and regression, with MAP Propagation
    python benchmarks/tables.py units                layers and units on the 2-bit multiplexer
    python benchmarks/tables.py free                 CartPole on free clocks

Each finished run is a line of --store; a table that was broken off goes on where it stopped. Runs are embedded and deterministic: a line holds the
digest, so anybody can check any cell. One process a core.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


class Cell(NamedTuple):
    """One cell: what is run, over how many seeds, which figure it shows, and the figure it is held against."""

    row: str
    column: str
    scenario: str
    under: tuple[str, ...]
    settings: tuple[str, ...]
    seeds: int
    figure: str
    held_against: float | None = None


_REINFORCE = ("rule.name=reinforce", "rule.learning_rate=0.01")
_TRACE = ("rule.credit=trace",)


def published() -> list[Cell]:
    return [
        Cell("multiplexer k=4, mean reward of 800k", "lock-step", "multiplexer-weight-max", (), (), 5, "mean_reward", 0.81),
        Cell("CartPole, mean return of 1000 episodes", "lock-step", "cartpole-weight-max", (), (), 10, "mean_return", 390.38),
        Cell("CartPole with traces, the same", "lock-step", "cartpole-weight-max-traces", (), (), 10, "mean_return", 373.11),
    ]


def hardship() -> list[Cell]:
    """Figures held against: a prototype of these semantics, mean reward of 50k decisions at delay .5 (REINFORCE there is on 2 bits)."""
    cells = []
    rows = {
        "calm": (("calm",), 0.712, 0.24, 0.519),
        "slow links (delay 2)": (("slow-links",), 0.712, 0.24, 0.519),
        "jittery clocks": (("jittery-clocks",), 0.698, None, 0.537),
        "straggler": (("straggler",), 0.708, 0.57, 0.519),
        "stale reward (5 decisions)": (("stale-reward",), 0.700, 0.00, 0.430),
        "lossy (0.1 of everything)": (("lossy",), 0.651, None, 0.445),
    }
    for row, (under, stamped, trace, reinforce) in rows.items():
        name = "multiplexer3-weight-max"
        cells.append(Cell(row, "Weight Max, stamped", name, under, (), 5, "mean_reward", stamped))
        cells.append(Cell(row, "Weight Max, trace (lambda 0)", name, under, _TRACE, 3, "mean_reward", trace))
        cells.append(Cell(row, "REINFORCE, stamped, k=2", name, under, (*_REINFORCE, "task.k=2"), 16, "mean_reward", reinforce))
        cells.append(Cell(row, "REINFORCE, trace, k=2", name, under, (*_REINFORCE, *_TRACE, "task.k=2"), 16, "mean_reward"))
    reliable = ("links.reward.reliable=true", "links.feedback.reliable=true")
    cells.append(Cell("lossy, credit sent again", "Weight Max, stamped", "multiplexer3-weight-max", ("lossy",), reliable, 5, "mean_reward"))
    return cells


def map_async() -> list[Cell]:
    """Figures held against: a prototype of these semantics, mean reward of 50k decisions at delay .5 (40k for the starts)."""
    name, cells = "multiplexer3-map-async", []

    def row(text: str, stamped: float | None, trace: float | None = None, under: tuple[str, ...] = (), settings: tuple[str, ...] = (), seeds: int = 5) -> None:
        settings = ("rule.start=sample", "rule.step=0.5", "task.world.interval=16", *settings)  # the published step, as in the prototype
        cells.append(Cell(text, "stamped", name, under, settings, seeds, "mean_reward", stamped))
        cells.append(Cell(text, "stamped, last 10%", name, under, settings, seeds, "last_mean_reward"))
        cells.append(Cell(text, "trace (lambda 0)", name, under, (*settings, *_TRACE), 3, "mean_reward", trace))

    row("delay 0.5", 0.899, 0.892)
    for delay, stamped, trace in ((0, 0.901, 0.895), (1, 0.899, 0.892), (2, 0.878, 0.875)):
        row(f"delay {delay}", stamped, trace, settings=(f"links.default=[{{delay={float(delay)}}}]",))
    row("delay 5, a decision every 40 ticks", 0.895, settings=("links.default=[{delay=5.0}]", "task.world.interval=40"))
    row("loss 0.1", 0.892, 0.892, under=("lossy",))
    row("loss 0.3", 0.865, 0.853, settings=("links.default=[{delay=0.5, loss=0.3}]", "links.reward.reliable=false", "links.feedback.reliable=false"))
    row("jitter 0.5, drift 0.2", 0.903, settings=('clocks.default={kind="periodic", jitter=0.5, drift=0.2}',))
    for layer, stamped in ((1, 0.494), (2, 0.551), (3, 0.916)):
        slow = f'clocks."actor.{layer}"={{kind="periodic", period=5.0}}'
        row(f"straggler: layer {layer}, 5 times slower", stamped, 0.493 if layer == 1 else None, settings=(slow,))
    for late, stamped, trace in ((1, 0.904, -0.01), (5, 0.904, -0.09), (20, 0.892, None)):
        row(f"reward {late} decisions late", stamped, trace, settings=(f"links.reward=[{{delay=0.5, stale={late}}}]",))
    for start, step, interval, figure in (
        ("sample", 0.5, 8, 0.73),
        ("sample", 0.5, 12, 0.84),
        ("sample", 1.0, 6, 0.88),
        ("mean", 0.5, 12, None),
        ("mean", 1.0, 6, 0.90),
        ("mean", 1.0, 16, None),
        ("zero", 0.5, 16, None),
        ("sample", 1.0, 16, None),
        ("sample", 0.25, 16, 0.55),
    ):
        settings = (f"rule.start={start}", f"rule.step={step}", f"task.world.interval={interval}")
        row(f"start {start}, step {step}, a decision every {interval} ticks", figure, settings=settings)
    return cells


_LOCK_STEP = ('clocks.default={kind="periodic", phase=0.0}',)
_PUBLISHED = {  # published: MAP, asynchronous MAP (in lock-step), Weight Max, with traces, REINFORCE
    "cartpole": ("CartPole, 1000 episodes", 10, 459.70, 418.61, 390.38, 373.11, 47.29),
    "acrobot": ("Acrobot, 500 (Weight Max, REINFORCE: 1000)", 10, -100.29, -106.71, -97.05, -105.00, -148.42),
    "lunarlander": ("LunarLander, 2500 (Weight Max, REINFORCE: 3000)", 5, 127.88, 76.84, 111.23, 39.04, -62.05),
    "mountaincar": ("MountainCarContinuous, 500", 5, 39.45, 46.24, None, None, None),
}


def tasks() -> list[Cell]:
    """Average return over all published episodes, beside the published figure."""
    cells = []
    for task, (row, seeds, sync, free, plain, traces, reinforce) in _PUBLISHED.items():
        columns = {
            "MAP, phases": (f"{task}-map", (), sync),
            "MAP async, lock-step ticks": (f"{task}-map-async", _LOCK_STEP, free),
            "MAP async, free clocks": (f"{task}-map-async", (), free),
        }
        if plain is not None:
            columns |= {
                "Weight Max": (f"{task}-weight-max", (), plain),
                "Weight Max with traces": (f"{task}-weight-max-traces", (), traces),
                "REINFORCE": (f"{task}-reinforce", (), reinforce),
            }
        for column, (name, settings, figure) in columns.items():
            cells.append(Cell(row, column, name, (), settings, seeds, "mean_return", figure))
    return cells


def ablation() -> list[Cell]:
    """One thing changed at a time, on free clocks with jitter 0.2."""
    both = ("rule", "critic")
    manuscript = ("start=zero", "decide=20", "step=0.5", "credit=motion", "lambda=0.997")
    variants = {  # the row: settings of the learners, of the critic alone, and the interval
        "as shipped: start sample, step 1, credit stamped, gate inverse": ((), (), None),
        "step 0.5": (("step=0.5",), (), None),
        "step 0.25": (("step=0.25",), (), None),
        "start mean": (("start=mean",), (), None),
        "start zero, output drawn anew at the first 6 ticks": (("start=zero", "decide=6"), (), None),
        "half the ticks for a decision": ((), (), 0.5),
        "twice the ticks for a decision": ((), (), 2.0),
        "step 0.5, twice the ticks for a decision": (("step=0.5",), (), 2.0),
        "gate difference": ((), ("gate=difference",), None),
        "credit by trace over observations": (("credit=trace",), (), None),
        "credit by the motion-gated trace, gamma at each tick": (("credit=motion", "lambda=0.997"), (), None),
        "the same, gamma at each decision": (("credit=motion", "lambda=0.997", "gamma_per=decision"), (), None),
        "credit by a trace over time, 4 decisions": (("credit=time", "tau=48.0"), (), None),
        "the manuscript's: start zero, 20 ticks to decide, 20 to hold, step 0.5, motion-gated": (manuscript, (), 40.0),
    }
    cells = []
    for row, (learners, critic, interval) in variants.items():
        for column, name, ticks, tables, figure in (
            ("multiplexer k=3, mean reward of 50k", "multiplexer3-map-async", 12, ("rule",), "mean_reward"),
            ("Acrobot, mean return of 500", "acrobot-map-async", 12, both, "mean_return"),
        ):
            settings = [f"{table}.{setting}" for table in tables for setting in learners]
            settings += [f"critic.{setting}" for setting in critic]
            if name.startswith("multiplexer"):  # decisions that are none of each other's business: no trace from one to the next
                settings = [
                    s.replace("lambda=0.997", "lambda=0.8").replace("tau=48.0", "tau=4.0") for s in settings if "critic" not in s and "gamma_per" not in s
                ]
                if critic or "gamma_per=decision" in learners:
                    continue
                settings = ["rule.step=1.0", "task.world.interval=12", *settings]
            if interval:
                settings.append(f"task.world.interval={interval if interval >= 40 else ticks * interval:g}")
            cells.append(Cell(row, column, name, (), tuple(settings), 5, figure))
    return cells


def questions() -> list[Cell]:
    """Figures held against: a re-run of the released implementation (multiplexer k = 5); read off the published curves (regression, squared error)."""
    cells = []
    for row, name, settings, figure, against in (
        ("multiplexer k=5, 128 streams, last 10% of 1.02M samples", "multiplexer5-map", ("task.decisions=7970",), "last_mean_reward", 0.953),
        ("multiplexer k=4, last 10% of 200k", "multiplexer4-map", (), "last_mean_reward", 0.996),
        ("regression from reward, last 10% of 1M samples", "regression-map", (), "last_mean_reward", -0.18),
        ("regression with the target, the same", "regression-map-target", (), "last_mean_reward", -0.13),
    ):
        if name != "multiplexer4-map":
            cells.append(Cell(row, "phases", name, (), settings, 5, figure, against))
        cells.append(Cell(row, "free clocks", f"{name}-async", (), settings, 5, figure, against))
    return cells


def units() -> list[Cell]:
    """Figures held against: a prototype of these semantics, hidden [8, 4]."""
    cells = []
    for rule, settings, figure in (("Weight Max", (), 0.66), ("REINFORCE", _REINFORCE, 0.57)):
        for split in ("layer", "unit"):
            setting = (*settings, f"network.split={split}")
            cells.append(Cell(rule, f"split = {split}", "multiplexer2-units", (), setting, 5, "mean_reward", figure))
            cells.append(Cell(f"{rule}, last 10%", f"split = {split}", "multiplexer2-units", (), setting, 5, "last_mean_reward"))
    return cells


def free() -> list[Cell]:
    """Held against: a prototype of these semantics, 1000 episodes on free clocks with traces; 500 episodes with the reward 5 decisions late."""
    cells = []
    for row, under, settings, seeds, figure in (
        ("calm, credit stamped", (), (), 5, 393.0),
        ("stale reward (5 decisions), stamped", ("stale-reward",), (), 3, None),
        ("stale reward (5 decisions), trace", ("stale-reward",), _TRACE, 3, 23.0),
    ):
        cells.append(Cell(row, "mean return of 1000 episodes", "cartpole-free", under, settings, seeds, "mean_return", figure))
        cells.append(Cell(row, "mean return of the last 100", "cartpole-free", under, settings, seeds, "last_mean_return"))
    return cells


TABLES = {
    "published": published,
    "hardship": hardship,
    "map": map_async,
    "tasks": tasks,
    "ablation": ablation,
    "questions": questions,
    "units": units,
    "free": free,
}


def one(scenario: str, under: tuple[str, ...], settings: tuple[str, ...], seed: int) -> dict[str, Any]:
    """One run, in a process of the pool."""
    import asyncnet
    from asyncnet.benchmarks import whole

    result = asyncnet.run(asyncnet.load(scenario, under, settings), seed=seed, out=None)
    whole(result.record)
    summary = result.summary()
    kept = ("mean_reward", "last_mean_reward", "mean_return", "last_mean_return", "on_time", "decisions", "seconds", "digest", "verdict")
    return {"scenario": scenario, "under": list(under), "settings": list(settings), "seed": seed, **{key: summary[key] for key in kept}}


def _key(scenario: str, under: Any, settings: Any, seed: int) -> str:
    return json.dumps([scenario, list(under), list(settings), seed])


def main(
    table: Literal["published", "hardship", "map", "tasks", "ablation", "questions", "units", "free"],
    /,
    store: Path = Path("docs/runs.jsonl"),
    workers: int = os.cpu_count() or 1,
    seeds: int | None = None,
    only: str = "",
) -> None:
    """Run what is missing of a table and print it.

    Args:
        table: which one.
        store: finished runs, one JSON object a line.
        workers: processes at a time.
        seeds: so many for each cell, 1, 2, ...; default: each cell's own number.
        only: cells whose scenario's name contains this.
    """
    cells = [cell._replace(seeds=seeds or cell.seeds) for cell in TABLES[table]() if only in cell.scenario]
    store.parent.mkdir(parents=True, exist_ok=True)
    done = {_key(r["scenario"], r["under"], r["settings"], r["seed"]): r for r in map(json.loads, store.read_text().splitlines())} if store.exists() else {}
    wanted = {_key(c.scenario, c.under, c.settings, s): (c.scenario, c.under, c.settings, s) for c in cells for s in range(1, c.seeds + 1)}
    missing = [arguments for key, arguments in wanted.items() if key not in done]
    with ProcessPoolExecutor(workers) as pool, store.open("a") as file:
        for count, future in enumerate(as_completed([pool.submit(one, *arguments) for arguments in missing]), 1):
            run = future.result()
            done[_key(run["scenario"], run["under"], run["settings"], run["seed"])] = run
            file.write(json.dumps(run) + "\n")
            file.flush()
            print(f"{count}/{len(missing)} {run['scenario']} {run['under']} {run['settings']} seed {run['seed']}", file=sys.stderr, flush=True)
    columns = list(dict.fromkeys(cell.column for cell in cells))
    print(f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for row in dict.fromkeys(cell.row for cell in cells):
        texts = []
        for column in columns:
            cell = next((c for c in cells if c.row == row and c.column == column), None)
            values = [done[_key(cell.scenario, cell.under, cell.settings, s)][cell.figure] for s in range(1, cell.seeds + 1)] if cell else []
            texts.append(_text(values, cell) if cell else "")
        print(f"| {row} | {' | '.join(texts)} |")


def _text(values: list[float], cell: Cell) -> str:
    """mean +- standard error (n) [figure held against]."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    digits = 3 if abs(statistics.mean(values)) < 10 else 1
    against = "" if cell.held_against is None else f" [{cell.held_against:g}]"
    return f"{statistics.mean(values):.{digits}f} +- {error:.{digits}f} ({len(values)}){against}"


if __name__ == "__main__":
    tyro.cli(main)
