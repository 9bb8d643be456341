"""What each link of a team does to messages, by its channel (scenario/links.py) and by faults (scenario/faults.py), and what befalls its nodes.

There is a model for each different set of these, and each link has one of them: what it costs in memory does not grow with the links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from asyncnet.loop import mishaps, when
from asyncnet.loop.link import (
    AWAY,
    COLUMNS,
    CONSTANT,
    CUT,
    EXPONENTIAL,
    FLIPPED,
    HELD,
    KIND,
    KNOT,
    LATE,
    LOGNORMAL,
    LOSS,
    MISDATED,
    NOISE,
    NORMAL,
    QUANTISED,
    RATE,
    TWICE,
    UNIFORM,
    WAITS,
    A,
    B,
    row,
)
from asyncnet.loop.message import CHANNEL_NAMES
from asyncnet.scenario.faults import OfNodes
from asyncnet.team.lateness import least_delay
from asyncnet.team.network import CHANNEL, Plan
from asyncnet.team.targets import drawn, links_of

if TYPE_CHECKING:
    from asyncnet.scenario.faults import AnyFault
    from asyncnet.scenario.links import Links
    from asyncnet.scenario.schema import Scenario

_DELAYS = {"constant": CONSTANT, "uniform": UNIFORM, "exponential": EXPONENTIAL, "lognormal": LOGNORMAL, "normal": NORMAL}

_TOTAL = {"cut": CUT, "hold": HELD, "crash": AWAY, "pause": WAITS}
_ALTERS = {"noise": (NOISE, "sigma"), "quantise": (QUANTISED, "step"), "flip": (FLIPPED, "share")}  # and the setting that is its number
_MISHAPS = {
    "crash": mishaps.CRASH,
    "pause": mishaps.PAUSE,
    "slow": mishaps.SLOW,
    "skip": mishaps.SKIP,
    "shift": mishaps.SHIFT,
    "block": mishaps.BLOCK,
    "drop-oldest": mishaps.DROP_OLDEST,
    "drop-newest": mishaps.DROP_NEWEST,
    "newest-wins": mishaps.NEWEST_WINS,
}


class LinkModel(NamedTuple):
    """What a link does to messages. Times are in microseconds."""

    channel: str
    faults: tuple[int, ...]  # their numbers in the scenario
    conditions: np.ndarray  # (n, link.COLUMNS)
    stale: int  # it holds back so many
    retry: float  # after so long a lost message is sent again; -1: never
    least: int  # that a message takes, at least

    @property
    def alters(self) -> bool:
        """Whether it changes what messages carry, or to which decision they belong."""
        return bool(((self.conditions[:, KIND] >= NOISE) & (self.conditions[:, KIND] < AWAY)).any())

    @property
    def paced(self) -> bool:
        """Whether its messages may have to wait in line."""
        return bool((self.conditions[:, KIND] == RATE).any())

    @property
    def longest_line(self) -> float:
        """Microseconds until the last of those that may wait in its line has left, and the next may."""
        rates = self.conditions[self.conditions[:, KIND] == RATE]
        return float(rates[:, A].max() * (rates[:, B].max() + 1.0)) if len(rates) else 0.0

    @property
    def fixed(self) -> int:
        """The time that every message takes if it is always the same, and none is lost; else -1."""
        return self.least if not self.faults and (self.conditions[:, KIND] == CONSTANT).all() else -1


class Models(NamedTuple):
    """The models of a team, and which of them each link has."""

    models: tuple[LinkModel, ...]
    of: np.ndarray  # (links,)

    @property
    def doubles(self) -> bool:
        """Whether any has messages come twice."""
        return any((model.conditions[:, KIND] == TWICE).any() for model in self.models)

    def at(self, link: int) -> LinkModel:
        """The model of a link."""
        return self.models[self.of[link]]


def models_of(scenario: Scenario, plan: Plan) -> Models:
    """The models of a team; raises ScenarioError for a fault that strikes nothing."""
    struck = [links_of(scenario, plan, number) for number in range(len(scenario.faults))]
    of = plan.links[:, CHANNEL].astype(np.int64)
    for each in struck:
        of = np.unique(2 * of + each, return_inverse=True)[1]
    _, firsts, of = np.unique(of, return_index=True, return_inverse=True)
    made = (model(scenario, CHANNEL_NAMES[int(plan.links[link, CHANNEL])], [n for n, each in enumerate(struck) if each[link]]) for link in firsts.tolist())
    return Models(tuple(made), of.astype(np.int32))


def model(scenario: Scenario, channel: str, faults: list[int]) -> LinkModel:
    """What a link of that channel does which these faults strike."""
    links, tick = scenario.links, scenario.tick
    rows, least = always(links, channel, tick)
    rows += sorted((one for number in faults for one in fault_rows(scenario, number)), key=_phase)
    retry = links.retry * tick if links.reliable(channel) else -1.0
    return LinkModel(channel, tuple(faults), np.array(rows, dtype=np.float64).reshape(-1, COLUMNS), links.stale(channel), retry, least)


def _phase(condition: tuple[float, ...]) -> int:
    """Conditions apply in this order: when a message comes, what it carries, who is there."""
    return int(condition[KIND] >= NOISE) + int(condition[KIND] >= AWAY)


def always(links: Links, channel: str, tick: int) -> tuple[list[tuple[float, ...]], int]:
    """The conditions of a channel that no fault brings, and the microseconds that they take at least."""
    rows, least = [], 0.0
    for condition in links.of(channel):
        if condition.loss:
            rows.append(row(LOSS, condition.loss))
        if condition.delay:
            rows.append(row(*_delay(condition.delay, tick)))
            least += least_delay(condition.delay) * tick
    return rows, round(least)


def _delay(delay: Any, tick: int) -> tuple[float, ...]:
    numbers = [value if (delay.kind, key) == ("lognormal", "sigma") else value * tick for key, value in delay.model_dump(exclude={"kind"}).items()]
    return (_DELAYS[delay.kind], *numbers, *[0.0] * (2 - len(numbers)))


def fault_rows(scenario: Scenario, number: int) -> list[tuple[float, ...]]:
    """A fault as conditions of the links that it strikes: one, but for a delay that was measured."""
    fault, tick = scenario.faults[number], scenario.tick
    said, alike = _said(fault, tick)
    return [row(*one, fault=number, alike=alike, times=times(fault, scenario)) for one in said]


def _said(fault: AnyFault, tick: int) -> tuple[list[tuple[float, ...]], float]:
    """The kinds and numbers of these, and how alike their draws are from message to message."""
    if fault.kind in ("loss", "corrupt"):
        # Of a chain that stays as it is with the chance x and is drawn anew else, a run of losses ends with the chance (1 - x) (1 - share).
        alike = max(0.0, 1.0 - 1.0 / (fault.burst * (1.0 - fault.share))) if fault.burst is not None and fault.share < 1.0 else 0.0
        return [(LOSS, fault.share)], alike
    if fault.kind == "delay" and fault.delay.kind == "measured":
        return [(KNOT, delay * tick, share) for share, delay in fault.delay.quantiles], fault.alike
    if fault.kind == "delay":
        return [_delay(fault.delay, tick)], fault.alike
    if fault.kind == "reorder":
        return [(LATE, fault.share, fault.by * tick)], fault.alike
    if fault.kind == "rate":
        return [(RATE, tick / fault.per_tick, fault.room)], 0.0
    if fault.kind in ("duplicate", "misdate"):
        return [(TWICE, fault.share, fault.by * tick) if fault.kind == "duplicate" else (MISDATED, fault.share, fault.by)], 0.0
    if fault.kind in _ALTERS:
        code, number_of = _ALTERS[fault.kind]
        return [(code, getattr(fault, number_of))], 0.0
    return [(_TOTAL[fault.kind], float(fault.own))], 0.0


def times(fault: AnyFault, scenario: Scenario) -> tuple[float, ...]:
    """When a fault is on, as when.py reads it."""
    tick, own = scenario.tick, isinstance(fault, OfNodes)
    start, stop = fault.span(tick, scenario.task.world.interval)
    start, stop = (float(min(round(at), when.NEVER)) for at in (start, when.NEVER if stop is None else stop))
    every, lasting = fault.again(tick)
    first, last = map(float, (not own and fault.decisions) or when.ALWAYS[when.FIRST :])
    random = when.AT_RANDOM if fault.poisson is not None else when.ITS_OWN if fault.own and fault.every else when.REGULAR
    return start, stop, float(every), float(lasting), float(random), first, last


def mishaps_of(scenario: Scenario, plan: Plan) -> dict[int, np.ndarray]:
    """What befalls the nodes that any fault strikes, as mishaps.py reads it (n, mishaps.COLUMNS); nodes that have the same share it."""
    rows = {n: mishap(scenario, n) for n, fault in enumerate(scenario.faults) if isinstance(fault, OfNodes)}
    struck: dict[int, tuple[int, ...]] = {}
    for number in rows:
        for node in np.flatnonzero(drawn(scenario, plan, number)).tolist():
            struck[node] = (*struck.get(node, ()), number)
    tables = {numbers: np.array([rows[number] for number in numbers]) for numbers in set(struck.values())}
    return {node: tables[numbers] for node, numbers in sorted(struck.items())}


def mishap(scenario: Scenario, number: int) -> tuple[float, ...]:
    """A fault of nodes as their row."""
    fault, tick = scenario.faults[number], scenario.tick
    value = fault.share if fault.kind == "skip" else fault.by if fault.kind == "slow" else 0.0
    if fault.kind == "shift":
        value = max(1, round(fault.by * tick))
    if fault.kind == "crash" and fault.snapshot is not None:
        value = max(1, round(fault.snapshot * tick))
    if fault.kind == "mailbox":
        value = fault.room or 1
    return mishaps.row(_MISHAPS[fault.policy if fault.kind == "mailbox" else fault.kind], value, number, fault.own, times(fault, scenario))
