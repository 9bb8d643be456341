"""How late credit may come, and so how many samples a node has to keep (`rule.archive = 0`).

    archive of a node  =  longest time from showing an observation to the credit for what was done about it  /  least time between two decisions

Times add up along the way of a decision: to the layers and back to the world with the action, to the dopamine node, to the output with the reward, and with the
feedback from layer to layer. Each step takes the delays of its channel, the times that a lost message is sent again, the messages that a stale link holds
back, the wait for the receiver's next tick, and for inputs that may be missing `network.timeout` of those. Of whatever is random each step takes the
99.9 % quantile: QUANTILE. A world that waits closes a decision when its action has come, so there the way begins with the reward.

Times are kept by the key that asks for them, so that an archive beyond reason is refused by name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.team.network import OBSERVATION, Plan, reach_of

if TYPE_CHECKING:
    from asyncnet.scenario.faults import AnyFault
    from asyncnet.scenario.schema import Scenario

QUANTILE = 0.999  # of random delays, retries and clocks
LEAST = 8  # samples: what a run on real clocks may be late beside what was asked for
MARGIN = 2  # samples beyond what was computed
MOST = 1 << 14  # samples of one node
TRIES = 64  # as in link.py

Time = Counter  # microseconds by the key that asks for them
_RARE = -math.log(1.0 - QUANTILE)  # means of an exponential distribution
_SIGMAS = NormalDist().inv_cdf(QUANTILE)  # of a normal one


def clock_of(scenario: Scenario, name: str) -> tuple[str, Any]:
    """The key and the settings of a node's clock: named for it, for its layer, or the default."""
    layer = ".".join(name.split(".")[:2])
    found = next((key for key in (name, layer, "default") if key in scenario.clocks), None)
    return (f'clocks."{found}"' if found and "." in found else f"clocks.{found}"), scenario.clocks.get(found) if found else None


def longest_tick(spec: Any) -> float:
    """Ticks of the scenario between two ticks of a clock, at most (Poisson: QUANTILE); 0 on arrival."""
    if spec is None or spec.kind == "on-arrival":
        return 0.0
    if spec.kind == "poisson":
        return _RARE * spec.period
    return spec.period * (1.0 + spec.jitter) * (1.0 + getattr(spec, "drift", 0.0)) * getattr(spec, "slow", 1.0)


def longest_delay(delay: Any) -> float:
    """Ticks that a delay takes, at most (random: QUANTILE)."""
    if delay.kind == "constant":
        return delay.value
    if delay.kind == "uniform":
        return delay.high
    if delay.kind == "exponential":
        return _RARE * delay.mean
    if delay.kind == "normal":
        return delay.mean + _SIGMAS * delay.sigma
    if delay.kind == "measured":
        return float(np.interp(QUANTILE, *zip(*delay.quantiles, strict=True)))
    return delay.mean * math.exp(delay.sigma * _SIGMAS - 0.5 * delay.sigma**2)


def least_delay(delay: Any) -> float:
    """Ticks that a delay takes, at least."""
    if delay.kind == "measured":
        return delay.quantiles[0][1]
    return delay.value if delay.kind == "constant" else delay.low if delay.kind == "uniform" else 0.0


def longest_fault(fault: AnyFault) -> float:
    """Ticks that a fault makes a message late, at most (random: QUANTILE)."""
    if fault.kind == "delay":
        return longest_delay(fault.delay)
    if fault.kind == "reorder":
        return fault.by
    if fault.kind == "rate":
        return fault.room / fault.per_tick
    if fault.kind != "hold":  # a node that pauses or is down samples nothing meanwhile, so nobody keeps more for it
        return 0.0
    stretch = fault.stop - fault.start if fault.stop is not None else math.inf
    # Stretches of a Poisson process that overlap are one: how often in a row, at most.
    overlap = 1.0 if fault.poisson is None else 1.0 + _RARE / -math.log(-math.expm1(-fault.lasting / fault.poisson))
    return min(stretch, overlap * fault.lasting) if fault.lasting else stretch


def longer_ticks(fault: AnyFault) -> float:
    """By what factor a fault makes the ticks of nodes come later, at most (missed ones: QUANTILE)."""
    return max(1.0, fault.by) if fault.kind == "slow" else 1.0 + losses_in_a_row(fault.share) if fault.kind == "skip" and fault.share < 1.0 else 1.0


def share_lost(fault: AnyFault) -> float:
    """The share of the messages that a fault of links loses while it is on; where that is all of them none, for what never comes is not late."""
    return fault.share if fault.kind in ("loss", "corrupt") and fault.share < 1.0 else 0.0


def losses_in_a_row(loss: float) -> int:
    """How often in a row a message is lost, at most (QUANTILE)."""
    return TRIES if loss >= 1.0 else min(TRIES, math.ceil(_RARE / -math.log(loss))) if loss > 0.0 else 0


