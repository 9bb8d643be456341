"""The machine of units that hear each other and sample again and again: Gibbs sampling, each node on a clock of its own.

    turn, at each tick    1. learn from one complete credit                                   rule: learn
                          2. act on a new observation at once, or                             rule: respond
                             sample again, `sweeps` times for an observation, then hold       rule: resample
                          3. say the values, if they are news (`repeats`: in any case)

News are values that a hearer would else take for others: one that says nothing about an observation is silent about it, all 0, to its peers (`holds`: what it
held), and holds what it said last to those above. One that has said nothing by its last sample says so: else those above might never hear of the observation.

What the other nodes of the layer say is archived under the stamp that they said it with, so that both ends of a connection learn from the same pair of
values, in whatever order they ticked, whatever else they have said since; but for messages that are lost, or an observation that one end has missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncnet.kernels.kernel import kernel, view
from asyncnet.kernels.layout import GIVEN, STAMP, Field
from asyncnet.loop.message import ACTIVITY, TICK
from asyncnet.machines import archive, hearing
from asyncnet.machines.archive import begin_turn, clear, sample, take_credit
from asyncnet.machines.hearing import hear_activity, hear_reward, ready_credit, ready_sample
from asyncnet.machines.settling import takes_in_anyway
from asyncnet.machines.speaking import emit_activity, feedback_room
from asyncnet.nodes.entries import bound
from asyncnet.nodes.outbox import AGAIN
from asyncnet.team.ports import In

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario
    from asyncnet.team.network import Site

COUNT_NAMES = hearing.COUNT_NAMES
DIMENSIONS = ("T", "H")  # other nodes of its layer, units of its layer
PEERS = In("peers", "activity", "layer", "T", "H", "peer", age=1)
PARTS = {"rule": ("asyncnet.rules.coagent",)}
FIELDS = (
    *archive.FIRST,
    Field("drawn", "1", "0.."),  # how often it has sampled for the held stamp
    Field("emitted_stamp", "1", STAMP),  # of which observation it has spoken
    *archive.REST,
    Field("emitted", "B N"),  # what it said last
    Field("peer", "T 2", lies=GIVEN),  # whose values each brings: the first unit, how many
    Field("peers", "B H"),  # the layer's values as this node reads them, its own among them
    Field("archive_peers", "K B H"),  # the same as said about an archived observation
    Field("peer_stamp", "K T", STAMP),  # of which observation that was said, and the sender's number for it
    Field("peer_seq", "K T", "-1.."),
)
SETTINGS = (
    *archive.SETTINGS,
    ("repeats", int),
    ("sweeps", int),
    ("holds", int),  # 1: what others have not said anew about an observation yet is what they held before; 0: silence, all 0
    ("own", int),  # where its own units stand in the layer
)


def values(site: Site) -> dict[str, float]:
    """What it reads beside what every learning node does, and its rule gives."""
    return {"repeats": int(site.scenario.repeats()), "own": site.node.part[0]}


def check(scenario: Scenario, table: str) -> tuple[str, str] | None:
    """What it asks of a scenario: (key, why) of the first thing that does not fit."""
    if "default" not in scenario.clocks or any(clock.kind == "on-arrival" for clock in scenario.clocks.values()):
        name = getattr(scenario, table).name
        return "clocks.default", f"{name} samples again at each tick, so every node needs a clock that ticks; on-arrival does not"
    return takes_in_anyway(scenario, getattr(scenario, table).name)


@bound
def begin(v, c):
    """Fill a fresh state: nothing heard, nothing sampled, initial weights from keyed draws."""
    clear(v)
    v.emitted_stamp[0] = -1.0
    v.peer_stamp[:] = -1.0
    v.peer_seq[:] = -1.0
    c.rule.initialise(v, c)


@kernel
def hear_peer(v, c, peer, seq, stamp, payload):
    """Another node of the layer says its values: the newest about each observation counts."""
    slot = stamp % c.K
    if stamp < v.peer_stamp[slot, peer] or (stamp == v.peer_stamp[slot, peer] and seq <= v.peer_seq[slot, peer]):
        return
    v.peer_stamp[slot, peer] = stamp
    v.peer_seq[slot, peer] = seq
    first, count = int(v.peer[peer, 0]), int(v.peer[peer, 1])
    for b in range(c.B):
        here = view(payload, c.B + b * count, (count,))
        for i in range(count):
            v.archive_peers[slot, b, first + i] = here[i]
            if stamp >= v.stamp[0]:
                v.peers[b, first + i] = here[i]


@kernel
def look_round(v, c, slot, stamp):
    """What the layer's other nodes have said about a new observation; of those that have not spoken yet, what they held or nothing."""
    for peer in range(c.T):
        first, last = int(v.peer[peer, 0]), int(v.peer[peer, 0] + v.peer[peer, 1])
        if v.peer_stamp[slot, peer] == stamp:
            v.peers[:, first:last] = v.archive_peers[slot, :, first:last]
        elif c.holds == 0:
            v.peers[:, first:last] = 0.0
    if c.holds == 0:
        v.peers[:, c.own : c.own + c.O] = 0.0


@kernel
def put_own(v, c, slot, first):
    """Its own values where the layer's stand; returns whether they are news, as the `first` about an observation or a later sample."""
    news = first and c.holds == 1
    for b in range(c.B):
        for j in range(c.O):
            y = v.y[b, j]
            news |= y != v.emitted[b, j] or (first and y != 0.0)
            v.archive_peers[slot, b, c.own + j] = y
    if news:
        for b in range(c.B):
            for j in range(c.O):
                v.emitted[b, j] = v.y[b, j]
    return news


@kernel
def turn(v, c, now, ticked, out, numbers):
    pending = begin_turn(v, c, now, ticked)
    if pending >= 0:
        take_credit(v, c, now, pending, False, feedback_room(c, out, numbers))
        if ready_credit(v, c) >= 0:
            return AGAIN
    speaks = ticked > 0 and c.repeats == 1 and v.stamp[0] >= 0.0
    if ready_sample(v, c, True):
        stamp = int(v.newest[0])
        look_round(v, c, stamp % c.K, stamp)
        v.drawn[0] = 1.0
        sample(v, c, now, stamp, False)
        speaks |= put_own(v, c, stamp % c.K, True)
    elif ticked > 0 and v.stamp[0] >= 0.0 and v.drawn[0] < c.sweeps:
        stamp = int(v.stamp[0])
        c.rule.resample(v, c, stamp % c.K, stamp, int(v.drawn[0]))
        v.drawn[0] += 1.0
        speaks |= put_own(v, c, stamp % c.K, False)
    if v.drawn[0] == c.sweeps and v.emitted_stamp[0] < v.stamp[0]:
        speaks = True
    if speaks:
        v.emitted_stamp[0] = v.stamp[0]
        emit_activity(v, c, out, numbers)
    return 0


@bound
def handle(v, c, now, kind, port, seq, stamp, payload, out, numbers):
    """Take in one event; returns AGAIN if it wants to be called again."""
    if kind == TICK:
        return turn(v, c, now, port, out, numbers)
    if kind != ACTIVITY:
        hear_reward(v, c, port, stamp, payload)
    elif port < c.S:
        hear_activity(v, c, port, seq, stamp, payload)
    else:
        hear_peer(v, c, port - c.S, seq, stamp, payload)
    return 0
