"""What befalls nodes does to them what the scenario says, at its times, and nothing else, in both loops and wherever they are."""

import math
from time import monotonic_ns
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from asyncnet.loop import mishaps, when
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.ledger import IN_FLIGHT, LOST, account, unexplained
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import TICK as BY_CLOCK
from asyncnet.loop.timekeeper import Virtual, Wall
from asyncnet.record.journal import Writer
from asyncnet.record.playback import replay
from asyncnet.record.recorder import Recorder
from asyncnet.runs import memory, snapshot
from asyncnet.scenario.schema import ScenarioError, check
from asyncnet.team.conditions import mishap, mishaps_of, times
from asyncnet.team.draw import plan
from asyncnet.team.targets import links_of
from support.small import GONE, small
from support.together import Together

MANY = 100_000
TICK = 1000  # microseconds
SEED, WHO = 1, 1 << 20
LONG = {"task": {"decisions": 100}}
ON_ARRIVAL = {"clocks": {"default": {"kind": "on-arrival", "period": GONE}}}
WAITS = {"task": {"decisions": 60, "world": {"waits": True, "interval": 1.0, "timeout": 15.0}}}


def scenario(*faults: dict[str, Any], **changes: Any):
    return check(small(faults=list(faults), **changes), "small")


def ran(made, kind=CompiledLoop, until: int | None = None, **how: Any):
    loop = kind(made, Virtual(), **how)
    loop.prepare()
    loop.run(**({} if until is None else {"until": until}))
    return loop


def rows_of(*faults: dict[str, Any]) -> np.ndarray:
    made = scenario(*faults)
    return np.array([mishap(made, n) for n in range(len(faults))])


def test_what_a_crash_loses_is_everything_but_what_the_node_counts():
    made = scenario({"kind": "crash", "nodes": "actor.1", "start": 300.0, "stop": 330.0}, **LONG)
    fresh, before = Loop(made, Virtual()).nodes[1], ran(made, until=300 * TICK).nodes[1]
    down = ran(made, until=329 * TICK).nodes[1]
    assert before.counts()["learned"] > 5
    assert (before.view.weight != fresh.view.weight).any()
    assert (down.state == before.state).all()  # while it is down nothing happens to it
    back = ran(made, until=332 * TICK).nodes[1]
    assert (back.view.weight == fresh.view.weight).all()
    assert back.view.stamp[0] > before.view.stamp[0]
    assert back.counts()["sampled"] > before.counts()["sampled"]
    assert ran(made).nodes[1].counts()["learned"] > before.counts()["learned"] + 5


def test_it_comes_back_as_it_was_at_its_last_snapshot():
    crash = {"kind": "crash", "nodes": "actor.1", "start": 350.0, "stop": 380.0}
    made = scenario(crash | {"snapshot": 100.0}, **LONG)
    then = ran(made, until=300 * TICK).nodes[1].view.weight.copy()
    before, back = ran(made, until=350 * TICK).nodes[1], ran(made, until=382 * TICK).nodes[1]
    assert (before.view.weight != then).any()
    assert (back.view.weight == then).all()
    often = ran(scenario(crash | {"snapshot": 1.0}, **LONG), until=382 * TICK).nodes[1]
    assert (often.view.weight == before.view.weight).all()  # of the last tick before the crash


@pytest.mark.parametrize("changes", [LONG, LONG | ON_ARRIVAL], ids=["ticks", "on arrival"])
def test_what_comes_to_a_node_that_is_down_is_lost_and_in_the_books(changes):
    made = scenario({"kind": "crash", "nodes": "actor.2", "start": 200.0, "stop": 260.0}, **changes)
    calm, loop = ran(scenario(**changes)), ran(made)
    assert loop.stopped == "finished"
    table = account(loop)
    links = links_of(made, loop.plan, 0)
    assert 0 < table[LOST, links].sum() < loop.struck[0]
    assert table[LOST, ~links].sum() == 0
    assert not unexplained(table).any()
    sampled = [each.nodes[2].counts()["sampled"] for each in (calm, loop)]
    assert sampled[0] - 11 <= sampled[1] <= sampled[0] - 9  # sixty ticks are ten decisions


