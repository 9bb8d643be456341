"""What can be known of a run before it: what cannot work, and what cannot matter. Nothing is run for it, and what is said is certain.

an action in time     hops * least delay of activity  <  interval        where the world does not wait
a credit in time      least delay of its channel      <  decisions * interval
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from asyncnet.loop.message import CHANNEL_NAMES
from asyncnet.tasks import TASKS
from asyncnet.team.lateness import least_delay
from asyncnet.team.network import CHANNEL, Plan

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario

CREDIT = ("reward", "transition", "feedback")  # channels by which credit comes
ONCE = ("reward", "transition")  # of these, those with one message a decision at most


def prospects(scenario: Scenario, team: Plan) -> list[str]:
    """A line for each thing that cannot work or cannot matter; none for a scenario of which nothing is known."""
    used = {CHANNEL_NAMES[channel] for channel in np.flatnonzero(np.bincount(team.links[:, CHANNEL], minlength=len(CHANNEL_NAMES) + 1)).tolist()}
    return [*_still(scenario), *_unused(scenario, used), *_lost(scenario, used), *_late_actions(scenario, team, used), *_late_credit(scenario, used)]


def _still(scenario: Scenario) -> Iterator[str]:
    """Step sizes of nothing."""
    rule = scenario.rule
    if rule.optimizer.name != "idbd" and not any((*rule.learning_rate, *(rule.learning_rate_end or ()))):
        yield "rule.learning_rate: is 0, and stays so: no weight of the rule can change"


def _unused(scenario: Scenario, used: set[str]) -> Iterator[str]:
    """Conditions of channels on which nobody says anything."""
    why = f"rule {scenario.rule.name}{'' if scenario.critic else ', no critic'}"
    for channel in CHANNEL_NAMES.values():
        if getattr(scenario.links, channel) and channel not in used:
            yield f"links.{channel}: nobody says anything on it ({why}), so it cannot matter"


def _lost(scenario: Scenario, used: set[str]) -> Iterator[str]:
    """Channels of which nothing arrives; one that is sent again is lost as well, for it is tried again so many times only."""
    for channel in (*CREDIT, "activity"):
        if channel in used and any(condition.loss == 1.0 for condition in scenario.links.of(channel)):
            what = "no action can come" if channel == "activity" else "whoever learns from it cannot learn"
            yield f"links.{channel}.loss: is 1, every message is lost: {what}"


def _late_actions(scenario: Scenario, team: Plan, used: set[str]) -> Iterator[str]:
    """A world that closes each decision before any action for it can have come, where an action for an earlier observation is worth nothing."""
    task, world = scenario.task, scenario.task.world
    independent = TASKS[task.name].INDEPENDENT
    if world.waits or world.late == "grade-by-stamp" or (world.late == "use" and not independent) or "activity" not in used:
        return
    hops, least = _hops(team), _least(scenario, "activity")
    if hops * least >= round(world.interval * scenario.tick):
        then = "an action for an earlier one earns nothing" if world.late == "withhold" else "an answer to an earlier question is chance"
        yield (
            f"task.world.interval: no action can come in time: from an observation to its action {hops} messages take {hops * least / scenario.tick:g} ticks "
            f"at least, the world closes a decision every {world.interval:g}; {then}"
        )


def _late_credit(scenario: Scenario, used: set[str]) -> Iterator[str]:
    """Credit that comes when the run has ended."""
    decisions, world = scenario.task.decisions, scenario.task.world
    if decisions is None:
        return
    for channel in CREDIT:
        if channel not in used:
            continue
        if channel in ONCE and world.late != "grade-by-stamp" and scenario.links.stale(channel) >= decisions:
            yield f"links.{channel}.stale: {scenario.links.stale(channel):,} are held back of {decisions:,} at most: none can come before the run ends"
        least = _least(scenario, channel)
        if not world.waits and least >= decisions * round(world.interval * scenario.tick):
            takes = f"{least / scenario.tick:g} ticks at least, and the run takes {decisions * world.interval:g}"
            yield f"links.{channel}.delay: {takes}: nothing can come before it ends"


def _least(scenario: Scenario, channel: str) -> int:
    """Microseconds that a message of a channel takes, at least."""
    return int(sum(least_delay(condition.delay) for condition in scenario.links.of(channel) if condition.delay) * scenario.tick)


def _hops(team: Plan) -> int:
    """Messages from an observation to the world's hearing of its action, at least."""
    hops: dict[str, int] = {}
    actor = [layer for layer in team.learning if layer.team == "actor"]
    for layer in actor:
        hops[layer.name] = 1 + min(hops.get(source, 0) for source in layer.sources)
    return hops[actor[-1].name] + 1
