"""A state of loops on real clocks is of one instant of the run, with nothing under way between them that it does not hold."""

import time

import numpy as np
import pytest

from asyncnet.loop import ledger
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.ledger import COLUMNS, DELIVERED, account, unexplained
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.team.draw import plan
from support.teams import multiplexer
from support.together import TIMEOUT, Together

PHASES = {"links": {"default": {"delay": 0.5}}}  # on-arrival clocks, and a world without timeout: whoever waits for a message that is lost waits for ever
FREE = {"clocks": {"default": {"kind": "periodic", "jitter": 0.3}}, "task.world": {"waits": False, "interval": 8.0}, "links": {"default": {"delay": 0.5}}}
TEAMS = {"phases": ("map-propagation", PHASES), "free clocks": ("weight-max", FREE)}


def stand(many, lead=20_000_000):
    """Have all stand still; returns since when, and their states as one."""
    at, until = time.time_ns() + lead, time.monotonic() + TIMEOUT
    for host in many.hosts.values():
        host.stand(at)
    while time.monotonic() < until:
        stands = [host.stands() for host in many.hosts.values()]
        if None not in stands:
            books = sum(np.frombuffer(table, dtype=np.int64).reshape(len(COLUMNS), -1) for _, table in stands)
            if not unexplained(books).any():
                return max(now for now, _ in stands), snapshot.merge(Checkpoint(*host.state()) for host in many.hosts.values())
        time.sleep(0.002)
    raise TimeoutError([host.status() for host in many.hosts.values()])


def go_on(many, now):
    at = time.time_ns() + 5_000_000
    for host in many.hosts.values():
        host.go_on(now, at)


def under_way(state, team):
    """How many messages a state holds, for each link."""
    held = np.zeros(len(team.links), dtype=np.int64)
    for _, kind, dst, src, *_, size in state.arrays["agenda"].tolist():
        if size >= 0:
            held[team.link(kind, src, dst)] += 1
    return held


@pytest.mark.parametrize(("name", "wire"), [("phases", "memory"), ("free clocks", "memory"), ("phases", "zmq"), ("free clocks", "zmq"), ("free clocks", "ray")])
def test_a_state_holds_every_message_and_a_run_goes_on_from_any_to_its_end(name, wire):
    rule, changes = TEAMS[name]
    scenario = multiplexer(rule, changes | {"task.decisions": 200, "tick": 500})
    team, many, states = plan(scenario), Together(scenario, wire=wire, virtual=False), []
    many.start()
    while many.world.status()["decisions"] < 180 and many.world.loop.stopped is None:
        time.sleep(0.02)
        now, state = stand(many)
        states.append(state)
        go_on(many, now)
    many.end()
    assert set(many.stopped) == {"finished"}
    assert not unexplained(many.ledger).any()
    assert len(states) > 5
    assert sum(under_way(state, team).any() for state in states) > 2, "cuts with messages under way"
    for state in states:
        assert (unexplained(state.arrays["ledger"]) == under_way(state, team)).all()
    for state in states[:: max(1, len(states) // 5)]:
        rest = CompiledLoop(scenario, Virtual())
        snapshot.put(rest, state)
        rest.run()
        assert rest.stopped == "finished"
        assert not unexplained(account(rest)).any()
        assert rest.score.decisions == 200


def test_a_state_of_different_moments_would_lose_a_message_and_stall():
    rule, changes = TEAMS["phases"]
    scenario = multiplexer(rule, changes | {"task.decisions": 400, "tick": 500})
    many = Together(scenario, virtual=False).start()
    torn = 0
    while many.world.loop.stopped is None and not torn:
        state = snapshot.merge(Checkpoint(*part) for part in [host.state() for host in many.hosts.values()] if part is not None)
        torn = int(np.abs(unexplained(state.arrays["ledger"]) - under_way(state, plan(scenario))).sum()) if len(state.arrays["counts"]) == 4 else 0
    for host in many.hosts.values():
        host.stop("cut")
    many.end()
    assert torn


def test_the_time_of_a_run_stands_still_with_it():
    scenario = multiplexer("weight-max", FREE | {"task.decisions": 30, "tick": 1000})
    many = Together(scenario, virtual=False).start()
    while many.world.status()["decisions"] < 10:
        time.sleep(0.001)
    now, _ = stand(many)
    time.sleep(1.0)
    go_on(many, now)
    many.end()
    elapsed = max(result["elapsed"] for result in many.results)
    assert elapsed < now + 30 * 8 * 1000 + 500_000
    for result in many.results:
        for node in result["nodes"].values():
            assert node["skipped"] < 0.5 * 1000, "the second has not been made up for, nor skipped"
    assert many.ledger[DELIVERED].sum() > 0
    assert ledger.by_channel(plan(scenario), many.ledger)["activity"]["lost"] == 0


def test_a_loop_that_stands_obeys_an_order_to_stop():
    many = Together(multiplexer("weight-max", FREE), virtual=False).start()
    stand(many)
    for host in many.hosts.values():
        host.stop("enough")
    assert set(many.end().stopped) == {"enough"}
    assert not unexplained(many.ledger).any()