@pytest.mark.parametrize("changes", [LONG, LONG | ON_ARRIVAL], ids=["ticks", "on arrival"])
def test_a_pause_loses_nothing_and_what_came_meanwhile_is_heard_after_it(changes):
    made = scenario({"kind": "pause", "nodes": "actor.2", "start": 200.0, "stop": 260.0}, **changes)
    before, still, after = (ran(made, until=at * TICK) for at in (200, 260, 263))
    assert still.nodes[2].counts()["sampled"] - before.nodes[2].counts()["sampled"] <= 1
    assert still.nodes[2].view.newest[0] <= before.nodes[2].view.newest[0] + 1
    assert after.nodes[2].view.newest[0] >= 42  # of six ticks each
    waiting, links = account(still), links_of(made, still.plan, 0)
    assert waiting[IN_FLIGHT, links].sum() > 10
    loop = ran(made)
    assert loop.stopped == "finished"
    assert account(loop)[LOST].sum() == 0
    assert not unexplained(account(loop)).any()
    assert loop.struck[0] > 10


def test_ticks_that_are_missed_are_counted_apart_and_move_no_other():
    calm, loop = ran(scenario(**LONG)), ran(scenario({"kind": "skip", "nodes": "actor.2", "share": 0.25}, **LONG))
    missed = int(loop.mishaps[2].record[mishaps.MISSED])
    assert missed == loop.struck[0] > 100
    assert loop.ticks[2] + missed == calm.ticks[2]
    assert loop.skipped[2] == 0
    assert loop.ticks[1] == calm.ticks[1]


@pytest.mark.parametrize("p", [0.001, 0.01, 0.1, 0.5])
def test_the_share_of_ticks_asked_for_is_missed(p):
    rows, struck = rows_of({"kind": "skip", "share": p}), np.zeros(1, dtype=np.int64)
    missed = sum(mishaps.passes_over(rows, SEED, WHO, True, BY_CLOCK, k, TICK * k, struck) == mishaps.LOST for k in range(1, MANY + 1))
    assert abs(missed / MANY - p) <= 2.576 * math.sqrt(p * (1.0 - p) / MANY)
    assert struck.tolist() == [missed]


def test_a_slow_clock_has_fewer_ticks_while_it_is_slow_and_a_fast_one_more():
    calm = ran(scenario(**LONG))
    for by, ticks in ((3.0, 100), (0.5, 600)):
        loop = ran(scenario({"kind": "slow", "nodes": "actor.1", "by": by, "start": 100.0, "stop": 400.0}, **LONG))
        assert abs((loop.ticks[1] - calm.ticks[1]) - (ticks - 300)) <= 2
        assert abs(loop.struck[0] - ticks) <= 2
        assert loop.ticks[2] == calm.ticks[2]


def test_a_shift_moves_all_later_ticks_by_its_length():
    rows, struck = rows_of({"kind": "shift", "by": 0.4, "every": 10.0, "lasting": 1.0, "together": True}), np.zeros(1, dtype=np.int64)
    at, ticks = 0, []
    while at < 100 * TICK:
        at = int(mishaps.due(rows, SEED, WHO, at, at + TICK, struck))
        ticks.append(at)
    late = [tick for tick, before in zip(ticks[1:], ticks, strict=False) if tick - before == 1400]
    assert struck.tolist() == [len(late)] == [10]
    assert {tick - before for tick, before in zip(ticks[1:], ticks, strict=False)} == {1000, 1400}


@given(
    said=st.sampled_from(
        [{}, {"every": 7.0, "lasting": 3.0}, {"every": 5.0, "lasting": 8.0}, {"poisson": 9.0, "lasting": 0.001}, {"poisson": 3.0, "lasting": 0.001}]
    ),
    start=st.floats(0.0, 30.0),
    stop=st.none() | st.floats(31.0, 90.0),
    seed=st.integers(0, 2**53 - 1),
    since=st.integers(-1, 100 * TICK),
    more=st.integers(1, 30 * TICK),
)
def test_the_next_beginning_is_the_first_instant_at_which_it_is_on_and_was_not(said, start, stop, seed, since, more):
    made = scenario({"kind": "cut", "start": start, **said, **({} if stop is None else {"stop": stop})})
    row = np.array(times(made.faults[0], made))
    begin = when.begins(row, seed, 3, 0, since, since + more)
    if begin < when.NEVER:
        assert since < begin <= since + more
        assert when.on(row, seed, 3, 0, begin, 0)
    if said.get("every") != 5.0:  # else it comes again while it is on
        comes = [t for t in range(max(0, since + 1), min(since + more, begin) + 1) if when.on(row, seed, 3, 0, t, 0) and not when.on(row, seed, 3, 0, t - 1, 0)]
        assert comes == ([begin] if begin < when.NEVER else [])


