"""What happened in the runs of a case: messages by channel, what was asked of conditions and what they struck, ticks against clocks, late actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from asyncnet.loop.ledger import COLUMNS
from asyncnet.loop.message import CHANNELS
from asyncnet.scenario.faults import words as words_of
from asyncnet.scenario.schema import Scenario
from asyncnet.studies.cases import Case
from asyncnet.studies.explain import clock_words, conditions
from asyncnet.studies.transit import Transit, asked_loss, random_delays, transits
from asyncnet.team.lateness import clock_of


class Firing(NamedTuple):
    """What was asked of a channel or a clock, what it struck of how many, in words; the share of them, and the one asked for (None: there is none)."""

    where: str
    asked: str
    struck: str
    share: float | None
    expected: float | None


class Rate(NamedTuple):
    """A node's ticks against its clock: ticks, and what its clock asks for in the time that the run took (None: it acts when a message comes)."""

    node: str
    clock: str
    ticks: int
    asked: float | None

    @property
    def share(self) -> float | None:
        """Ticks for each that was asked for."""
        return self.ticks / self.asked if self.asked else None


def by_channel(case: Case) -> dict[str, Counter[str]]:
    """The ledger by channel, added up over the runs of a case."""
    added: dict[str, Counter[str]] = {}
    for run in case.runs:
        for channel, link in run.summary["links"].items():
            added.setdefault(channel, Counter()).update({key: int(link.get(key) or 0) for key in COLUMNS})
    return added


def on_their_way(case: Case) -> dict[tuple[str, str], Transit]:
    """By (channel, layer that hears): delays and losses of the messages of all runs of a case, as far as they are known of each."""
    found = [transits(run.scenario, run.ledger) if run.scenario is not None else {} for run in case.runs]
    common = [key for key in (found[0] if found else {}) if all(key in each for each in found)]
    return {key: _added(each[key] for each in found) for key in common}


def _added(several: Iterable[Transit]) -> Transit:
    delays, *counts = zip(*several, strict=True)
    return Transit(np.concatenate(delays), *(sum(each) for each in counts))


def firings(case: Case, ways: Mapping[tuple[str, str], Transit]) -> list[Firing]:
    """Every condition of links and slow clock that a case asks for, and what it did."""
    scenario = case.runs[0].scenario
    if scenario is None:
        return []
    out, counts = [], by_channel(case)
    for channel in (channel for channel in CHANNELS if channel in counts):
        known = [transit for (name, _), transit in ways.items() if name == channel]
        whole = _added(known) if known else None
        for words in conditions(scenario, channel):
            kind = words.partition(" ")[0]
            said = {"loss": _losses, "delay": _delays, "held": _held}[kind](scenario, channel, counts[channel], whole)
            out.append(Firing(channel, words, *said))
    return out + _faults(scenario, case) + _stragglers(case)


def _faults(scenario: Scenario, case: Case) -> list[Firing]:
    """The scenario's faults, and how often each has done something."""
    out = []
    for number, fault in enumerate(scenario.faults):
        counts = [run.summary["faults"][number]["struck"] if "faults" in run.summary else None for run in case.runs]
        struck = "not known" if None in counts else f"{sum(counts):,} times"
        out.append(Firing(fault.channel or "any channel", f"{words_of(fault)} (faults.{number})", struck, None, None))
    return out


def _losses(scenario: Scenario, channel: str, counts: Mapping[str, int], known: Transit | None) -> tuple[str, float | None, float | None]:
    asked = asked_loss(scenario, channel)
    if not scenario.links.reliable(channel):
        carried = counts["sent"]
        return f"{counts['lost']:,} of {carried:,} messages lost", counts["lost"] / carried if carried else None, asked
    if known is None:
        return "sent again as often as it took", None, asked
    return f"{known.struck:,} of {known.drawn:,} messages sent again", known.struck / known.drawn if known.drawn else None, asked