def tries_for(successes: int, share: float) -> float:
    """How many tries it takes to have that many successes, at most (QUANTILE)."""
    return (successes + _SIGMAS * math.sqrt(successes * (1.0 - share))) / share


def archives(scenario: Scenario, plan: Plan) -> dict[str, int]:
    """How many samples a node of each layer keeps, and of critic and dopamine; raises ScenarioError with the key that asks for too many."""
    delays, least, decisions = Delays(scenario, plan), LEAST + scenario.links.stale("reward"), scenario.task.decisions
    out = {}
    for name, late in delays.credits().items():
        needed = math.ceil(late.total() / delays.period) + MARGIN
        if decisions is not None:
            needed = min(needed, decisions + 1)  # no more can be on their way
        if needed > max(MOST, least):
            key, part = max(late.items(), key=lambda item: item[1])
            share = part / late.total()
            why = f"credit may come {late.total() / delays.period:,.0f} decisions late, {share:.0%} of it for this; {name} can keep {MOST:,} samples"
            raise ScenarioError("", key, why)
        out[name] = max(least, needed)
    return out


class Delays:
    """The longest times from one node to the next, in microseconds by key."""

    def __init__(self, scenario: Scenario, plan: Plan) -> None:
        self.scenario, self.plan, self.tick = scenario, plan, scenario.tick
        self.layers = {layer.name: layer for layer in plan.learning}
        self.waits = scenario.task.world.waits
        self.period = max(1, round(scenario.task.world.interval * self.tick))  # between two decisions, at least
        if self.waits:
            self.period += self._least_delay()
        shown_again = 1.0 if self.waits else 1.0 - min(1.0, self.tick / self.period)  # of all times that an observation is said
        self._alone = 1.0 if scenario.network.ready == "revise" else shown_again  # the share of what a node answers without having all of it
        self._ticks: dict[str, tuple[str, float]] = {}
        self._sampled: dict[str, Time] = {}

    def credits(self) -> dict[str, Time]:
        """From showing an observation to the last moment at which a layer, the critic or dopamine may need what it keeps about it."""
        teams = {team: [layer for layer in self.plan.learning if layer.team == team] for team in ("actor", "critic")}
        output = teams["actor"][-1].name
        closed = Time()
        if not self.waits:
            closed = self.sampled(output) + self.activity(output) + Time({"task.world.interval": self.period})
        credited, out = closed, {}
        if teams["critic"]:
            value = teams["critic"][-1].name
            parts = closed + self.travel("transition", self.period), closed + self.sampled(value) + self.activity(value)
            credited = out["dopamine"] = max(parts, key=Time.total) + self.tick_of("dopamine")
            error = credited + self.travel("reward", self.period)
        answered = self.passes("activity") ** (len(teams["actor"]) + 1)  # the share of the decisions with an answer of their own
        credited = credited + self.travel("reward", self.period, 1.0 if self.scenario.task.world.late == "use" else answered)
        share = answered * self.passes("transition") * self.passes("reward")
        shares: dict[str, float] = {}  # of the decisions, from which a layer learns and tells those below
        for layer in reversed(self.plan.learning):
            readers = [other.name for other in self.plan.layers if layer.name in other.sources]
            shares[layer.name] = share
            credit = layer.kind.hearing("credit")
            if credit.relation == "above":
                shares[layer.name] = min(shares[reader] for reader in readers) * self.passes("feedback")
                heard = (out[reader] + self.travel("feedback", max(self.period, self.ticks(reader)), shares[reader]) for reader in readers)
                heard = max(heard, key=Time.total)
                out[layer.name] = heard + self.tick_of(layer.name, 1 + self.scenario.network.timeout * credit.waits)
            else:
                out[layer.name] = (error if credit.out == "error" else credited) + self.tick_of(layer.name)
        return out

    def sampled(self, name: str) -> Time:
        """From showing an observation to the sample of a layer (or the critic) for it."""
        if name not in self._sampled:
            sources = self._sources(name)
            come = max((self.activity(source) + (self.sampled(source) if source != OBSERVATION else Time()) for source in sources), key=Time.total)
            self._sampled[name] = come + self.tick_of(name, 1 + self.scenario.network.timeout * (self.scenario.network.ready != "revise"))
        return self._sampled[name]

    def activity(self, sender: str) -> Time:
        """What a value takes to the next node: it is said again at each of the sender's ticks, where that can matter."""
        return self.travel("activity", self.says(sender), self.prompted(sender))

    def prompted(self, sender: str) -> float:
        """The share of its occasions at which a node says its values: one on arrival says nothing where what it would have answered was lost.

        It answers what is new once it has that from everybody below, and what it has heard before as often as that comes again.
        """
        if sender == OBSERVATION or self.ticks(sender):
            return 1.0
        come = [self.passes("activity") * self._in_order(source) * self.prompted(source) for source in self._sources(sender)]
        everybody = math.prod(share ** self._senders(sender, source) for share, source in zip(come, self._sources(sender), strict=True))
        return max(everybody, self._alone * min(come), 1.0 / TRIES)

    def _in_order(self, sender: str) -> float:
        """The share of its values that no later one overtakes on the way, about: of uniform delays over so many of its occasions, sqrt(pi / 2 / those)."""
        delays = [condition.delay for condition in self.scenario.links.of("activity") if condition.delay]
        spread = sum(longest_delay(delay) - least_delay(delay) for delay in delays) + sum(longest_fault(fault) for _, fault in self._faults("activity"))
        spread *= self.tick / self.says(sender)
        return min(1.0, math.sqrt(0.5 * math.pi / spread)) if spread > 0.0 else 1.0

    def _senders(self, name: str, source: str) -> int:
        """How many nodes of a source a node of that layer hears at most."""
        if source == OBSERVATION:
            return 1
        return min(len(self.layers[source].parts), reach_of(self.scenario, self.layers[name]))

    def passes(self, channel: str) -> float:
        """The share of a channel's messages that are not lost for good."""
        if self.scenario.links.reliable(channel):
            return 1.0
        lost = [*(condition.loss or 0.0 for condition in self.scenario.links.of(channel)), *(share_lost(fault) for _, fault in self._faults(channel))]
        return math.prod(1.0 - loss for loss in lost)

    def _faults(self, channel: str) -> list[tuple[str, AnyFault]]:
        """The faults that may strike a channel, with their keys."""
        return [(f"faults.{number}", fault) for number, fault in enumerate(self.scenario.faults) if fault.touches(channel)]

    def travel(self, channel: str, every: float, share: float = 1.0) -> Time:
        """What a message of a channel takes, if one is said `every` so many microseconds with the chance `share`."""
        links, out = self.scenario.links, Time()
        for table in ("default", channel):
            for condition in getattr(links, table):
                if condition.delay:
                    out[f"links.{table}.delay"] += longest_delay(condition.delay) * self.tick
                if condition.loss and (links.reliable(channel) or channel == "activity"):
                    again = links.retry * self.tick if links.reliable(channel) else every / max(share, 1e-9)
                    out[f"links.{table}.loss"] += losses_in_a_row(condition.loss) * again
                if condition.stale and share > 0.0:
                    out[f"links.{table}.stale"] += tries_for(condition.stale, share) * every
        for key, fault in self._faults(channel):
            lost = share_lost(fault)
            if lost and (links.reliable(channel) or channel == "activity"):
                again = links.retry * self.tick if links.reliable(channel) else every / max(share, 1e-9)
                out[key] += losses_in_a_row(lost) * again * (fault.burst or 1.0)
            out[key] += longest_fault(fault) * self.tick
        return out

    def tick_of(self, name: str, times: int = 1) -> Time:
        """So many waits for the next tick of a node, the slowest of its layer."""
        key, longest = self._slowest(name)
        return Time({key: times * longest}) if longest else Time()

    def ticks(self, name: str) -> float:
        """Microseconds between two ticks of a node, the slowest of its layer."""
        return self._slowest(name)[1]

    def _slowest(self, name: str) -> tuple[str, float]:
        if name not in self._ticks:
            names: Iterable[str] = [name]
            if len(self.scenario.clocks) > 1 and name in self.layers:
                parts = self.layers[name].parts
                names = [f"{name}.{start}" for start, _ in parts] if len(parts) > 1 else [name]
            found = (clock_of(self.scenario, one) for one in names)
            key, ticks = max(((key, longest_tick(spec) * self.tick) for key, spec in found), key=lambda pair: pair[1])
            longer = {f"faults.{number}": longer_ticks(fault) for number, fault in enumerate(self.scenario.faults)}
            worst = max(longer, key=longer.get, default=key)
            self._ticks[name] = (key if longer.get(worst, 1.0) == 1.0 else worst), ticks * math.prod(longer.values())
        return self._ticks[name]

    def says(self, sender: str) -> float:
        """Microseconds between two messages of activity: at its ticks, or as often as it hears of others."""
        if sender == OBSERVATION:
            return self.period if self.waits else self.tick
        return self.ticks(sender) or max(self.says(source) for source in self._sources(sender))

    def name_of(self, node: int) -> str:
        """What stands for a node here: its layer, or its own name."""
        found = self.plan.nodes[node]
        return self.plan.layers[found.layer].name

    def _sources(self, name: str) -> tuple[str, ...]:
        return self.layers[name].sources if name in self.layers else (OBSERVATION,)

    def _least_delay(self) -> int:
        """Microseconds that an observation takes to the output and its action back, at least."""
        delays = [condition.delay for condition in self.scenario.links.of("activity") if condition.delay]
        hops: dict[str, int] = {}
        for name, layer in self.layers.items():
            hops[name] = 1 + min(hops.get(source, 0) for source in layer.sources)
        output = [layer for layer in self.plan.layers if layer.team == "actor"][-1]
        return round(sum(map(least_delay, delays)) * self.tick) * (hops[output.name] + 1)
