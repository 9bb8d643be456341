"""What happens to messages on their way is what the scenario says, in the mean and one by one, and nothing else changes it."""

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from asyncnet.loop.ledger import account, by_channel, by_link
from asyncnet.loop.link import COLUMNS, CONSTANT, EXPONENTIAL, LOGNORMAL, LOSS, LOST, ONCE, TRIES, UNIFORM, outcome
from asyncnet.loop.link import row as condition
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import CHANNELS, REWARD
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.schema import check
from asyncnet.team.conditions import LinkModel, model
from support.small import small

MANY = 100_000
TICK = 1000  # microseconds
SEED, SRC, DST = 1, 1 << 20, 2 << 20


def link(channel: str = "activity", **links: Any) -> LinkModel:
    """What a link of the small scenario does under these conditions."""
    return model(check(small(links={"default": [], **links}), "small"), channel, [])


def fate(conditions: np.ndarray, seq: int, *, seed: int = SEED, src: int = SRC, dst: int = DST, channel: int = REWARD, retry: float = -1.0) -> tuple[int, int]:
    """(delay, copies) of one message under conditions that are always on."""
    delay, again = outcome(conditions, seed, src, dst, channel, seq, 1, 0, 0, retry, 0, np.zeros(0, dtype=np.int64))
    assert again == ONCE
    return max(0, int(delay)), int(delay != LOST)


def fates(made: LinkModel, n: int = MANY, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """(delays, copies) of the first n messages of a link."""
    both = [fate(made.conditions, seq, seed=seed, channel=CHANNELS[made.channel], retry=made.retry) for seq in range(1, n + 1)]
    delays, copies = zip(*both, strict=True)
    return np.array(delays, dtype=np.float64), np.array(copies)


def within_99_percent(share: float, p: float, n: int) -> bool:
    return abs(share - p) <= 2.576 * math.sqrt(p * (1.0 - p) / n)


DELAYS = {  # as the scenario says it, mean and standard deviation in ticks
    "plain": (2.5, 2.5, 0.0),
    "constant": ({"kind": "constant", "value": 0.5}, 0.5, 0.0),
    "uniform": ({"kind": "uniform", "low": 1.0, "high": 4.0}, 2.5, 3.0 / math.sqrt(12.0)),
    "exponential": ({"kind": "exponential", "mean": 2.0}, 2.0, 2.0),
    "lognormal": ({"kind": "lognormal", "mean": 2.0, "sigma": 0.5}, 2.0, 2.0 * math.sqrt(math.expm1(0.25))),
    "lognormal-0": ({"kind": "lognormal", "mean": 2.0, "sigma": 0.0}, 2.0, 0.0),
}


@pytest.mark.parametrize(("said", "mean", "spread"), DELAYS.values(), ids=DELAYS)
def test_delays_have_the_mean_and_the_spread_that_the_scenario_says(said, mean, spread):
    made = link(activity={"delay": said})
    delays, copies = fates(made)
    assert np.all(copies == 1)
    assert delays.min() >= 0
    assert abs(delays.mean() - mean * TICK) <= 2.576 * spread * TICK / math.sqrt(MANY)
    assert abs(delays.std() - spread * TICK) <= 0.03 * spread * TICK
    assert made.fixed == (mean * TICK if said == 2.5 or said["kind"] == "constant" else -1)


def test_a_uniform_delay_keeps_to_its_bounds_and_an_exponential_one_to_its_tail():
    delays, _ = fates(link(activity={"delay": DELAYS["uniform"][0]}))
    assert 1000 <= delays.min() < 1001
    assert 3999 < delays.max() <= 4000
    delays, _ = fates(link(activity={"delay": DELAYS["exponential"][0]}))
    for edge in (1.0, 2.0, 6.0):
        assert within_99_percent((delays > edge * TICK).mean(), math.exp(-edge / 2.0), MANY)


def test_the_logarithm_of_a_lognormal_delay_has_the_declared_spread():
    delays, _ = fates(link(activity={"delay": {"kind": "lognormal", "mean": 2000.0, "sigma": 0.5}}))
    logs = np.log(delays / TICK)
    assert abs(logs.mean() - (math.log(2000.0) - 0.125)) <= 2.576 * 0.5 / math.sqrt(MANY)
    assert abs(logs.std() - 0.5) <= 2.576 * 0.5 / math.sqrt(2 * MANY)


@pytest.mark.parametrize("p", [0.001, 0.01, 0.1, 0.5])
def test_the_declared_share_of_messages_is_lost(p):
    delays, copies = fates(link(activity={"loss": p}))
    assert within_99_percent((copies == 0).mean(), p, MANY)
    assert set(copies) == {0, 1}
    assert not delays.any()


def test_without_loss_none_is_lost_and_with_certain_loss_all_are():
    assert link(activity={"loss": 0.0}).conditions.shape == (0, COLUMNS)
    never, always = np.array([condition(LOSS, 0.0)]), np.array([condition(LOSS, 1.0)])
    assert all(fate(never, seq) == (0, 1) for seq in range(MANY))
    assert all(fate(always, seq)[1] == 0 for seq in range(1000))


def test_losses_do_not_come_in_runs():
    _, copies = fates(link(activity={"loss": 0.5}))
    assert abs(np.corrcoef(copies[:-1], copies[1:])[0, 1]) < 2.576 / math.sqrt(MANY)


rows = st.one_of(
    st.tuples(st.just(CONSTANT), st.floats(0.0, 1e6), st.just(0.0)),
    st.tuples(st.just(UNIFORM), st.floats(0.0, 1e6), st.floats(1e6, 1e7)),
    st.tuples(st.just(EXPONENTIAL), st.floats(1.0, 1e6), st.just(0.0)),
    st.tuples(st.just(LOGNORMAL), st.floats(1.0, 1e6), st.floats(0.0, 1.0)),
)
NOTHING = (CONSTANT, 0.0, 0.0)


def one(conditions: list[tuple], seq: int, *, src: int = SRC, dst: int = DST, channel: int = REWARD, retry: float = -1.0) -> tuple[int, int]:
    return fate(np.array([condition(*each) for each in conditions]).reshape(-1, COLUMNS), seq, src=src, dst=dst, channel=channel, retry=retry)


@given(st.lists(rows, max_size=5), st.integers(1, 2**40))
def test_the_delays_of_several_conditions_add_up(conditions, seq):
    alone = [one([*[NOTHING] * i, each], seq)[0] for i, each in enumerate(conditions)]
    assert abs(one(conditions, seq)[0] - sum(alone)) <= (len(alone) + 1) / 2  # each is rounded to a microsecond


def test_several_losses_compose_as_independent_ones():
    made = link(activity=[{"loss": 0.2}, {"delay": 1.0}, {"loss": 0.5}])
    delays, copies = fates(made)
    assert within_99_percent(copies.mean(), 0.8 * 0.5, MANY)
    assert np.all(delays[copies == 1] == TICK)


def test_the_conditions_of_a_channel_come_on_top_of_the_default_ones():
    made = link("reward", default={"delay": 1.0}, reward=[{"delay": 2.0}, {"delay": 0.25}], activity={"delay": 7.0})
    assert made.fixed == 3250
    assert link("feedback", default={"delay": 1.0}, reward={"delay": 2.0}).fixed == 1000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.7])