def _delays(scenario: Scenario, channel: str, counts: Mapping[str, int], known: Transit | None) -> tuple[str, None, None]:
    if known is None or not known.delays.size:
        return f"{counts['sent']:,} messages", None, None
    middle, most = np.quantile(known.delays, (0.5, 0.99))
    spread = f"median {middle:.3g}, 99% within {most:.3g} ticks on the way" if random_delays(scenario, channel) or most > middle else f"{middle:.3g} ticks each"
    together = ", all its delays together" if sum(condition.delay is not None for condition in scenario.links.of(channel)) > 1 else ""
    return f"{known.delays.size:,} messages, {spread}{together}", None, None


def _held(scenario: Scenario, channel: str, counts: Mapping[str, int], known: Transit | None) -> tuple[str, None, None]:
    return f"{counts['sent']:,} messages held back, {counts['in_flight']:,} of them still under way at the end", None, None


def _stragglers(case: Case) -> list[Firing]:
    """Nodes whose clocks are slow for a time: the ticks that this cost them."""
    out = []
    scenario = case.runs[0].scenario
    for name in dict.fromkeys(name for run in case.runs for name in run.summary.get("nodes", {})):
        key, clock = clock_of(scenario, name)
        if clock is None or clock.kind != "straggler":
            continue
        whole = sum(_elapsed(run.summary, scenario) / clock.period for run in case.runs)
        ticks = sum(int(run.summary["nodes"].get(name, {}).get("ticks", 0)) for run in case.runs)
        asked = 1.0 - sum(_asked(clock, _elapsed(run.summary, scenario)) for run in case.runs) / whole if whole else None
        words = f"{max(0, round(whole) - ticks):,} of {whole:,.0f} ticks missed"
        out.append(Firing(name, f"{clock_words(clock)} ({key})", words, 1.0 - ticks / whole if whole else None, asked))
    return out


def _elapsed(summary: Mapping[str, Any], scenario: Scenario) -> float:
    """The run's time in ticks of the scenario; 0 where it is not known."""
    seconds = summary.get("simulated_s")
    return float(seconds) * 1e6 / scenario.tick if isinstance(seconds, (int, float)) else 0.0


def _asked(clock: Any, elapsed: float) -> float:
    """How often a clock is to tick in so many ticks of the scenario."""
    if clock.kind != "straggler":
        return elapsed / clock.period
    slow = max(0.0, min(elapsed, clock.stop) - min(elapsed, clock.start))
    return (elapsed - slow + slow / clock.slow) / clock.period


def rates(case: Case) -> list[Rate]:
    """The ticks of each node of a case, added up over its runs."""
    out: list[Rate] = []
    names = dict.fromkeys(name for run in case.runs for name in run.summary.get("nodes", {}))
    scenario = case.runs[0].scenario
    for name in names if scenario is not None else ():
        key, clock = clock_of(scenario, name)
        ticks = sum(int(run.summary["nodes"].get(name, {}).get("ticks", 0)) for run in case.runs)
        asked = None
        if clock is not None and clock.kind != "on-arrival":
            asked = sum(_asked(clock, _elapsed(run.summary, scenario)) for run in case.runs) or None
        out.append(Rate(name, f"{clock_words(clock)} ({key})", ticks, asked))
    return out


def layer_of(node: str) -> str:
    """The layer of a node, by its name."""
    return ".".join(node.split(".")[:2])


def late(case: Case) -> np.ndarray | None:
    """The share of decisions whose action was 0, 1, 2, ... decisions late, over the runs of a case; None where that is not known."""
    counts = [run.summary.get("lateness") for run in case.runs]
    if any(not isinstance(each, list) for each in counts):
        return None
    total = np.zeros(max((len(each) for each in counts), default=0))
    for each in counts:
        total[: len(each)] += each
    decisions = sum(run.summary["decisions"] for run in case.runs)
    return total / decisions if decisions else None