def test_what_befalls_nobody_at_any_time_of_the_run_changes_no_bit():
    calm = ran(scenario(**LONG))
    for fault in ({"kind": "skip", "share": 0.5}, {"kind": "slow", "by": 2.0}, {"kind": "shift", "by": 2.0}):
        loop = ran(scenario(fault | {"start": 1e6}, **LONG))
        assert loop.struck.tolist() == [0]
        assert account(loop).tolist() == account(calm).tolist()
        for i in (1, 2, 3):
            assert (loop.nodes[i].view.weight == calm.nodes[i].view.weight).all()
            assert (loop.nodes[i].view.y == calm.nodes[i].view.y).all()


EVERY_KIND = [
    {"kind": "crash", "nodes": "actor.1", "poisson": 60.0, "lasting": 12.0, "snapshot": 20.0},
    {"kind": "crash", "nodes": "actor", "count": 1, "every": 90.0, "lasting": 5.0, "start": 30.0},
    {"kind": "pause", "poisson": 70.0, "lasting": 9.0},
    {"kind": "slow", "nodes": "actor.2", "by": 2.5, "every": 50.0, "lasting": 20.0},
    {"kind": "skip", "nodes": "actor.3", "share": 0.2},
    {"kind": "shift", "nodes": "actor.1", "by": 0.7, "poisson": 20.0, "lasting": 1.0},
    {"kind": "loss", "channel": "reward", "share": 0.1},
]


def test_decisions_are_the_time_in_which_they_are_open():
    interval = scenario().task.world.interval
    for fault in ({"kind": "pause", "nodes": "actor.1"}, {"kind": "crash", "snapshot": 3.0}, {"kind": "slow", "by": 3.0}, {"kind": "shift", "by": 0.4}):
        during, timed = (scenario(fault | when, **LONG) for when in ({"decisions": [20, 30]}, {"start": 20 * interval, "stop": 30 * interval}))
        struck = ran(during).struck.tolist()
        assert struck[0] > 0
        assert (struck, ran(during).digest()) == (ran(timed).struck.tolist(), ran(timed).digest())
    both = scenario({"kind": "pause", "decisions": [20, 30], "start": 25 * interval, "stop": 99 * interval}, **LONG)
    half = scenario({"kind": "pause", "start": 25 * interval, "stop": 30 * interval}, **LONG)
    assert ran(both).digest() == ran(half).digest()


def test_both_loops_do_the_same():
    made = scenario(*EVERY_KIND, **LONG)
    read, ran_ = ran(made, Loop), ran(made)
    assert all(struck > 0 for struck in read.struck)
    assert ran_.struck.tolist() == read.struck.tolist()
    assert ran_.digest() == read.digest()
    assert account(ran_).tolist() == account(read).tolist()


def test_a_run_that_goes_on_from_a_checkpoint_has_the_same_mishaps():
    made = scenario(*EVERY_KIND, **LONG)
    whole = ran(made)
    for at in range(13, 600, 83):
        first, second = ran(made, until=at * TICK), CompiledLoop(made, Virtual())
        state = snapshot.take(first)
        snapshot.put(second, state, at_once=True)
        second.prepare()
        second.run()
        assert second.struck.tolist() == whole.struck.tolist()
        assert second.digest() == whole.digest()


@pytest.mark.parametrize(
    ("array", "lie", "why"),
    [
        ("mishaps", lambda rows: rows[1:], "a row for each"),
        ("mishaps", lambda rows: rows - [0, -(10**9), 0], "a time holds"),
        ("mishaps", lambda rows: rows - [0, 0, 10**9], "ticks holds"),
        ("kept/actor.1", lambda kept: kept[1:], "is needed"),
        ("kept/actor.1", lambda kept: np.full_like(kept, 0.5), "not a whole number"),
    ],
)
def test_a_state_that_lies_about_mishaps_is_refused(array, lie, why):
    made = scenario(*EVERY_KIND, **LONG)
    state = snapshot.take(ran(made, until=200 * TICK))
    with pytest.raises(ScenarioError, match=why):
        snapshot.put(Loop(made, Virtual()), state._replace(arrays=state.arrays | {array: lie(state.arrays[array])}))


