"""Faults strike the links, the times and the share of messages that the scenario says, and nothing else."""

import itertools
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import tomli_w
from hypothesis import given

import asyncnet
from asyncnet.loop import when
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.ledger import DUPLICATED, LOST, account, unexplained
from asyncnet.loop.link import LOST as LOST_ON_ITS_WAY
from asyncnet.loop.link import ONCE, altered, in_line, outcome
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import CHANNEL_NAMES, REWARD
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import snapshot
from asyncnet.scenario.reading import Layer, condition, setting
from asyncnet.scenario.schema import ScenarioError, check, laid
from asyncnet.team.conditions import model, models_of, times
from asyncnet.team.draw import plan
from asyncnet.team.network import CHANNEL, DST, SRC
from asyncnet.team.targets import drawn, links_of
from support.small import small
from support.together import Together

MANY = 100_000
TICK = 1000  # microseconds
SEED, SRC_ID, DST_ID = 1, 1 << 20, 2 << 20


def scenario(*faults: dict[str, Any], **changes: Any):
    return check(small(faults=list(faults), **changes), "small")


def fates(*faults: dict[str, Any], n: int = MANY, every: int = TICK, stamp: int = 0, **links: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Delays and copies of the first n messages of a link of activity, sent `every` microseconds, and how many each fault has struck."""
    made, struck = model(scenario(*faults, links={"default": [], **links}), "activity", list(range(len(faults)))), np.zeros(len(faults), dtype=np.int64)
    both = [outcome(made.conditions, SEED, SRC_ID, DST_ID, 4, k, k, stamp, every * k, made.retry, 0, struck) for k in range(1, n + 1)]
    delays, again = np.array(both).T
    return delays, (delays != LOST_ON_ITS_WAY).astype(int) + (again != ONCE), struck


def within_99_percent(share: float, p: float, n: float) -> bool:
    return abs(share - p) <= 2.576 * math.sqrt(p * (1.0 - p) / n)


@pytest.mark.parametrize("kind", ["loss", "corrupt"])
@pytest.mark.parametrize("p", [0.001, 0.01, 0.1, 0.5])
def test_the_share_asked_for_is_lost_and_counted(p, kind):
    _, copies, struck = fates({"kind": kind, "share": p})
    assert within_99_percent((copies == 0).mean(), p, MANY)
    assert struck.tolist() == [(copies == 0).sum()]


@pytest.mark.parametrize(("p", "burst"), [(0.1, 8.0), (0.3, 2.5), (0.05, 40.0)])
def test_bursts_have_the_length_asked_for_and_losses_their_share(p, burst):
    _, copies, _ = fates({"kind": "loss", "share": p, "burst": burst})
    runs = [len(list(run)) for lost, run in itertools.groupby(copies == 0) if lost]
    alike = 1.0 - 1.0 / (burst * (1.0 - p))
    independent = MANY * (1.0 - alike) / (1.0 + alike)  # messages that would tell as much, were each by itself
    assert within_99_percent((copies == 0).mean(), p, independent)
    assert abs(np.mean(runs) - burst) <= 2.576 * math.sqrt(burst * (burst - 1.0) / len(runs))  # their lengths are geometric


def test_delays_that_are_alike_have_the_spread_and_the_correlation_asked_for():
    delays, copies, struck = fates({"kind": "delay", "delay": {"kind": "normal", "mean": 50.0, "sigma": 10.0}, "alike": 0.6})
    assert (copies == 1).all()
    assert struck.tolist() == [MANY]
    independent = MANY * (1.0 - 0.6) / (1.0 + 0.6)
    assert abs(delays.mean() / TICK - 50.0) <= 2.576 * 10.0 / math.sqrt(independent)
    assert abs(delays.std() / TICK - 10.0) <= 0.03 * 10.0
    for k in (1, 2, 5):
        assert abs(np.corrcoef(delays[:-k], delays[k:])[0, 1] - 0.6**k) <= 0.02


def test_without_memory_neither_losses_nor_delays_are_alike():
    _, copies, _ = fates({"kind": "loss", "share": 0.5})
    delays, _, _ = fates({"kind": "delay", "delay": {"kind": "uniform", "low": 0.0, "high": 9.0}})
    for numbers in (copies, delays):
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) <= 2.576 / math.sqrt(MANY)


def test_a_message_that_comes_late_is_overtaken_and_the_share_of_these_is_right():
    delays, _, struck = fates({"kind": "reorder", "share": 0.2, "by": 3.5})
    assert set(delays) == {0, 3500}
    assert within_99_percent((delays > 0).mean(), 0.2, MANY)
    assert struck.tolist() == [(delays > 0).sum()]


def test_a_reliable_link_sends_again_what_is_lost_but_nothing_passes_a_cut():
    delays, copies, _ = fates({"kind": "loss", "share": 0.5}, activity={"reliable": True}, n=10_000)
    assert (copies == 1).all()
    assert within_99_percent((delays == 0).mean(), 0.5, 10_000)
    assert within_99_percent((delays == 2000).mean(), 0.25, 10_000)
    _, copies, struck = fates({"kind": "cut", "start": 100.0, "stop": 200.0}, activity={"reliable": True}, n=1000)
    assert np.flatnonzero(copies == 0).tolist() == list(range(99, 199))
    assert struck.tolist() == [100]


def test_a_try_after_the_fault_is_over_gets_through():
    delays, copies, _ = fates({"kind": "loss", "share": 1.0, "start": 100.0, "stop": 200.0}, activity={"reliable": True}, n=300)
    assert (copies == 1).all()
    sent = np.arange(1, 301)
    there = np.where((sent >= 100) & (sent < 200), 2 * np.ceil((200 - sent) / 2), 0)
    assert delays.tolist() == (1000 * there).astype(int).tolist()


def in_lines(*faults, sent, links=1):
    """When each of so many messages of a link leaves its line, microseconds after it was said, or LOST; and how often each fault has struck."""
    made, struck = model(scenario(*faults, links={"default": []}), "activity", list(range(len(faults)))), np.zeros(len(faults), dtype=np.int64)
    clears = np.zeros(links)
    return [int(in_line(made.conditions, SEED, clears, 0, 0, now, struck)) for now in sent], struck.tolist()


def test_a_link_passes_so_many_messages_a_tick_and_the_others_wait_in_line():
    waits, struck = in_lines({"kind": "rate", "per_tick": 0.5}, sent=[0, 0, 0, 1000, 1000, 50_000])
    assert waits == [0, 2000, 4000, 5000, 7000, 0]  # they leave at 0, 2, 4, ... milliseconds
    assert struck == [4]


def test_what_finds_no_room_in_the_line_is_lost_and_takes_no_place_in_it():
    waits, struck = in_lines({"kind": "rate", "per_tick": 1.0, "room": 2}, sent=[0, 0, 0, 0, 0, 1500])
    assert waits == [0, 1000, 2000, LOST_ON_ITS_WAY, LOST_ON_ITS_WAY, 1500]
    assert struck == [5]
    assert in_lines({"kind": "rate", "per_tick": 1.0, "room": 0}, sent=[0, 999, 1000])[0] == [0, LOST_ON_ITS_WAY, 0]


def test_of_several_rates_the_slowest_counts_while_it_is_on():
    slow, fast = {"kind": "rate", "per_tick": 0.1, "start": 5.0, "stop": 6.0}, {"kind": "rate", "per_tick": 1.0}
    waits, _ = in_lines(slow, fast, sent=[0, 0, 5000, 5000, 6000, 40_000])
    assert waits == [0, 1000, 0, 10_000, 19_000, 0]


def test_a_rate_that_is_no_whole_number_of_microseconds_is_kept_all_the_same():
    waits, _ = in_lines({"kind": "rate", "per_tick": 700.0, "room": 10**6}, sent=[0] * 7001)
    assert waits[-1] == 10_000
    assert waits[:4] == [0, 1, 3, 4]


@pytest.mark.parametrize("when_again", [{"poisson": 30.0, "lasting": 10.0}, {"every": 30.0, "lasting": 10.0}, {}])
@pytest.mark.parametrize("kind", [{"kind": "crash"}, {"kind": "shift", "by": 2.0}, {"kind": "mailbox", "policy": "block", "room": 1}])
def test_decisions_that_never_come_are_no_time_at_all(kind, when_again):
    made = scenario({**kind, **when_again, "decisions": [9 * 10**11, 10**12]}, tick=1_000_000, task={"decisions": 30, "world": {"interval": 60.0}})
    assert ran(made).struck.tolist() == [0]


def test_over_time_a_link_passes_what_its_rate_allows_and_all_loses_are_counted():
    loop = ran(scenario({"kind": "rate", "per_tick": 0.25, "room": 3, "channel": "activity"}, task={"decisions": 200}))
    table, ticks = account(loop), loop.now / loop.tick
    carries = loop.plan.links[:, CHANNEL] == 4
    passed = table[0] - table[LOST]
    assert (passed[carries] <= 0.25 * ticks + 4).all()
    assert (passed[carries] >= 0.2 * ticks).any()
    assert table[LOST][carries].sum() > 100
    assert table[LOST][~carries].sum() == 0
    assert not unexplained(table).any()


def test_what_is_held_and_got_through_at_a_later_try_comes_when_the_fault_is_over():
    faults = {"kind": "loss", "share": 1.0, "start": 100.0, "stop": 105.0}, {"kind": "hold", "start": 100.0, "stop": 130.0}
    delays, copies, _ = fates(*faults, {"kind": "delay", "delay": 2.5}, activity={"reliable": True}, n=200)
    sent = np.arange(1, 201)
    assert (copies == 1).all()
    assert (delays[(sent >= 100) & (sent < 130)] == 1000 * (130 - sent[(sent >= 100) & (sent < 130)]) + 2500).all()


def test_what_is_held_comes_when_the_fault_is_over_and_not_before():
    delays, copies, struck = fates({"kind": "hold", "every": 50.0, "lasting": 20.0, "start": 100.0}, n=1000)
    sent = np.arange(1, 1001)
    on = (sent >= 100) & ((sent - 100) % 50 < 20)
    assert (copies == 1).all()
    assert (delays == np.where(on, 1000 * (20 - (sent - 100) % 50), 0)).all()
    assert struck.tolist() == [on.sum()]


MEASURED = {"kind": "measured", "quantiles": [[0.0, 1.0], [0.5, 1.5], [0.9, 4.0], [0.99, 20.0], [1.0, 50.0]]}


def test_delays_that_were_measured_have_the_quantiles_that_were_measured():
    delays, copies, struck = fates({"kind": "loss", "share": 0.1}, {"kind": "delay", "delay": MEASURED}, {"kind": "reorder", "share": 0.2, "by": 0.0001})
    came = delays[copies == 1] / TICK
    assert came.min() >= 1.0
    assert came.max() <= 50.001
    for share, most in MEASURED["quantiles"][1:-1]:
        assert within_99_percent((came <= most).mean(), share, len(came))
    mean = 0.5 * 1.25 + 0.4 * 2.75 + 0.09 * 12.0 + 0.01 * 35.0
    assert abs(came.mean() - mean) <= 2.576 * came.std() / math.sqrt(len(came))
    assert struck[1] == MANY


def test_delays_that_were_measured_can_be_alike_and_be_for_a_while():
    delays, _, struck = fates({"kind": "delay", "delay": MEASURED, "alike": 0.9, "stop": 50_000.0})
    on = delays[: 50_000 - 1]
    assert (delays[50_000 - 1 :] == 0).all()
    assert struck.tolist() == [len(on)]
    ranks = np.argsort(np.argsort(on))
    assert 0.85 < np.corrcoef(ranks[:-1], ranks[1:])[0, 1] < 0.95


def test_a_file_of_delays_becomes_the_quantiles_of_its_numbers(tmp_path):
    chance = np.random.default_rng(1)
    numbers = chance.lognormal(0.0, 1.0, 50_000)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ms.txt").write_text("# milliseconds\n\n" + "\n".join(f"{number:.6f}" for number in numbers))
    (tmp_path / "slow.toml").write_text('[[faults]]\nkind = "delay"\ndelay = { kind = "measured", file = "sub/ms.txt", scale = 2.0 }\n')
    made = asyncnet.load("multiplexer3-weight-max", under=str(tmp_path / "slow.toml"))
    found = made.faults[0].delay.quantiles
    assert found[0][0] == 0.0
    assert found[-1] == (1.0, pytest.approx(2.0 * numbers.max(), rel=1e-6))
    for share, most in found:
        assert most == pytest.approx(2.0 * np.quantile(numbers, share), rel=1e-5)
    delays = fates(made.faults[0].model_dump())[0] / TICK
    assert abs(delays.mean() - 2.0 * numbers.mean()) < 0.05 * numbers.mean()
    assert check(made.data(), "again") == made  # which says all of it without the file


@pytest.mark.parametrize(
    ("text", "said", "why"),
    [
        (None, {}, "No such file"),
        ("1.0\n", {}, "at least two"),
        ("1.0\nlong\n", {}, "line 2 is no delay: 'long'"),
        ("1.0\n-2\n", {}, "line 2 is no delay"),
        ("1.0\nnan\n", {}, "line 2 is no delay"),
        ("1\n2\n", {"file": "../delays.txt"}, "no name of a file in this folder"),
        ("1\n2\n", {"file": "/etc/hostname"}, "no name of a file in this folder"),
        ("1\n2\n", {"scale": 0}, "for each unit of the file's numbers"),
        ("\xff", {}, "line 1 is no delay"),
        ("1\n2\n", {"scale": 1e11}, "line 1 is a delay of 1e+11 ticks (1 times 1e+11)"),
        ("1\n2\n", {"scal": 3.0}, "unknown key; beside a file there is scale"),
        ("1\n2\n", {"quantiles": [[0.0, 1.0], [1.0, 2.0]]}, "either a file or the quantiles"),
    ],
)
def test_a_file_that_holds_no_delays_is_refused_by_key(tmp_path, text, said, why):
    if text is not None:
        (tmp_path / "delays.txt").write_text(text)
    delay = {"kind": "measured", "file": "delays.txt"} | said
    (tmp_path / "hard.toml").write_text(tomli_w.dumps({"faults": [{"kind": "delay", "delay": delay}]}))
    with pytest.raises(ScenarioError) as caught:
        asyncnet.load("multiplexer3-weight-max", under=str(tmp_path / "hard.toml"))
    assert caught.value.key.startswith("faults.0.delay.")
    assert why in caught.value.why


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "slow", "by": 1.0},
        {"kind": "quantise", "step": 1.0},
        {"kind": "quantise", "step": 1e-310},
        {"kind": "noise", "sigma": 1e-300},
        {"kind": "delay", "delay": 0.0},
        {"kind": "delay", "delay": 1e-9},
        {"kind": "delay", "delay": {"kind": "measured", "quantiles": [[0.0, 0.0], [1.0, 0.0]]}},
        {"kind": "reorder", "share": 1.0, "by": 1e-9},
    ],
)
def test_a_fault_that_changes_nothing_has_not_struck(fault):
    loop = ran(scenario(fault))
    assert loop.struck.tolist() == [0]
    same = ran(scenario({"kind": "loss", "share": 0.0, "channel": "reward" if fault["kind"] in ("quantise", "noise") else "activity"}))
    if fault["kind"] == "slow":
        same = ran(scenario())
    assert loop.digest() == same.digest()


@pytest.mark.parametrize("p", [0.001, 0.01, 0.1, 0.5])
def test_the_share_asked_for_comes_twice(p):
    delays, copies, struck = fates({"kind": "duplicate", "share": p})
    assert set(copies) == {1, 2}
    assert (delays == 0).all()
    assert within_99_percent((copies == 2).mean(), p, MANY)
    assert struck.tolist() == [(copies == 2).sum()]


def rewards(*faults: dict[str, Any], n: int = MANY, streams: int = 1, said: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is heard of the first n rewards, all as `said` and of decision 7: their numbers, their decisions, and how many each fault has struck."""
    made, struck = model(scenario(*faults, links={"default": []}), "reward", list(range(len(faults)))), np.zeros(len(faults), dtype=np.int64)
    numbers = np.full((n, streams), said)
    stamps = [altered(made.conditions, SEED, SRC_ID, DST_ID, REWARD, k + 1, 7, 0, numbers[k], struck) for k in range(n)]
    return numbers, np.array(stamps), struck


def test_noise_has_the_spread_asked_for_and_is_another_for_each_number_and_fault():
    numbers, stamps, struck = rewards({"kind": "noise", "sigma": 0.5}, {"kind": "noise", "sigma": 1e-9}, n=MANY // 50, streams=100)
    assert abs(numbers.mean() - 1.0) <= 2.576 * 0.5 / math.sqrt(numbers.size)
    assert abs(numbers.std() - 0.5) <= 2.576 * 0.5 / math.sqrt(2 * numbers.size)
    assert len(np.unique(numbers)) == numbers.size
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 64])[0, 1]) < 0.06
    assert struck.tolist() == [len(numbers)] * 2
    assert (stamps == 7).all()