def test_a_reliable_link_loses_nothing_and_delays_by_whole_retries(p):
    delays, copies = fates(link("reward", reward={"loss": p}, retry=3.0))
    assert np.all(copies == 1)
    assert np.all(delays % (3 * TICK) == 0)
    tries = delays / (3 * TICK)
    spread = math.sqrt(p) / (1.0 - p)
    assert abs(tries.mean() - p / (1.0 - p)) <= 2.576 * spread / math.sqrt(MANY)
    assert within_99_percent((tries > 0).mean(), p, MANY)


def test_at_90_percent_loss_a_reliable_link_gives_up_after_its_last_try_only():
    delays, copies = fates(link("reward", reward={"loss": 0.9}))
    assert within_99_percent((copies == 0).mean(), 0.9**TRIES, MANY)
    assert delays[copies == 1].max() == (TRIES - 1) * 2 * TICK


def test_activity_is_not_sent_again_unless_asked_for_and_credit_is():
    assert [link(channel).retry for channel in ("activity", "feedback", "reward", "transition")] == [-1.0, 2.0 * TICK, 2.0 * TICK, 2.0 * TICK]
    assert link("activity", activity={"reliable": True}).retry == 2.0 * TICK
    assert link("reward", default={"reliable": False}).retry == -1.0
    assert link("reward", default={"reliable": False}, reward={"reliable": True}, retry=0.5).retry == 0.5 * TICK


ROUGH = [(LOSS, 0.3, 0.0), (EXPONENTIAL, 5000.0, 0.0), (UNIFORM, 0.0, 900.0)]
messages = st.tuples(st.integers(1, 2**40), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.sampled_from(sorted(CHANNELS.values())))


@given(st.lists(messages, min_size=1, max_size=30, unique=True), st.randoms(use_true_random=False), st.sampled_from([-1.0, 2000.0]))
def test_the_fate_of_a_message_depends_on_its_key_alone(sent, random, retry):
    def send(order: list[tuple]) -> dict[tuple, tuple[int, int]]:
        return {(seq, src, dst, channel): one(ROUGH, seq, src=src, dst=dst, channel=channel, retry=retry) for seq, src, dst, channel in order}

    mixed = random.sample(sent, len(sent))
    assert send(sent) == send(mixed)