@pytest.mark.parametrize("pack", [1, 2])
def test_mishaps_are_the_same_in_simulated_time_that_actors_share(pack):
    made = scenario(*EVERY_KIND, **LONG)
    alone, many = ran(made), Together(made, pack).start().end()
    assert np.sum([result["struck"] for result in many.results], axis=0).tolist() == alone.struck.tolist()
    assert many.digest == alone.digest()
    assert many.ledger.tolist() == account(alone).tolist()


@pytest.mark.parametrize("clocks", [{}, ON_ARRIVAL], ids=["ticks", "on arrival"])
@pytest.mark.parametrize("time", ["virtual", "wall"])
def test_what_befell_nodes_is_replayed(time, clocks, tmp_path):
    faults = [fault for fault in EVERY_KIND if clocks == {} or fault["kind"] in ("crash", "pause", "loss")]
    made, writer = scenario(*faults, **LONG, **clocks), Writer(tmp_path)
    loop = CompiledLoop(made, Virtual())
    tape = Recorder("0", lambda data: writer.append("0", data))
    tape.watch(loop)
    loop.prepare()
    if time == "wall":
        loop.keeper = Wall(monotonic_ns())
    loop.run()
    tape.finish()
    writer.close()
    report = replay(made, tmp_path)
    assert loop.struck[0] > 0
    assert report.difference is None, report.line
    assert not report.damage
    assert report.loop.digest() == loop.digest()


def test_a_message_that_comes_to_a_node_which_has_just_crashed_is_passed_over_and_so_it_is_when_replayed(tmp_path):
    crash = {"kind": "crash", "nodes": "actor.2", "start": 100.0, "stop": 103.0}
    loops = []
    for kind in (Loop, CompiledLoop):
        made, writer = (
            scenario(crash, {"kind": "pause", "nodes": "actor.1", "start": 100.0, "stop": 103.0}, **LONG, **ON_ARRIVAL),
            Writer(tmp_path / kind.__name__),
        )
        tape = Recorder("0", lambda data, writer=writer: writer.append("0", data))
        first = ran(made, kind, until=99 * TICK)
        state = snapshot.take(first)
        late = state.arrays["agenda"].copy()
        late[late[:, 7] >= 0, 0] = 101 * TICK  # all that is under way comes while they are down, as a slow wire would have it
        loop = kind(made, Virtual())
        tape.watch(loop)
        state = state._replace(arrays=state.arrays | {"agenda": late})
        snapshot.put(loop, state)
        before = loop.struck.copy()
        loop.prepare()
        loop.run()
        tape.finish()
        writer.close()
        loops.append(loop)
        assert (loop.struck > before).all()
        report = replay(made, tmp_path / kind.__name__, state)
        assert report.difference is None, report.line
        assert report.loop.digest() == loop.digest()
    assert loops[0].digest() == loops[1].digest()
    assert loops[0].struck.tolist() == loops[1].struck.tolist()


def test_one_crash_does_not_bring_back_what_another_has_taken():
    often = {"kind": "crash", "nodes": "actor.1", "start": 340.0, "every": 85.0, "lasting": 70.0, "snapshot": 100.0, "together": True, "stop": 500.0}
    once = {"kind": "crash", "nodes": "actor.1", "start": 350.0, "stop": 360.0}
    made = scenario(often, once, **LONG)
    fresh = Loop(made, Virtual()).nodes[1].view.weight
    for at in (412, 497):
        for kind in (Loop, CompiledLoop):
            assert (ran(made, kind, until=at * TICK).nodes[1].view.weight == fresh).all()
    assert (ran(scenario(often, **LONG), until=412 * TICK).nodes[1].view.weight != fresh).any()


def test_pauses_that_leave_no_gap_lose_what_waits_and_end_no_run_and_no_loop():
    faults = (
        {"kind": "pause", "together": True, "every": 10.0, "lasting": 6.0},
        {"kind": "pause", "together": True, "every": 10.0, "lasting": 6.0, "start": 5.0},
    )
    loop = ran(scenario(*faults))
    assert loop.stopped == "finished"
    assert account(loop)[LOST].sum() > 0
    stalled = ran(scenario(*faults, **WAITS))
    assert stalled.stopped.startswith("stalled: the world has asked for decision 0")