def test_a_reward_that_is_quantised_is_the_nearest_multiple():
    for said, heard in ((0.13, 0.25), (-0.13, -0.25), (0.12, 0.0), (0.9, 1.0)):
        assert (rewards({"kind": "quantise", "step": 0.25}, n=2, said=said)[0] == heard).all()


@pytest.mark.parametrize("p", [0.01, 0.5])
def test_the_share_asked_for_changes_its_sign_or_its_decision(p):
    numbers, stamps, struck = rewards(
        {"kind": "flip", "share": p}, {"kind": "misdate", "share": p, "by": 3}, {"kind": "misdate", "share": p, "by": 100, "start": 1.0}
    )
    assert set(numbers.ravel()) == {-1.0, 1.0}
    assert set(stamps) == {4, 7}
    assert within_99_percent((numbers == -1.0).mean(), p, MANY)
    assert within_99_percent((stamps == 4).mean(), p, MANY)
    assert struck.tolist() == [(numbers == -1.0).sum(), (stamps == 4).sum(), 0]
    assert (rewards({"kind": "misdate", "by": 100}, n=3)[1] == 0).all()


def test_outside_its_time_and_its_decisions_a_fault_does_exactly_nothing():
    for said in ({"start": 10.0, "stop": 20.0}, {"decisions": [5, 9]}):
        fault = {"kind": "loss", "share": 1.0, **said}
        _, copies, struck = fates(fault, n=1000, stamp=9)
        assert (copies == 0).sum() == struck[0] == (10 if "start" in said else 0)
    assert fates({"kind": "loss", "share": 1.0, "decisions": [5, 9]}, n=10, stamp=8)[2].tolist() == [10]


