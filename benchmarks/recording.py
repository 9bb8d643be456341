"""What it costs to record a run on real clocks: pairs of Ray runs, recorded and not, in turns (off, on, on, off).

    python benchmarks/recording.py [--seconds 5] [--rounds 6] [--json]

waits        the 3-bit multiplexer's team acts on arrival and the world waits: decisions per second are bound by wire and processor, so recording shows
free clocks  multiplexer3-weight-max as shipped: its clocks make the pace, whatever recording costs, until a tick is missed; so its row of processor time
             counts: all processes of the session, driver included, from the start of the loops until everything has been gathered
bytes        files divided by events, what is in a segment beside events included: sequence numbers, times, digests of the nodes, heads

Decisions are counted over the time on the world's own clock. The recording is real: segments travel to the driver, which appends them to files and has them on
the disk before it goes on. A ratio is the median of those of the pairs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import tyro

import asyncnet
from asyncnet.actors.session import Session, leftovers, session
from asyncnet.actors.team import Team
from asyncnet.api import Quiet
from asyncnet.benchmarks import Row, show, whole
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.counts import Counts
from asyncnet.record.journal import SUFFIX, Reader, Writer
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.scenario.schema import Scenario

PATTERN = (False, True, True, False)  # recorded or not: each pair in both orders
ARRIVAL = {"clocks": {"default": {"kind": "on-arrival"}}, "links": {"default": []}}


class Kept:
    """Takes no checkpoints; keeps a recording in a folder, if it is to."""

    every = 0.0

    def __init__(self, folder: Path, recording: bool) -> None:
        self.name, self.recording = folder.name, recording
        self._writer = Writer(folder)

    def checkpoint(self, state: Checkpoint) -> None:
        """Keep none."""

    def segment(self, loop: str, data: bytes) -> None:
        """Append a segment to its loop's file."""
        self._writer.append(loop, data)

    def traffic(self, counts: Counts) -> None:
        """Keep none."""

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


class Run(NamedTuple):
    """What one run came to."""

    rate: float  # decisions per second
    work: float  # milliseconds of processor for a decision
    bytes: int
    events: int


def loads(seconds: float) -> dict[str, Scenario]:
    """Both loads, of about so many seconds."""
    shipped = asyncnet.load("multiplexer3-weight-max")
    waits = {"tick": 1, "task.decisions": int(1500 * seconds) + 1, "task.world": {"waits": True, "interval": 1.0, "timeout": 1e6}}
    each = shipped.task.world.interval * shipped.tick / 1e6
    return {"waits": shipped.replace(waits, **ARRIVAL), "free clocks": shipped.replace({"task.decisions": int(seconds / each) + 1})}


def processor(held: Session) -> float:
    """Seconds of processor that the driver and the session's processes have used."""
    return sum(sum(process.cpu_times()[:2]) for process in leftovers(held.mark)) + sum(os.times()[:2])


def once(held: Session, scenario: Scenario, recording: bool) -> Run:
    """One run, and what it has left in the files."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Kept(Path(folder), recording)
        team = Team(scenario, Quiet(), private=True, kept=kept)
        try:
            before = processor(held)
            record = whole(team.run())
            used = processor(held) - before
        finally:
            team.end()
            kept.close()
        if record.stopped != "finished":
            raise RuntimeError(f"the run {record.stopped}")
        paths, events = sorted(Path(folder).glob(f"*{SUFFIX}")), 0
        for path in paths:
            reader = Reader(path)
            events += sum(len(segment.events) for segment in reader)
            if reader.damage:
                raise RuntimeError(reader.damage)
        decisions = record.score["decisions"]
        return Run(decisions / record.measured["elapsed_s"], 1e3 * used / decisions, sum(path.stat().st_size for path in paths), events)


def rows(load: str, runs: list[Run]) -> list[Row]:
    """The figures of a load's runs, which were recorded or not as PATTERN says."""
    off, on = ([run for run, recorded in zip(runs, PATTERN * len(runs), strict=False) if recorded is which] for which in (False, True))
    rates, works = ([statistics.median(getattr(run, name) for run in kind) for kind in (on, off)] for name in ("rate", "work"))
    faster = statistics.median(one.rate / other.rate for one, other in zip(on, off, strict=True))
    less = statistics.median(other.work / one.work for one, other in zip(on, off, strict=True))
    events = sum(run.events for run in on)
    return [
        Row(f"{load}, recorded", rates[0], "decisions/s", "not recorded", rates[1], faster),
        Row(f"{load}, recorded", works[0], "ms of processor a decision", "not recorded", works[1], less),
        Row(f"{load}, on disk", sum(run.bytes for run in on) / events, "bytes/event"),
    ]


def measure(seconds: float = 2.0, rounds: int = 1) -> list[Row]:
    """Both loads, two pairs a round."""
    out = []
    with session() as held:
        for load, scenario in loads(seconds).items():
            CompiledLoop(scenario, None).prepare(wired=True)  # compiles
            out += rows(load, [once(held, scenario, recording) for recording in PATTERN * rounds])
    return out


def main(seconds: float = 5.0, rounds: int = 6, json: bool = False) -> None:
    """Measure recording.

    Args:
        seconds: about how long each run takes.
        rounds: rounds of off, on, on, off, for each load.
        json: print one JSON object.
    """
    show(measure(seconds, rounds), json)


if __name__ == "__main__":
    tyro.cli(main)
