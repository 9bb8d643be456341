"""A long run on Ray under everything that can go wrong: does memory grow, and do all promises hold to its end?

    python -m asyncnet.benchmarks.soak [--minutes 60] [--under chaos] [--kills 0]

Every few seconds it is noted what memory each process of the run has to itself; what they share, rings and Ray's store of objects, has bounds of its own,
and is touched bit by bit. After the first sixth (caches fill, the collector settles) a straight line is laid through the means of twenty stretches of it; its
slope is given with the 95% interval of Student's t, in bytes a second. With --kills so many actors are killed on the way, whose successors are other processes.
Exit code 1 if the run did not finish, books do not balance, or its recording does not replay.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import json  # noqa: E402  (the threads are set before NumPy is loaded)
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import tyro  # noqa: E402

import asyncnet  # noqa: E402
from asyncnet.loop.ledger import unexplained  # noqa: E402

EVERY = 2.0  # seconds between looks
STRETCHES = 20
T95 = 2.101  # of 18 degrees of freedom
OURS = "ray::world", "ray::actor.", "ray::critic"


def slope(seconds: np.ndarray, memory: np.ndarray) -> tuple[float, float]:
    """Bytes a second, and half of its 95% interval, from the means of stretches: neighbours in time are alike, stretches hardly."""
    parts = [(part.mean(), held.mean()) for part, held in zip(np.array_split(seconds, STRETCHES), np.array_split(memory, STRETCHES), strict=True)]
    at, held = np.array(parts).T
    off = at - at.mean()
    by = float((off * held).sum() / (off**2).sum())
    left = held - held.mean() - by * off
    return by, T95 * float(np.sqrt((left**2).sum() / (STRETCHES - 2) / (off**2).sum()))


def _name(process: psutil.Process) -> str:
    try:
        said = process.cmdline()[0] if process.cmdline() else ""
    except psutil.Error:
        return ""
    return said.split(".status")[0] if said.startswith(OURS) else ""


def main(minutes: float = 60.0, under: str = "chaos", kills: int = 0, scenario: str = "multiplexer3-weight-max") -> None:
    """Run, look, and tell."""
    made = asyncnet.load(scenario, under)
    decisions = round(60.0 * minutes / (made.task.world.interval * made.tick / 1e6))
    noted: dict[str, list[tuple[float, int]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        words = ["run", scenario, "--under", under, "--engine", "ray", "--json", "--set", f"task.decisions={decisions}", "--out", folder]
        run = subprocess.Popen([sys.executable, "-m", "asyncnet", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        began, killed, driver = time.monotonic(), 0, psutil.Process(run.pid)
        while run.poll() is None:
            time.sleep(EVERY)
            at = time.monotonic() - began
            actors = {name: process for process in driver.children(recursive=True) if (name := _name(process))}
            for name, process in {"driver": driver, **actors}.items():
                try:
                    if held := process.memory_full_info().uss:  # else it has just ended
                        noted.setdefault(f"{name} {process.pid}", []).append((at, held))
                except psutil.Error:
                    continue
            if killed < kills and actors and at > (killed + 1) * 60.0 * minutes / (kills + 2):
                sorted(actors.items())[killed % len(actors)][1].kill()
                killed += 1
        summary = json.loads(run.communicate()[0])
        balanced = _tell(summary, noted, under, killed)
        same, line = asyncnet.replay(summary["run_dir"])  # takes as long as the run had work
    print(line)
    sys.exit(int(not (summary["stopped"] == "finished" and balanced and same)))


def _tell(summary: dict[str, Any], noted: dict[str, list[tuple[float, int]]], under: str, killed: int) -> bool:
    """Print what came of the run and of its memory; returns whether the books balance."""
    table = np.array([list(row.values()) for row in summary["ledger"].values()]).T
    balanced = bool(table.size) and not unexplained(table).any()
    came = f"{summary['stopped']}, {summary['decisions']:,} decisions in {summary['seconds']:.0f} s"
    print(f"{summary['scenario']} under {under}: {came}, verdict {summary['verdict']}")
    for reason in summary["reasons"]:
        print(f"  {reason}")
    print(f"books {'balance' if balanced else 'do not balance'}")
    print(f"killed {killed}, back {len(summary.get('measured', {}).get('restarts', []))}")
    print()
    print("| process | MB | bytes a second | 95% interval |\n| --- | --- | --- | --- |")
    for name, rows in sorted(noted.items()):
        seconds, memory = np.array(rows).T
        later = seconds > seconds[0] + (seconds[-1] - seconds[0]) / 6
        if later.sum() >= 2 * STRETCHES:
            by, half = slope(seconds[later], memory[later])
            print(
                f"| {name.rpartition(' ')[0].removeprefix('ray::')} | {memory[-1] / 1e6:.0f} | {by:+,.0f} | {by - half:+,.0f} to {by + half:+,.0f} |",
                flush=True,
            )
    return balanced


if __name__ == "__main__":
    tyro.cli(main)