def test_a_clock_that_is_slowed_or_shifted_beyond_reason_ticks_in_35_years():
    struck = np.zeros(4, dtype=np.int64)
    slow = rows_of(*[{"kind": "slow", "by": 1e6}] * 4)
    assert mishaps.due(slow, SEED, WHO, 5, 10**9, struck) == 5 + 2**50
    shift = rows_of({"kind": "shift", "by": 1e9, "poisson": 1e-3, "lasting": 1e-3})
    assert 2**45 < mishaps.due(shift, SEED, WHO, 5, 10**9, struck) <= 5 + 2**50


def test_copies_for_crashes_are_reckoned_before_they_are_made():
    large, many = {"network": {"hidden": [100, 100]}}, [{"kind": "crash", "poisson": 500.0, "lasting": 5.0}] * 10
    without, having = (scenario(*faults, **large) for faults in ((), many))
    kept = sum(each.kept.nbytes for each in Loop(having, Virtual()).mishaps.values())
    assert memory.estimate(having, plan(having)) - memory.estimate(without, plan(without)) >= kept > 10 * 8 * 10_000


def test_nodes_that_the_same_befalls_share_their_rows():
    units = {"network": {"split": "unit"}}
    found = mishaps_of(made := scenario({"kind": "pause", "nodes": "actor.1", "start": 1.0, "stop": 2.0}, {"kind": "skip", "share": 0.1}, **units), plan(made))
    assert len(found) == 6
    assert len({id(rows) for rows in found.values()}) == 2


@pytest.mark.parametrize(
    ("said", "changes", "key", "why"),
    [
        ({"kind": "crash", "nodes": "world"}, {}, "faults.0.nodes", "the world holds the task"),
        ({"kind": "crash", "nodes": "actor.9"}, {}, "faults.0.nodes", "no node, layer or team"),
        ({"kind": "crash", "decisions": [1, 5]}, WAITS, "faults.0.decisions", "nobody knows beforehand when a decision is open"),
        ({"kind": "crash", "channel": "activity"}, {}, "faults.0.channel", ""),
        ({"kind": "pause"}, {}, "faults.0.stop", "a node goes on when the fault is over"),
        ({"kind": "pause", "every": 5.0, "lasting": 5.0}, {}, "faults.0.lasting", "never over"),
        ({"kind": "slow", "by": 0.0}, {}, "faults.0.by", ""),
        ({"kind": "slow", "by": 2.0, "nodes": "actor.1"}, ON_ARRIVAL, "faults.0.nodes", "acts on arrival"),
        ({"kind": "pause", "every": 1.4e-3, "lasting": 0.6e-3}, {}, "faults.0.lasting", "never over"),
        ({"kind": "shift", "by": 1.0}, {}, "faults.0.start", "when it comes"),
        ({"kind": "skip", "share": 1.0}, {}, "faults.0.share", "that is a crash"),
        ({"kind": "crash", "nodes": "actor.2"}, WAITS, "faults.0", "never comes back"),
    ],
)
def test_what_cannot_befall_a_node_is_refused_by_key(said, changes, key, why):
    with pytest.raises(ScenarioError) as caught:
        scenario(said, **changes)
    assert caught.value.key.startswith(key)
    assert why in caught.value.why


def test_who_is_removed_for_good_does_nothing_more_and_the_others_go_on():
    units = {"network": {"split": "unit"}}
    loop = ran(scenario({"kind": "crash", "nodes": "actor.1.1", "start": 200.0}, **LONG, **units))
    gone, other = loop.nodes[2], loop.nodes[1]
    assert gone.name == "actor.1.1"
    assert loop.stopped == "finished"
    assert gone.view.stamp[0] < 35
    assert other.view.stamp[0] > 95


def test_a_team_whose_world_waits_outlives_its_crashes():
    for changes in (WAITS, WAITS | ON_ARRIVAL):
        loop = ran(scenario({"kind": "crash", "poisson": 25.0, "lasting": 5.0}, **changes))
        assert loop.stopped == "finished"
        assert loop.struck[0] > 10
