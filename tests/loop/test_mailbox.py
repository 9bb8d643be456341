"""Small mailboxes: what finds no room waits or is gone, alike in all loops, and all of it is counted."""

import itertools
from typing import Any

import numpy as np
import pytest

import asyncnet
from asyncnet.kernels.plain import as_python
from asyncnet.loop.compiled.agenda import of_who
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.ledger import DELIVERED, IN_FLIGHT, SENT, account, unexplained
from asyncnet.loop.loop import Loop
from asyncnet.loop.mailbox import DROPPED, HEARD, WAITS, sorted_out
from asyncnet.loop.message import DROP
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import snapshot
from asyncnet.scenario.schema import ScenarioError, check
from support.small import GONE, small
from support.together import Together

LONG = {"task": {"decisions": 100}}
POLICIES: dict[str, dict[str, Any]] = {
    "block": {"policy": "block", "room": 3},
    "drop-oldest": {"policy": "drop-oldest", "room": 3},
    "drop-newest": {"policy": "drop-newest", "room": 3},
    "newest-wins": {"policy": "newest-wins"},
}
HARD = [
    {"kind": "delay", "delay": {"kind": "exponential", "mean": 3.0}},
    {"kind": "hold", "every": 30.0, "lasting": 12.0, "start": 5.0},  # and then all comes at once
    {"kind": "slow", "nodes": "actor.2", "by": 3.0},
]
MORE = {"nothing": [], "crashes": [{"kind": "crash", "poisson": 60.0, "lasting": 5.0, "snapshot": 10.0}], "doubles": [{"kind": "duplicate", "share": 0.5}]}


def scenario(*faults: dict[str, Any], **changes: Any):
    return check(small(faults=list(faults), **(LONG | changes)), "small")


def mailbox(policy: str, **more: Any) -> dict[str, Any]:
    return {"kind": "mailbox"} | POLICIES[policy] | more


def ran(made, kind=CompiledLoop, until: int | None = None, **how: Any):
    loop = kind(made, Virtual(), **how)
    loop.prepare()
    loop.run(**({} if until is None else {"until": until}))
    return loop


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("block", [HEARD, HEARD, HEARD, WAITS, WAITS, WAITS]),
        ("drop-oldest", [DROPPED, DROPPED, DROPPED, HEARD, HEARD, HEARD]),
        ("drop-newest", [HEARD, HEARD, HEARD, DROPPED, DROPPED, DROPPED]),
        ("newest-wins", [DROPPED, DROPPED, HEARD, HEARD, DROPPED, HEARD]),
    ],
)
def test_what_finds_no_room_waits_or_is_gone(policy, expected):
    (rows,) = (Loop(scenario(mailbox(policy)), Virtual()).mishaps[1].rows,)
    messages = [(5, 4, 0, 7), (6, 4, 0, 9), (7, 4, 0, 12), (8, 1, 0, 3), (9, 4, 0, 11), (9, 4, 1, 2)]  # the fifth overtook none: 11 is older than 12
    struck = np.zeros(1, dtype=np.int64)
    assert sorted_out(rows, 1, 1, 10, messages, struck) == expected
    assert struck.tolist() == [1 if policy == "block" else expected.count(DROPPED)]
    assert sorted_out(rows, 1, 1, 10, [], struck) == []


def test_a_mailbox_that_is_not_on_has_room_for_all():
    rows = Loop(scenario(mailbox("block", start=50.0, stop=60.0)), Virtual()).mishaps[1].rows
    messages, struck = [(n, 4, 0, n) for n in range(9)], np.zeros(1, dtype=np.int64)
    counts = [sorted_out(rows, 1, 1, now * 1000, messages, struck).count(HEARD) for now in (49, 50, 59, 60)]
    assert counts == [9, 3, 3, 9]
    assert struck.tolist() == [2]


def test_what_waits_when_its_node_crashes_is_gone_with_it():
    made = scenario(mailbox("block"), {"kind": "crash", "start": 50.0, "stop": 60.0})
    rows, struck = Loop(made, Virtual()).mishaps[1].rows, np.zeros(2, dtype=np.int64)
    came_before, came_after = (49_000, 4, 0, 1), (61_000, 4, 0, 2)
    assert sorted_out(rows, 1, 1, 70_000, [came_before, came_after], struck) == [DROPPED, HEARD]
    assert sorted_out(rows, 1, 1, 49_500, [came_before], struck) == [HEARD]
    before, after = ([(at * 1000 + n, 4, 0, at + n) for n in range(3)] for at in (47, 62))
    for policy in ("drop-oldest", "drop-newest"):
        both = Loop(scenario(mailbox(policy), {"kind": "crash", "start": 50.0, "stop": 60.0}), Virtual()).mishaps[1].rows
        assert sorted_out(both, 1, 1, 70_000, before + after, struck) == 3 * [DROPPED] + 3 * [HEARD], "what is gone takes up no room"
    assert sorted_out(rows, 1, 1, 70_000, before + after + [(66_000, 4, 0, 99)], struck) == 3 * [DROPPED] + 3 * [HEARD] + [WAITS]
    assert struck.tolist() == [1, 0]


