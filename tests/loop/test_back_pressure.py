"""Whoever acts a hundred times less often than it is spoken to costs memory for what comes between two of its ticks, and no more however long it goes on."""

import pytest

from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.ledger import DELIVERED, IN_FLIGHT, REFUSED, SENT, account, unexplained
from asyncnet.loop.timekeeper import Virtual
from asyncnet.team.draw import plan
from support.teams import multiplexer

SLOW = 100
CLOCKS = {
    "clocks": {"default": {"kind": "periodic", "period": 1.0}, "actor.2": {"kind": "periodic", "period": float(SLOW)}},
    "links": {"default": {"delay": 0.5, "loss": 0.01}},  # where messages may be lost, all say at each tick what they have to say
    "task.decisions": 1_000_000,
    "task.world": {"waits": False, "interval": 1.0},
}


def rooms(loop):
    """How many rows the tables have that grow with what waits."""
    tables = loop._tables
    return {name: len(getattr(tables, name)) for name in ("agenda", "queue", "slots", "pool")}


@pytest.mark.parametrize("rule", ["weight-max", "reinforce"])
def test_a_consumer_a_hundred_times_slower_than_its_producer_needs_no_more_room_the_longer_it_goes_on(rule):
    scenario = multiplexer(rule, CLOCKS)
    loop, seen = CompiledLoop(scenario, Virtual()), []
    for ticks in (20_000, 40_000, 200_000):
        loop.run(until=ticks * scenario.tick)
        table = account(loop)
        assert not unexplained(table).any()
        seen.append((rooms(loop), int(table[IN_FLIGHT].sum()), int(table[SENT].sum())))
    (first, _, sent), (_, _, more), (last, waiting, most) = seen
    assert most > 4 * more > 6 * sent > 100_000, "it goes on"
    assert all(last[name] < 2 * first[name] for name in first), f"ten times as many messages, and no table grows: {first}, {last}"
    link = plan(scenario).link(4, 1, 2)
    said = int(account(loop)[SENT, link])
    assert said > 50 * int(loop.ticks[2]), "the one is spoken to that much more often than it acts"
    assert waiting < 10 * SLOW
    assert account(loop)[REFUSED].sum() == 0
    assert said - int(account(loop)[DELIVERED, link]) < said // 20, "all but what is lost, and the last, has been heard"
