"""The Ray engine: refuse what cannot be run, run the rest (team.py) in a process of its own (conductor.py)."""

from __future__ import annotations

from asyncnet.kernels.plain import PLAIN
from asyncnet.kernels.shared_words import AVAILABLE
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.record import Keeper, Record, Reporter
from asyncnet.scenario.schema import Scenario, ScenarioError
from asyncnet.team.conditions import models_of
from asyncnet.team.draw import plan

from .conductor import conduct
from .courier import COURIERS
from .ray_internals import LOCAL, mine
from .session import knock
from .supervisor import RESTARTS
from .team import groups
from .windows import reach


def check(scenario: Scenario, *, time: str = "wall", pack: int = 1, wire: str = "memory", address: str | None = None, restart: str = "intensity") -> None:
    """Refuse, with a ScenarioError, what cannot be run."""
    if time not in ("wall", "virtual"):
        raise ScenarioError("--time", "", f"wall or virtual, got {time!r}")
    if wire not in COURIERS:
        raise ScenarioError("--wire", "", f"no wire {wire!r}; there are {', '.join(COURIERS)}")
    if restart not in RESTARTS:
        raise ScenarioError("--restart", "", f"{' or '.join(RESTARTS)}, got {restart!r}")
    if pack < 1:
        raise ScenarioError("--pack", "", f"at least one node an actor, got {pack}")
    if not AVAILABLE:
        raise ScenarioError("--engine ray", "", "needs Linux on x86-64 or arm64: loops of one machine wake each other by its futex")
    if PLAIN:
        raise ScenarioError("--engine ray", "", "NUMBA_DISABLE_JIT is set, and a breakpoint has no terminal in an actor; the embedded engine runs plain Python")
    team = plan(scenario)
    if time == "virtual":
        parts = groups(team, pack)
        where = {i: str(number) for number, part in enumerate(parts) for i in part}
        reach(team, models_of(scenario, team), where, sorted(set(where.values())))
    if address not in (None, LOCAL):
        knock(address)


def run(
    scenario: Scenario,
    reporter: Reporter,
    *,
    time: str = "wall",
    pack: int = 1,
    wire: str = "memory",
    address: str | None = None,
    restart: str = "intensity",
    kept: Keeper | None = None,
    begin: Checkpoint | None = None,
) -> Record:
    """Run a scenario on Ray actors, `pack` nodes in each, to its end or to KeyboardInterrupt, in a process of its own (conductor.py).

    A record comes back whatever happens: of a node's code that failed, of actors that are lost or frozen, of a Ray that is gone, with what is known then.
    It joins the Ray at `address`, or else the one that this process has started or joined; without either, or with "local", it has one of its own.
    In "virtual" time the bits are those of the embedded engine, whatever the placement; in "wall" time every clock is real. `kept` takes checkpoints and,
    in wall time, the recording; `begin` is the state to go on from.
    """
    check(scenario, time=time, pack=pack, wire=wire, restart=restart)
    token: dict[str, str] | None = None
    if address is None and (found := mine()) is not None:
        address, token = found
        reporter.note(f"joining the Ray of this process, at {address}")
    return conduct(
        scenario, reporter, address=None if address == LOCAL else address, token=token, kept=kept, begin=begin, time=time, pack=pack, wire=wire, restart=restart
    )