def clock_row(**said: Any) -> tuple[float, ...]:
    made = scenario({"kind": "cut", **said})
    return times(made.faults[0], made)


def test_stretches_at_random_are_those_of_a_poisson_process():
    row = np.array(clock_row(poisson=40.0, lasting=10.0))
    on = np.array([when.on(row, SEED, 0, 0, at, 0) for at in range(0, 40_000 * 500, 500)])
    stretches = [len(list(run)) for one, run in itertools.groupby(on) if one]
    # Of a Poisson process with one event in 40 ticks no event falls into 10 ticks with the chance exp(-1/4); half ticks 20 apart are independent.
    assert within_99_percent(on.mean(), -math.expm1(-0.25), len(on) / 40)
    begins = len(on) / 2 * math.exp(-0.25) / 40.0
    assert abs(len(stretches) - begins) <= 2.576 * math.sqrt(begins) + 1
    assert min(stretches) >= 19


@given(
    start=st.floats(0.0, 30.0),
    stop=st.none() | st.floats(31.0, 90.0),
    again=st.sampled_from(
        [{}, {"every": 7.0, "lasting": 3.0}, {"every": 5.0, "lasting": 8.0}, {"poisson": 9.0, "lasting": 4.0}, {"poisson": 3.0, "lasting": 6.0}]
    ),
    seed=st.integers(0, 2**53 - 1),
    at=st.integers(0, 100 * TICK),
)
def test_a_fault_is_over_at_the_first_instant_at_which_it_is_off(start, stop, again, seed, at):
    row = np.array(clock_row(start=start, **({} if stop is None else {"stop": stop}), **again))
    if not when.on(row, seed, 3, 0, at, 0):
        return
    end = when.over(row, seed, 3, 0, at, 0)
    if end >= 2**62:
        assert stop is None
        return
    assert not when.on(row, seed, 3, 0, end, 0)
    assert all(when.on(row, seed, 3, 0, t, 0) for t in range(at, end, max(1, (end - at) // 50)))
    assert when.on(row, seed, 3, 0, end - 1, 0)


UNITS = {"network": {"split": "unit"}, "clocks": {"default": {"kind": "periodic", "jitter": 0.2}}}


def ends(made, number: int = 0) -> set[tuple[str, str, str]]:
    """(channel, sender, hearer) of each link that a fault strikes."""
    team = plan(made)
    rows = team.links[links_of(made, team, number)]
    return {(CHANNEL_NAMES[row[CHANNEL]], team.nodes[row[SRC]].name, team.nodes[row[DST]].name) for row in rows}


def test_a_fault_strikes_the_links_that_its_words_name():
    assert ends(scenario({"kind": "cut", "from": "actor.1", "to": "actor.2"})) == {("activity", "actor.1", "actor.2")}
    assert ends(scenario({"kind": "cut", "channel": "reward"})) == {("reward", "world", "actor.3")}
    assert ends(scenario({"kind": "cut", "channel": "feedback", "to": "actor.1.2"}, **UNITS)) == {
        ("feedback", "actor.2.0", "actor.1.2"),
        ("feedback", "actor.2.1", "actor.1.2"),
    }
    both = ends(scenario({"kind": "cut", "nodes": "actor.2"}))
    assert both == {
        ("activity", "actor.1", "actor.2"),
        ("activity", "actor.2", "actor.3"),
        ("feedback", "actor.2", "actor.1"),
        ("feedback", "actor.3", "actor.2"),
    }
    out, into = (ends(scenario({"kind": "cut", "nodes": "actor.2", "way": way})) for way in ("out", "in"))
    assert out == {("activity", "actor.2", "actor.3"), ("feedback", "actor.2", "actor.1")}
    assert out | into == both
    assert not out & into
    # Those inside still hear each other.
    assert ends(scenario({"kind": "cut", "nodes": ["actor.1", "actor.2"]})) == {
        ("activity", "world", "actor.1"),
        ("activity", "actor.2", "actor.3"),
        ("feedback", "actor.3", "actor.2"),
    }


def test_as_many_nodes_are_drawn_as_asked_by_seed_and_fault_alone():
    found = set()
    for seed in range(30):
        made = scenario({"kind": "cut", "nodes": "actor", "fraction": 0.5}, {"kind": "cut", "nodes": "actor.1", "count": 1}, seed=seed, **UNITS)
        team = plan(made)
        half, one = (drawn(made, team, number) for number in range(2))
        assert half.sum() == 3
        assert [team.nodes[i].name[:7] for i in np.flatnonzero(one)] == ["actor.1"]
        assert (drawn(made.replace({"rule.learning_rate": 0.5}), team, 0) == half).all()
        found.add(tuple(half))
    assert len(found) > 10


@pytest.mark.parametrize(
    ("said", "key", "why"),
    [
        ({"kind": "cut", "nodes": "actor.9"}, "faults.0.nodes", "no node, layer or team is called actor.9"),
        ({"kind": "cut", "from": "actor.2", "to": "world"}, "faults.0", "strikes no link"),
        ({"kind": "cut", "channel": "transition"}, "faults.0", "strikes no link"),
        ({"kind": "cut", "count": 7}, "faults.0.count", "draws 7 of 3 nodes"),
        ({"kind": "cut", "fraction": 0.0}, "faults.0.fraction", ""),
        ({"kind": "cut", "fraction": 0.5, "count": 1}, "faults.0.count", "either fraction or count"),
        ({"kind": "cut", "start": 5.0, "stop": 5.0}, "faults.0.stop", "not after start"),
        ({"kind": "cut", "every": 5.0}, "faults.0.lasting", "missing"),
        ({"kind": "cut", "lasting": 5.0}, "faults.0.every", "missing"),
        ({"kind": "cut", "every": 5.0, "poisson": 5.0, "lasting": 1.0}, "faults.0.poisson", "either every or poisson"),
        ({"kind": "cut", "decisions": [5, 5]}, "faults.0.decisions", "greater than the first"),
        ({"kind": "hold"}, "faults.0.stop", "let go when the fault is over"),
        ({"kind": "hold", "decisions": [1, 5]}, "faults.0.decisions", "nobody knows when that is over"),
        ({"kind": "hold", "every": 5.0, "lasting": 5.0}, "faults.0.lasting", "never over"),
        ({"kind": "loss", "share": 1.5}, "faults.0.share", ""),
        ({"kind": "lose"}, "faults.0", ""),
        ({"kind": "noise", "sigma": 0.1, "channel": "activity"}, "faults.0.channel", ""),
        ({"kind": "misdate", "by": 0}, "faults.0.by", ""),
        ({"kind": "delay", "delay": {"kind": "measured", "file": "delays.txt"}}, "faults.0.delay.file", "No such file"),
        ({"kind": "loss", "shre": 0.1}, "faults.0.shre", "did you mean share?"),
        ({"kind": "rate", "rate": 5.0}, "faults.0.rate", "there are kind, per_tick, room"),
        ({"kind": "loss", "share": 0.9, "burst": 2.0}, "faults.0.burst", "10 are lost in a row by chance alone"),
        ({"kind": "delay", "delay": {"kind": "measured", "quantiles": [[0.1, 1.0], [1.0, 2.0]]}}, "faults.0.delay.quantiles", "rise from 0 to 1"),
        ({"kind": "delay", "delay": {"kind": "measured", "quantiles": [[0.0, 2.0], [1.0, 1.0]]}}, "faults.0.delay.quantiles", "not to fall"),
    ],
)
def test_a_fault_that_cannot_be_meant_is_refused_by_key(said, key, why):
    with pytest.raises(ScenarioError) as caught:
        scenario(said)
    assert caught.value.key.startswith(key)
    assert why in caught.value.why


def test_faults_of_conditions_are_not_put_aside_unseen(tmp_path):
    hard = tmp_path / "hard.toml"
    hard.write_text('[[faults]]\nkind = "loss"\nshare = 0.1\n')
    base = asyncnet.load("multiplexer3-weight-max", under=str(hard))
    assert [fault.kind for fault in base.faults] == ["loss"]
    both = asyncnet.load("multiplexer3-weight-max", under=[str(hard), "split-brain"])
    assert [fault.kind for fault in both.faults] == ["loss", "cut"]
    with pytest.raises(ScenarioError, match=r"would take the place of those of .*hard\.toml"):
        laid(Layer("", asyncnet.load("multiplexer3-weight-max").data()), [condition(str(hard)), setting('faults=[{kind="cut",stop=9.0}]')])
    with pytest.raises(ScenarioError, match="these are conditions"):
        asyncnet.load(hard)


def test_a_fault_that_is_not_there_has_no_number():
    with pytest.raises(ScenarioError, match=r"faults: there is none of number 0: the scenario has no faults"):
        scenario().replace({"faults.0.share": 0.3})


def test_one_fault_of_several_is_changed_by_its_number(tmp_path):
    made = scenario({"kind": "cut", "stop": 9.0}, {"kind": "loss", "share": 0.1})
    changed = made.replace({"faults.1.share": 0.3})
    assert [fault.model_dump() for fault in changed.faults] == [made.faults[0].model_dump(), made.faults[1].model_dump() | {"share": 0.3}]
    with pytest.raises(ScenarioError, match=r"faults\.2: there are 2 of them, from 0 on"):
        made.replace({"faults.2.share": 0.3})


def test_a_table_where_there_may_be_several_is_told_how_to_begin_each():
    with pytest.raises(ScenarioError, match=r"each of which begins with \[\[faults\]\]"):
        check(small(faults={"kind": "cut"}), "small")


def test_a_state_whose_lines_are_longer_than_they_can_be_is_refused():
    made = scenario({"kind": "rate", "per_tick": 0.25, "room": 3, "channel": "activity"})
    loop = Loop(made, Virtual())
    loop.run(until=100 * made.tick)
    state = snapshot.take(loop)
    assert state.arrays["clears"].max() > 90 * made.tick
    for wrong in (state.arrays["clears"] + 1e9, -1.0 - state.arrays["clears"], state.arrays["clears"].astype(np.int64)):
        with pytest.raises(ScenarioError, match="clears"):
            snapshot.put(Loop(made, Virtual()), state._replace(arrays=state.arrays | {"clears": wrong}), at_once=True)


def ran(made) -> Loop:
    loop = Loop(made, Virtual())
    loop.prepare()
    loop.run()
    return loop


def test_a_layer_that_is_cut_off_hears_nothing_until_it_is_healed_and_all_is_in_the_books():
    calm = ran(scenario())
    loop = ran(scenario({"kind": "cut", "nodes": "actor.1", "start": 60.0, "stop": 120.0}))
    assert loop.stopped == "finished"
    assert 0 < loop.struck[0] == account(loop)[LOST].sum()
    assert not unexplained(account(loop)).any()
    before, after = (each.nodes[1].counts()["sampled"] for each in (calm, loop))
    assert before - 11 <= after <= before - 8  # ten decisions of six ticks


def test_a_fault_that_is_never_on_changes_no_bit():
    cut = {"kind": "cut", "channel": "reward"}  # of activity it would be said again and again, as it may be lost
    calm = ran(scenario()).digest()
    assert ran(scenario(cut | {"start": 1e6})).digest() == calm
    assert ran(scenario(cut | {"start": 60.0})).digest() != calm


def test_another_fault_changes_no_draw_of_the_first():
    first = {"kind": "loss", "share": 0.3, "channel": "activity"}
    alone, both = fates(first), fates(first, {"kind": "delay", "delay": {"kind": "exponential", "mean": 2.0}})
    assert (alone[1] == both[1]).all()


def test_links_that_the_same_faults_strike_share_a_model():
    made = scenario({"kind": "loss", "share": 0.3, "to": "actor.1.0"}, **UNITS)
    found = models_of(made, plan(made))
    assert len(found.models) == 5  # of activity and feedback two each, of reward one
    assert {each.faults for each in found.models} == {(), (0,)}


def test_a_run_that_goes_on_from_a_checkpoint_strikes_what_the_whole_run_strikes():
    made = scenario(
        {"kind": "loss", "share": 0.3, "burst": 4.0, "channel": "activity"},
        {"kind": "hold", "nodes": "actor.2", "every": 30.0, "lasting": 9.0},
        {"kind": "delay", "delay": 1.5, "alike": 0.5, "poisson": 30.0, "lasting": 20.0},
    )
    whole, first, second = ran(made), Loop(made, Virtual()), Loop(made, Virtual())
    first.prepare()
    first.run(until=77 * TICK)
    state = snapshot.take(first)
    assert state.arrays["struck"].min() > 0
    assert (state.arrays["struck"] < whole.struck).all()
    snapshot.put(second, state, at_once=True)
    second.run()
    assert second.struck.tolist() == whole.struck.tolist()
    assert second.digest() == whole.digest()
    lied = state._replace(arrays=state.arrays | {"struck": state.arrays["struck"] - 10**6})
    with pytest.raises(ScenarioError, match="struck"):
        snapshot.put(Loop(made, Virtual()), lied)


def test_a_run_says_how_often_each_fault_struck_and_is_no_pass_if_one_never_did():
    found = asyncnet.run(scenario({"kind": "cut", "start": 1e6}, {"kind": "loss", "share": 0.2, "channel": "activity"}), out=None)
    summary = found.summary()
    assert [row["struck"] for row in summary["faults"]] == found.record.struck == [0, summary["links"]["activity"]["lost"]]
    assert summary["faults"][1]["struck"] > 0
    assert summary["verdict"] == "unknown"
    assert [reason for reason in summary["reasons"] if reason.startswith("faults.")] == ["faults.0 (cut from 1e+06) never struck"]


def test_a_share_of_nothing_is_kept_to():
    found = asyncnet.run(scenario({"kind": "loss", "share": 0.0, "channel": "activity"}, {"kind": "skip", "share": 0.0}), out=None)
    assert found.record.struck == [0, 0]
    assert found.verdict() == ("pass", [])


def test_conditions_that_a_file_notes_and_does_not_have_are_refused(tmp_path):
    mine = tmp_path / "mine.toml"
    whole = asyncnet.load("multiplexer3-weight-max", under=["lossy", "bursty", "straggler"])
    mine.write_text(whole.toml())
    assert asyncnet.load(mine) == whole, "as a run's directory keeps it"
    for name in ("lossy", "bursty", "straggler"):
        mine.write_text(f'under = ["{name}"]\n' + tomli_w.dumps(small()))
        with pytest.raises(ScenarioError, match=f"under: notes what was laid over a run, and lays nothing over: --under {name}"):
            asyncnet.load(mine)
    mine.write_text('under = ["lossy"]\n[links]\nretry = 3.0\n')
    with pytest.raises(ScenarioError, match="under: a condition lays nothing over"):
        asyncnet.load("multiplexer3-weight-max", under=str(mine))


def test_faults_of_conditions_add_up_and_settings_replace_them():
    base = asyncnet.load("multiplexer3-weight-max")
    both = asyncnet.load("multiplexer3-weight-max", under=["bursty", "split-brain"])
    assert [fault.kind for fault in both.faults] == ["loss", "cut"]
    assert [fault.kind for fault in both.replace({"faults": [{"kind": "cut"}]}).faults] == ["cut"]
    assert "faults" not in base.data()
    assert both.replace({"faults": []}).data()["links"] == both.data()["links"]


CHANGED = (
    {"kind": "duplicate", "share": 0.3, "by": 2.0},
    {"kind": "noise", "sigma": 0.2},
    {"kind": "misdate", "share": 0.2, "by": 2, "every": 40.0, "lasting": 20.0},
    {"kind": "rate", "per_tick": 0.4, "room": 6, "every": 50.0, "lasting": 30.0},
    {"kind": "delay", "delay": MEASURED, "poisson": 60.0, "lasting": 30.0},
    {"kind": "flip", "share": 0.1, "to": "actor.3"},
)


def test_both_loops_do_the_same_to_what_comes_twice_and_to_rewards():
    made = scenario(*CHANGED, **UNITS)
    read, compiled = ran(made), CompiledLoop(made, Virtual())
    compiled.prepare()
    compiled.run()
    assert all(struck > 0 for struck in read.struck)
    assert compiled.struck.tolist() == read.struck.tolist()
    assert compiled.digest() == read.digest()
    table = account(read)
    assert account(compiled).tolist() == table.tolist()
    assert table[DUPLICATED].sum() == read.struck[0]
    assert not unexplained(table).any()
    assert ran(scenario(CHANGED[0], **UNITS)).nodes[6].counts()["duplicate"] > 0


def test_a_team_whose_reward_has_its_sign_changed_learns_the_opposite():
    task = {"task": {"decisions": 3000}, "rule": {"name": "reinforce", "learning_rate": 0.05}}
    calm, flipped = (asyncnet.run(scenario(*faults, **task), out=None).summary()["last_mean_reward"] for faults in ((), ({"kind": "flip"},)))
    assert calm > 0.2
    assert flipped < -0.2


def test_faults_are_the_same_in_simulated_time_that_actors_share():
    made = check(
        small(
            links={"default": {"delay": 0.5}},
            faults=[
                {"kind": "loss", "share": 0.2, "burst": 3.0},
                {"kind": "delay", "delay": {"kind": "normal", "mean": 1.0, "sigma": 1.0}, "alike": 0.6, "channel": "activity"},
                {"kind": "cut", "nodes": "actor.1", "poisson": 40.0, "lasting": 8.0},
                {"kind": "hold", "to": "actor.3", "every": 50.0, "lasting": 10.0},
                *CHANGED,
            ],
        ),
        "small",
    )
    alone, many = ran(made), Together(made).start().end()
    assert all(struck > 0 for struck in alone.struck)
    assert np.sum([result["struck"] for result in many.results], axis=0).tolist() == alone.struck.tolist()
    assert many.digest == alone.digest()


WAITS = {"task": {"world": {"waits": True, "interval": 1.0}}}


@pytest.mark.parametrize("more", [{}, {"decisions": [5, 9]}, {"every": 5.0, "lasting": 5.0}, {"start": 50.0}])
@pytest.mark.parametrize("what", [{"kind": "cut"}, {"kind": "loss", "share": 1.0}])
def test_a_world_that_waits_for_an_action_that_is_cut_off_for_good_is_refused(what, more):
    with pytest.raises(ScenarioError, match="cut off for good"):
        scenario(what | more | {"nodes": "actor.2"}, **WAITS)
    assert ran(scenario(what | {"nodes": "actor.2", "start": 20.0, "stop": 60.0}, **WAITS)).stopped == "finished"
    assert ran(scenario(what | more | {"channel": "reward"}, **WAITS)).stopped == "finished"


def test_a_loss_of_all_for_a_time_asks_for_no_longer_archives_than_a_cut():
    when = {"nodes": "actor.2", "start": 30.0, "stop": 60.0}
    cut, loss = (plan(scenario({"kind": "cut", **when})), plan(scenario({"kind": "loss", "share": 1.0, **when})))
    assert cut.archives == loss.archives