@given(messages, st.integers(0, 3))
def test_every_part_of_the_key_counts(message, place):
    delays = {CONSTANT: 0.0}
    for step in range(4):
        seq, src, dst, channel = message
        other = [(seq + step, src, dst, channel), (seq, (src + step) % 2**32, dst, channel), (seq, src, (dst + step) % 2**32, channel)]
        other.append((seq, src, dst, 1 + (channel - 1 + step) % 4))
        seq, src, dst, channel = other[place]
        delays[step] = one([(UNIFORM, 0.0, 1e15)], seq, src=src, dst=dst, channel=channel)[0]
    assert len(set(delays.values())) == 4


def test_another_seed_is_another_fate():
    made = link(activity={"loss": 0.5})
    assert not np.array_equal(fates(made, 200, seed=1)[1], fates(made, 200, seed=2)[1])


# In a run.
Heard = list[tuple[int, int, int]]  # (time, sequence number, stamp)


def run(listener: str = "actor.1", channel: int = REWARD, **changes: Any) -> tuple[Loop, Heard]:
    """A finished loop, and what one node heard on one channel."""
    loop = Loop(check(small(**changes), "small"), Virtual())
    node = next(node for node in loop.nodes.values() if getattr(node, "name", "world") == listener)
    heard: Heard = []
    listen = node.hear

    def hear(now: int, kind: int, port: int, seq: int, stamp: int, payload: np.ndarray) -> object:
        if kind == channel:
            heard.append((now, seq, stamp))
        return listen(now, kind, port, seq, stamp, payload)

    node.hear = hear
    loop.run()
    assert loop.stopped == "finished"
    return loop, heard


CONSTANT_CLOCKS = {"default": {"phase": 0.5}}


def test_a_stale_link_holds_back_exactly_so_many_messages_and_delivers_the_older_ones_in_order():
    fresh, at_once = run(rule={"name": "reinforce"}, clocks=CONSTANT_CLOCKS)
    late, later = run(rule={"name": "reinforce"}, clocks=CONSTANT_CLOCKS, links={"reward": {"stale": 3}})
    assert [seq for _, seq, _ in later] == [seq for _, seq, _ in at_once][:-3]
    assert [now for now, _, _ in later] == [now for now, _, _ in at_once][3:]
    assert len(late.held) == 3
    for held in late.held.values():
        last = late.sequence[0][REWARD]
        assert [seq for seq, _ in held] == [last - 2, last - 1, last]
    links = 3  # the world tells each of three layers
    row, at_once_row = (by_channel(loop.plan, account(loop))["reward"] for loop in (late, fresh))
    assert row == {**at_once_row, "in_flight": at_once_row["in_flight"] + 3 * links, "delivered": at_once_row["delivered"] - 3 * links}


def test_staleness_adds_up_over_conditions():
    late, _ = run(listener="actor.3", links={"default": {"stale": 1}, "reward": [{"stale": 2}, {"stale": 1}]})
    assert {len(held) for link, held in late.held.items() if late.plan.links[link, 0] == REWARD} == {4}


def test_messages_come_after_the_delay_that_their_link_declares():
    _, slow = run(listener="actor.3", clocks=CONSTANT_CLOCKS, links={"default": {"delay": 1.25}})
    assert len(slow) >= 20
    assert {now % (6 * TICK) for now, _, _ in slow} == {1250}  # the world speaks every six ticks


def test_what_is_lost_is_the_same_whatever_else_is_changed():
    def lost(**links: Any) -> set[int]:
        loop, heard = run(rule={"name": "reinforce"}, clocks=CONSTANT_CLOCKS, links=links)
        sent = loop.sequence[0][REWARD]
        assert sent >= 25
        return set(range(1, 26)) - {seq for _, seq, _ in heard}

    plain = lost(reward={"loss": 0.4, "reliable": False})
    assert 2 <= len(plain) <= 20
    assert lost(reward=[{"loss": 0.4, "reliable": False}, {"delay": 1.5}], activity={"delay": 0.25}) == plain
    assert lost(reward={"loss": 0.0, "reliable": False}) == set()


def test_a_fault_changes_no_initial_weight():
    calm = Loop(check(small(), "small"), Virtual())
    rough = Loop(check(small(links={"default": {"delay": 3.0, "loss": 0.5}}), "small"), Virtual())
    for i in set(calm.nodes) - {0}:
        here, there = calm.nodes[i].learned(), rough.nodes[i].learned()
        assert here.keys() == there.keys() == {"weight", "bias"}
        assert all(array.any() and np.array_equal(array, there[name]) for name, array in here.items())


def test_every_message_is_delivered_lost_held_or_still_under_way():
    loop, _ = run(listener="actor.3", links={"default": {"delay": 2.0, "loss": 0.2, "reliable": False}, "reward": {"stale": 2}})
    for channel, row in by_channel(loop.plan, account(loop)).items():
        assert row["lost"] > 0, channel
    for link, row in by_link(loop.plan, account(loop)).items():
        assert row["sent"] > 0, link
        assert row["sent"] + row["duplicated"] == row["delivered"] + row["lost"] + row["refused"] + row["expired"] + row["in_flight"], link