@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("split", ["layer", "unit"])
def test_both_loops_do_the_same_and_go_on_alike_from_any_instant(split, policy, more):
    made = scenario(*HARD, *MORE[more], mailbox(policy), network={"split": split})
    tapes: list[list[np.ndarray]] = [[], []]
    read, compiled = ran(made, Loop, tape=tapes[0].append), ran(made, tape=tapes[1].append)
    assert compiled.struck[-1] > 50
    assert compiled.digest() == read.digest()
    assert compiled.struck.tolist() == read.struck.tolist()
    assert account(compiled).tolist() == account(read).tolist()
    assert not unexplained(account(read)).any()
    assert by_node(tapes[0]) == by_node(tapes[1])
    if policy == "block":
        assert account(read)[IN_FLIGHT].sum() > 0
    for at, kind in itertools.product((37, 203), (Loop, CompiledLoop)):
        begun, going_on = ran(made, until=at * made.tick), kind(made, Virtual())
        snapshot.put(going_on, snapshot.take(begun), at_once=True)
        going_on.prepare()
        going_on.run()
        assert going_on.digest() == read.digest()
        assert going_on.struck.tolist() == read.struck.tolist()
        assert account(going_on).tolist() == account(read).tolist()


def by_node(tape: list[np.ndarray]) -> dict[int, list[list[int]]]:
    found: dict[int, list[list[int]]] = {}
    for row in np.concatenate(tape).tolist():
        found.setdefault(int(as_python(of_who)(row[1])[1 if row[2] >= 0 else 2]), []).append(row)
    return found


def test_a_mailbox_that_never_fills_changes_no_bit_of_what_the_team_learns():
    def learned(fault):
        loop = ran(scenario(*HARD, fault))
        assert not unexplained(account(loop)).any()
        weights = [loop.nodes[i].view.weight.tobytes() for i in (1, 2, 3)]
        return loop.struck.tolist(), weights, [loop.nodes[i].view.y.tobytes() for i in (1, 2, 3)], account(loop)[SENT].tolist()

    roomy = learned(mailbox("block", room=10_000))
    assert roomy[0][-1] == 0
    assert learned(mailbox("drop-oldest", room=10_000)) == roomy
    assert learned({"kind": "crash", "start": 1e6}) == roomy  # with which, too, all say again what they have to say
    assert learned(mailbox("drop-oldest", room=3)) != roomy


def test_a_mailbox_that_fills_for_ever_costs_no_more_the_fuller_it_is():
    made = scenario(mailbox("block", room=2))
    messages = [(n, 4, 0, n) for n in range(5000)]

    class Once(list):
        def __iter__(self):
            for n, message in enumerate(super().__iter__()):
                assert n < 3, "nobody looks farther than there is room"
                yield message

    verdicts = sorted_out(Loop(made, Virtual()).mishaps[1].rows, 1, 1, 10_000, Once(messages), np.zeros(1, dtype=np.int64))
    assert verdicts == 2 * [HEARD] + 4998 * [WAITS]


def test_what_is_dropped_was_delivered_and_what_waits_is_on_its_way():
    loop = ran(scenario(*HARD, mailbox("drop-newest")))
    table = account(loop)
    calm = account(ran(scenario(*HARD, mailbox("drop-newest", room=10_000))))
    assert not unexplained(table).any()
    assert table[DELIVERED].sum() > 0.9 * calm[DELIVERED].sum()
    waiting = account(ran(scenario(*HARD, mailbox("block", room=1))))
    assert waiting[IN_FLIGHT].sum() > 10 * calm[IN_FLIGHT].sum()
    assert not unexplained(waiting).any()


@pytest.mark.parametrize("policy", POLICIES)
def test_shared_simulated_time_has_the_same_mailboxes(policy):
    made = scenario(*HARD, mailbox(policy), links={"default": {"delay": 0.5}})
    alone = ran(made)
    together = Together(made)
    together.start()
    together.end()
    assert together.digest == alone.digest()
    assert sum(loop.loop.struck for loop in together.hosts.values()).tolist() == alone.struck.tolist()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_recording_with_mailboxes_replays(policy, tmp_path):
    made = scenario(*HARD, mailbox(policy), links={"default": {"delay": 0.5}}, tick=1000)
    found = asyncnet.run(made, engine="embedded", time="wall", out=tmp_path)
    assert found.record.struck[-1] > 10
    same, line = asyncnet.replay(found.run_dir)
    assert same, line


def test_a_dropped_message_is_on_the_tape_as_one():
    tape: list[np.ndarray] = []
    loop = ran(scenario(*HARD, mailbox("drop-oldest")), tape=tape.append)
    rows = np.concatenate(tape)
    kinds = as_python(of_who)(rows[:, 1])[0]
    assert (kinds >= DROP).sum() == loop.struck[-1]


@pytest.mark.parametrize(
    ("said", "changes", "key", "why"),
    [
        ({"policy": "block"}, {}, "faults.0.room", "how many messages it has room for"),
        ({"policy": "newest-wins", "room": 2}, {}, "faults.0.room", "one of each link"),
        ({"policy": "block", "room": 0}, {}, "faults.0.room", "greater than or equal to 1"),
        ({"policy": "drop", "room": 1}, {}, "faults.0.policy", "drop-oldest"),
        ({"policy": "block", "room": 1, "nodes": "world"}, {}, "faults.0.nodes", "has no mailbox"),
        (
            {"policy": "block", "room": 1, "nodes": "actor.1"},
            {"clocks": {"default": {"kind": "on-arrival", "period": GONE}}},
            "faults.0.nodes",
            "nothing waits for it",
        ),
    ],
)
def test_a_mailbox_that_cannot_be_is_refused_by_key(said, changes, key, why):
    with pytest.raises(ScenarioError) as caught:
        scenario({"kind": "mailbox"} | said, **changes)
    assert caught.value.key == key
    assert why in caught.value.why
