"""A timeline holds every event and every message of a run, at the times they had; its counts are those of the ledger."""

import json
from collections import Counter

import pytest

import asyncnet
from asyncnet import api
from asyncnet.loop import ledger
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.record import timeline
from support.teams import FREE, multiplexer

LOSSY = FREE | {"task.decisions": 120, "links": {"default": {"delay": 1.3}, "activity": {"loss": 0.2}, "reward": {"stale": 2}}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return asyncnet.run(multiplexer("weight-max", LOSSY), out=tmp_path_factory.mktemp("runs"))


def events_of(path):
    return json.loads(path.read_text())["traceEvents"]


def assert_arrows_join_slices(events):
    """Every arrow begins in a slice of its sender and ends in one of its receiver."""
    slices = {(event["tid"], event["ts"]) for event in events if event["ph"] == "X"}
    begun = {event["id"]: event for event in events if event["ph"] == "s"}
    ended = {event["id"]: event for event in events if event["ph"] == "f"}
    assert begun.keys() == ended.keys()
    for number, begin in begun.items():
        assert (begin["tid"], begin["ts"]) in slices
        assert (ended[number]["tid"], ended[number]["ts"]) in slices
        assert begin["ts"] <= ended[number]["ts"]
    return len(begun)


def test_its_counts_are_those_of_the_ledger_and_of_the_events(run, tmp_path):
    line = api.timeline(run.run_dir, tmp_path / "trace.json")
    events = events_of(tmp_path / "trace.json")
    table = run.record.ledger.sum(axis=1)
    assert table[ledger.LOST] > 50
    assert assert_arrows_join_slices(events) == table[ledger.DELIVERED]
    said = Counter(event["name"].partition(":")[0] for event in events if event["ph"] in "iC")
    held = table[ledger.IN_FLIGHT]
    assert table[ledger.LOST] < said["not delivered"] <= table[ledger.LOST] + held, "what a stale link holds back has not left"
    named = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    ticks = Counter(named[event["tid"]] for event in events if event["ph"] == "X" and event["name"] == "tick")
    assert ticks == {name: row["ticks"] for name, row in run.record.nodes.items()}
    assert f"{table[ledger.DELIVERED]:,} messages delivered" in line
    assert said["rollout/mean_reward"] == run.record.score["decisions"] == 120, "a row of progress each"


def test_every_reward_is_an_instant_with_its_value_and_messages_under_way_are_counted(run, tmp_path):
    api.timeline(run.run_dir, tmp_path / "trace.json")
    events = events_of(tmp_path / "trace.json")
    rewards = [event["args"]["value"] for event in events if event["name"] == "reward"]
    every = [reward for _, reward in run.record.rewards]
    assert run.record.score["missing"] * len(every) == pytest.approx(1.0)
    assert any(rewards == [*every[:k], *every[k + 1 :]] for k in range(len(every))), "a decision without an action is not rewarded"
    assert len(set(rewards)) > 1
    counts = [(event["ts"], event["args"]["value"]) for event in events if event["name"] == "messages under way"]
    ends = {ts + run.scenario.tick: value for ts, value in counts}
    left, arrived = ([event["ts"] for event in events if event["ph"] == kind] for kind in "sf")
    assert ends == {at: sum(ts < at for ts in left) - sum(ts < at for ts in arrived) for at in ends}
    assert max(ends.values()) > 2


def test_times_are_those_of_the_tape(run, tmp_path):
    api.timeline(run.run_dir, tmp_path / "trace.json")
    rows = []
    loop = CompiledLoop(run.scenario, Virtual(), tape=lambda more: rows.extend(more[more[:, 2] >= 0, 0].tolist()))
    loop.run()
    shown = sorted(event["ts"] for event in events_of(tmp_path / "trace.json") if event["ph"] == "X")
    assert shown == sorted(rows)


def test_a_run_on_real_clocks_is_shown_as_it_was_recorded(tmp_path):
    result = asyncnet.run(multiplexer("weight-max", FREE | {"task.decisions": 60}), time="wall", out=tmp_path, checkpoint=0.0)
    line = api.timeline(result.run_dir)
    events = events_of(result.run_dir / "trace.json")
    assert assert_arrows_join_slices(events) == result.record.ledger[ledger.DELIVERED].sum()
    assert "; identical: " in line
    assert max(event["ts"] for event in events if "ts" in event) > 10_000


def test_a_part_after_a_resume_is_shown_too(tmp_path):
    from support.recorded import Interrupted

    scenario = multiplexer("weight-max", FREE | {"task.decisions": 200})
    first = asyncnet.run(scenario, time="wall", out=tmp_path, reporter=Interrupted(60))
    again = asyncnet.resume(first.run_dir)
    assert again.record.stopped == "finished"
    line = api.timeline(first.run_dir)
    assert "; identical: " in line
    assert assert_arrows_join_slices(events_of(first.run_dir / "trace.json")) > 100


def test_a_limit_ends_it_and_says_so(run, tmp_path, command):
    code, out, _ = command("timeline", run.run_dir, "--to", tmp_path / "few.json", "--events", 500)
    assert code == 0
    assert out.startswith(f"{tmp_path / 'few.json'}: 500 events of 4 nodes, ")
    assert out.endswith(f"; {timeline.FULL}\n")
    assert sum(event["ph"] == "X" for event in events_of(tmp_path / "few.json")) == 500


def test_a_place_where_no_file_can_be_is_a_line(run, command):
    code, _, err = command("timeline", run.run_dir, "--to", "/proc/none/trace.json")
    assert code == 64
    assert err.count("\n") == 1
