"""Compiling what a run will need before it is built, in two processes at once: the first run in a place waits for the compiler.

The other process keeps what it compiles on disk (kernel.py), where this one finds it. It ends when its standard input does, so it outlives nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from asyncnet import interrupts
from asyncnet.kernels.kernel import COMPILING, cache_folder, kept, quietly, tell
from asyncnet.kernels.pointer import BEGIN, HANDLE
from asyncnet.loop.compiled import go
from asyncnet.scenario import outside
from asyncnet.scenario.schema import Scenario, check
from asyncnet.team.build import family_of
from asyncnet.team.draw import plan

# About how many seconds each takes: only the division of labour hangs on it. A machine that is not named takes as long as one for sampled units.
_COSTS = {
    "sampled": 12.0,
    "settling": 22.0,
    "phased": 19.0,
    "world": 3.0,
    "dopamine": 0.5,
    "go": 15.0,
    "go_together": 18.0,
    "take_in_what_came": 3.0,
    "make_way": 3.0,
    "take_all_in": 1.0,
}
_BEGINNING = 0.8
_STARTING = 1.0  # seconds until the other process compiles
_LEAST_TIMEOUT, _TIMEOUT = 30.0, 3.0  # how long to wait for it: seconds, and for each second that its share takes
_CHILD = "import sys; sys.path[:] = {path!r}; from asyncnet.loop.compiled.ahead import main; main()"


class Piece(NamedTuple):
    """An entry, the types of its arguments, and about how many seconds it takes to compile."""

    name: str
    entry: Any
    signature: tuple[Any, ...]
    cost: float


def pieces(scenario: Scenario, *, wired: bool = False) -> list[Piece]:
    """The entries that a run in the compiled loop needs, but for a few small ones; `wired`: one whose messages come from other processes too."""
    team = plan(scenario)
    families = {family.name: family for family in (family_of(scenario, team, node) for node in team.nodes)}
    out = [Piece(name, family.handle, HANDLE, _COSTS.get(family.machine.__name__.rpartition(".")[2], _COSTS["sampled"])) for name, family in families.items()]
    out += [Piece(f"{name}: begin", family.begin, BEGIN, _BEGINNING) for name, family in families.items()]
    loops = go.ENTRIES + (go.TOGETHER if wired else ())
    return out + [Piece(f"the loop: {entry.__name__}", entry, signature, _COSTS[entry.__name__]) for entry, signature in loops]


def shares(missing: list[Piece]) -> tuple[list[Piece], list[Piece]]:
    """What this process compiles, and the other one: the longest first, each to whoever is done sooner."""
    here, there, ends = [], [], [0.0, _STARTING]
    for piece in sorted(missing, key=lambda piece: -piece.cost):
        later = ends[1] + piece.cost < ends[0] + piece.cost
        (there if later else here).append(piece)
        ends[later] += piece.cost
    return here, there


def compile_ahead(scenario: Scenario, *, wired: bool = False) -> None:
    """Have everything large on disk that the run will need; costs about a millisecond where it is there already."""
    missing = [piece for piece in pieces(scenario, wired=wired) if not kept(piece.entry, piece.signature)]
    if len(missing) < 2 or cache_folder() is None or (os.cpu_count() or 1) < 2:
        return  # each is compiled where it is first needed
    here, there = shares(missing)
    tell(COMPILING)
    until = time.monotonic() + _LEAST_TIMEOUT + _TIMEOUT * sum(piece.cost for piece in there)
    with _other(scenario, wired, [piece.name for piece in there]) as other:
        for done, piece in enumerate(here):
            tell(f"compiling {piece.name}: {done + 1} of {len(here)} here, {len(there)} in another process")
            with quietly():
                piece.entry.compile(piece.signature)
        if other.poll() is None:
            tell(f"waiting for {' and '.join(piece.name for piece in there)}")
        while other.poll() is None and time.monotonic() < until:  # it may have been stopped: then all is compiled here after all
            with contextlib.suppress(subprocess.TimeoutExpired):
                other.wait(0.1)  # a wait without end would not hear Ctrl-C
        if other.poll() is None:
            tell("the other process takes too long: compiling here")


@contextlib.contextmanager
def _other(scenario: Scenario, wired: bool, names: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that compiles the pieces of these names."""
    order = json.dumps({"outside": outside.packed(scenario), "scenario": scenario.data(), "wired": wired, "names": names}).encode() + b"\n"
    command = [sys.executable, "-c", _CHILD.format(path=sys.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    interrupts.leaving.append(process.kill)
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(order)
            process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        interrupts.leaving.remove(process.kill)


def main() -> None:
    """The other process."""
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    outside.receive(order["outside"])
    wanted = {piece.name: piece for piece in pieces(check(order["scenario"], "scenario"), wired=order["wired"])}
    for name in order["names"]:
        wanted[name].entry.compile(wanted[name].signature)


def _outlive_nobody() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
