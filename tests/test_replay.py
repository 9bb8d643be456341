"""What was recorded on real clocks takes place again in one process, bit for bit; where it does not, the node, its event and its array are named."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from teams import FREE, LOOPS, assert_moved, multiplexer
from thinkable import scenarios

import asyncnet
from asyncnet import api
from asyncnet.actors.host import Host
from asyncnet.actors.team import groups
from asyncnet.api import Quiet, Result
from asyncnet.kernels.plain import as_python
from asyncnet.loop.compiled.agenda import of_who, who
from asyncnet.loop.ledger import DELIVERED, DUPLICATED, EXPIRED, LOST, SENT
from asyncnet.loop.loop import Loop, digest
from asyncnet.loop.message import ACTIVITY, CHANNEL_NAMES, TICK, TURN
from asyncnet.loop.timekeeper import Virtual
from asyncnet.record import recorder
from asyncnet.record.debug import stop_before
from asyncnet.record.journal import Digest, Reader, Writer, encode
from asyncnet.record.playback import replay
from asyncnet.record.recorder import WIDTH, Recorder, fields_of
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.rundir import RunDirectory, recordings
from asyncnet.scenario.schema import ScenarioError, check
from asyncnet.team.draw import plan

TIMED = {"rule.credit": "time", "network.output": "softmax", "tick": 500, "task.decisions": 60, "links": {"default": {"delay": 0.5}}}  # credit that feels time
ACROBAT = asyncnet.load("acrobot-weight-max").replace({"tick": 300, "task.episodes": 2})
THINK = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture])

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


@pytest.fixture(autouse=True, scope="module")
def many_segments():
    """Short runs have several segments too, with digests in each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "EVERY", 0.05)
        patch.setattr(recorder, "LEISURE", 0)
        yield


def on_real_clocks(scenario, folder, loop="compiled"):
    """A finished and recorded run of one process."""
    result = api.run(scenario, time="wall", loop=loop, out=folder, checkpoint=0.0)
    assert result.record.stopped == "finished"
    assert_moved(scenario, result.record.weights)
    return result


def rows_of(folder):
    """All that was recorded, of all loops: rows (now, kind, receiver, sender, sequence number)."""
    rows = np.concatenate([segment.events for path in sorted(folder.glob("*.anr")) for segment in Reader(path)])
    return np.column_stack((rows[:, 0], *as_python(of_who)(rows[:, 1]), rows[:, 2]))


def assert_identical(report, events, loops=1):
    """Identical to the end: so many events, and each node's digest once at least."""
    assert report.difference is None
    assert report.damage == []
    assert report.events == events
    assert report.digests >= len(report.loop.nodes)
    assert report.line == f"identical: {events:,} events, {report.digests:,} digests"


# --- what was recorded takes place again ------------------------------------------------------------------------------------------


def record(made, folder, name="0"):
    """Have a loop's events written to a folder; returns what ends it."""
    writer = Writer(folder)
    tape = Recorder(name, lambda data: writer.append(name, data))
    tape.watch(made)
    return lambda: (tape.finish(), writer.close())


@THINK
@given(scenarios(decisions=40), st.sampled_from(list(LOOPS)), st.floats(0.1, 0.9))
def test_whatever_hypothesis_thinks_of_is_replayed_from_its_beginning_and_from_a_state(tmp_path_factory, data, loop, place):
    try:
        scenario = check(data, "test")
    except ScenarioError:
        reject()
    made = LOOPS[loop](scenario, Virtual())
    made.run(lambda running: running.score.done >= place and running.stop("cut"))
    state = snapshot.take(made)
    for begin in (None, state):
        folder = tmp_path_factory.mktemp("record")
        made = LOOPS[loop](scenario, Virtual())
        if begin is not None:
            snapshot.put(made, begin)
        finish, before = record(made, folder), made.digest()
        made.run()
        finish()
        assert made.digest() != before
        rows = rows_of(folder)
        report = replay(scenario, folder, begin)
        assert_identical(report, int((rows[:, 4] >= 0).sum()))
        assert report.loop.digest() == made.digest()
        assert report.loop.ledger.tolist() == made.ledger.tolist()
        assert report.loop.sequence == made.sequence


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_that_was_stopped_between_two_looks_at_its_score_is_replayed(loop, tmp_path):
    scenario = multiplexer("weight-max", FREE | {"task.decisions": 2000})

    class Stopping(Recorder):
        def __call__(self, rows):
            super().__call__(rows)
            if self.events > 5000 and made.nodes[0].counts()["decisions"] % 10:  # every tenth has a look
                made.stop("there")

    made, writer = LOOPS[loop](scenario, Virtual()), Writer(tmp_path)
    tape = Stopping("0", lambda data: writer.append("0", data))
    tape.watch(made)
    made.run()
    tape.finish()
    writer.close()
    assert made.stopped == "there"
    assert made.score.decisions % 10 > 0
    report = replay(scenario, tmp_path)
    assert_identical(report, int((rows_of(tmp_path)[:, 4] >= 0).sum()))
    assert report.loop.digest() == made.digest() != Loop(scenario, Virtual()).digest()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_on_real_clocks_is_replayed_to_its_very_bits(loop, tmp_path):
    result = on_real_clocks(multiplexer("weight-max", FREE), tmp_path, loop)
    record, folder = result.record, recordings(result.run_dir, 0)
    turns = int((rows_of(folder)[:, 1] == TURN).sum())
    events = sum(node["ticks"] for node in record.nodes.values()) + int(record.ledger[DELIVERED].sum()) + turns
    assert turns > 200
    assert record.ledger[LOST].sum() > 20
    report = replay(result.scenario, folder)
    assert_identical(report, events)
    assert len(list(Reader(folder / "0.anr"))) > 3
    assert report.digests > 3 * len(report.loop.nodes)
    assert report.loop.digest() == record.digest
    assert report.loop.ledger[[SENT, LOST, DELIVERED]].tolist() == record.ledger[[SENT, LOST, DELIVERED]].tolist()
    assert api.replay(result.run_dir) == (True, report.line)


@pytest.fixture
def no_environment(monkeypatch):
    """Acrobot as it was in another world: it begins elsewhere, and has no steps."""
    from gymnasium.envs.classic_control import AcrobotEnv

    def refuse(self, action):
        raise AssertionError("the environment was stepped")

    monkeypatch.setattr(AcrobotEnv, "step", refuse)
    monkeypatch.setattr(AcrobotEnv, "reset", lambda self, **how: (np.full(6, 0.5, dtype=np.float32), {}))
    with pytest.raises(AssertionError, match="was stepped"):
        gymnasium.make("Acrobot-v1").unwrapped.step(0)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_is_late_in_closing_a_segment_closes_several(loop, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "EVERY", 1e9)
    monkeypatch.setattr(recorder, "MOST_EVENTS", 30)
    monkeypatch.setattr(recorder, "MOST_NUMBERS", 40)
    monkeypatch.setattr(Recorder, "_ask", lambda _: None)
    result = on_real_clocks(ACROBAT.replace({"task.decisions": 30}), tmp_path, loop)
    segments = list(Reader(recordings(result.run_dir, 0) / "0.anr"))
    assert sum(len(segment.transitions) for segment in segments) == 31
    assert max(len(segment.events) for segment in segments) == 30
    assert max(segment.transitions.size for segment in segments) == 40
    assert [segment.last for segment in segments] == [False] * (len(segments) - 1) + [True]
    same, found = api.replay(result.run_dir)
    assert same, found


def test_a_replay_in_which_too_much_waits_to_be_heard_ends_in_a_line(tmp_path, monkeypatch):
    result = on_real_clocks(multiplexer("weight-max", FREE), tmp_path)
    monkeypatch.setitem(replay.__globals__, "MOST_WAITING", 1000)
    same, found = api.replay(result.run_dir)
    assert not same
    assert "wait to be heard" in found
    monkeypatch.undo()
    same, found = api.replay(result.run_dir)
    assert same, found


@pytest.mark.parametrize("loop", LOOPS)
def test_a_task_in_python_is_replayed_from_what_its_steps_led_to(loop, tmp_path, request):
    result = on_real_clocks(ACROBAT, tmp_path, loop)
    decisions = result.summary()["decisions"]
    assert decisions > 50
    assert sum(len(segment.transitions) for segment in Reader(recordings(result.run_dir, 0) / "0.anr")) == decisions + 1
    request.getfixturevalue("no_environment")
    same, found = api.replay(result.run_dir)
    assert same, found
    assert found.startswith("identical: ")


class Interrupted(Quiet):
    """Interrupts the run, as Ctrl-C does, when so many rows of progress were shown."""

    def __init__(self, rows):
        self.left = rows

    def row(self, row):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("scenario", "loop", "rows"),
    [(multiplexer("weight-max", FREE), "compiled", 100), (multiplexer("weight-max", FREE), "readable", 100), (ACROBAT, "compiled", 1)],
    ids=["compiled", "readable", "a task in Python"],
)
def test_both_parts_of_a_run_that_was_resumed_are_replayed(scenario, loop, rows, tmp_path, request):
    first = api.run(scenario, time="wall", loop=loop, out=tmp_path, reporter=Interrupted(rows))
    assert first.record.stopped == "interrupted"
    assert api.replay(first.run_dir)[0]
    second = api.resume(first.run_dir)
    assert second.record.stopped == "finished"
    assert second.record.digest != first.record.digest
    assert second.summary()["decisions"] > first.summary()["decisions"] > 0
    assert_moved(scenario, second.record.weights)
    parts = [recordings(first.run_dir, part) for part in (0, 1)]
    assert all(len(rows_of(part)) > 500 for part in parts)
    if scenario is ACROBAT:
        request.getfixturevalue("no_environment")
    same, found = api.replay(first.run_dir)
    assert same, found
    assert found.count("identical: ") == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_broken_off_within_a_step_of_its_task_is_replayed_to_the_segment_before(loop, tmp_path, monkeypatch):
    from gymnasium.envs.classic_control import AcrobotEnv

    step, steps = AcrobotEnv.step, []

    def interrupted(self, action):
        steps.append(action)
        if len(steps) == 700:  # in the second episode: the end of the first has closed a segment
            raise KeyboardInterrupt
        return step(self, action)

    monkeypatch.setattr(AcrobotEnv, "step", interrupted)
    result = api.run(ACROBAT, time="wall", loop=loop, out=tmp_path)
    assert result.record.stopped == "interrupted"
    report = replay(ACROBAT, recordings(result.run_dir, 0))
    assert report.difference is None
    assert report.events > 300
    assert "ends without the loop's end" in report.damage[0]


def on_ray(held, scenario, folder):
    """A recorded run of Ray actors on real clocks."""
    from asyncnet.actors.team import run_in

    with RunDirectory(folder, scenario, "ray", {"time": "wall"}, every=0.0, recording=True) as kept:
        record = run_in(held, scenario, Quiet(), time="wall", kept=kept)
        result = Result(scenario, "ray", record, kept.path)
        kept.finish(result)
    assert record.stopped == "finished"
    assert_moved(scenario, record.weights)
    return result


def rough(seed):
    """A team on jittery clocks, one of them slow, with links that lose a tenth."""
    under = ["jittery-clocks", "lossy", "straggler"]
    changes = {"seed": seed, "tick": 1000, "task.k": 2, "task.decisions": 300, "task.world.interval": 8.0}
    return asyncnet.load("multiplexer3-weight-max", under).replace(changes)


@pytest.mark.ray
def test_a_run_of_actors_under_three_hardships_is_replayed_in_one_process(ray_session, tmp_path):
    result = on_ray(ray_session, rough(1), tmp_path)
    record, folder = result.record, recordings(result.run_dir, 0)
    turns = int((rows_of(folder)[:, 1] == TURN).sum())
    assert record.ledger[LOST].sum() > 50
    assert len(list(folder.glob("*.anr"))) == record.measured["actors"] > 3
    report = replay(result.scenario, folder)
    assert_identical(report, sum(node["ticks"] for node in record.nodes.values()) + int(record.ledger[DELIVERED].sum()) + turns)
    assert report.loop.digest() == record.digest
    assert api.verify(result.run_dir) == (True, report.line)


@pytest.mark.ray
@pytest.mark.study
@pytest.mark.timeout(1800)
def test_twenty_runs_of_actors_under_three_hardships_are_replayed(ray_session, tmp_path):
    found = [api.replay(on_ray(ray_session, rough(seed), tmp_path).run_dir) for seed in range(20)]
    print(*(line for _, line in found), f"{sum(not same for same, _ in found)}/20 differ", sep="\n")
    assert all(same for same, _ in found)


# --- recordings of several loops, damaged -----------------------------------------------------------------------------------------


def on_threads(scenario, folder, begin=None):
    """A recorded run on real clocks of the hosts of actors, each in a thread; their frames go from hand to hand. Returns digest and a state midway."""
    team = plan(scenario)
    parts = {str(n): part for n, part in enumerate(groups(team, 1))}
    states = {name: None if begin is None else tuple(snapshot.part(begin, team, part)) for name, part in parts.items()}
    hosts = {name: Host(scenario.data(), part, "ray", "127.0.0.1", record=name, begin=states[name]) for name, part in parts.items()}
    hands = {name: SimpleNamespace(deliver=SimpleNamespace(remote=host.deliver)) for name, host in hosts.items()}
    where = {i: name for name, part in parts.items() for i in part}
    writer, at = Writer(folder), time.time_ns() + 100_000_000
    for name, host in hosts.items():
        host.connect({other: hosts[other].address() for other in hosts if other != name}, where, {other: hands[other] for other in hosts if other != name})
    for host in hosts.values():
        host.start(at)
    taken = []
    while hosts["0"].status()["decisions"] < 20 and hosts["0"].loop.stopped is None:
        time.sleep(0.001)
    for host in hosts.values():  # of different moments, as Ray brings them
        taken.append(host.state())
        time.sleep(0.01)
    assert hosts["0"].await_end(60.0)
    for host in hosts.values():
        host.stop("finished")
    results = [host.result() for host in hosts.values()]
    for name, host in hosts.items():
        assert host.failure is None, host.failure
        writer.append(name, b"".join(host.segments()))
        host.close()
    writer.close()
    midway = None if None in taken else snapshot.merge(Checkpoint(*state) for state in taken)
    return digest({i: np.frombuffer(state) for result in results for i, state in result["states"].items()}), midway


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """The recording of a team in four loops: (scenario, folder, a state midway)."""
    scenario, folder = multiplexer("weight-max", FREE | {"task.decisions": 100}), tmp_path_factory.mktemp("several")
    end, midway = on_threads(scenario, folder)
    report = replay(scenario, folder)
    assert_identical(report, int((rows_of(folder)[:, 4] >= 0).sum()))
    assert report.loop.digest() == end != Loop(scenario, Virtual()).digest()
    assert len(list(folder.glob("*.anr"))) == len(plan(scenario).nodes) == 4
    return scenario, folder, midway


def test_loops_that_went_on_from_states_of_different_moments_are_replayed(several, tmp_path):
    scenario, _, midway = several
    begin = snapshot.balanced(midway, plan(scenario))
    assert begin.arrays["ledger"][DUPLICATED].sum() > 0, "some of what is said was said before"
    assert begin.arrays["ledger"][EXPIRED].sum() > 0, "and some is never heard"
    end, _ = on_threads(scenario, tmp_path, begin)
    report = replay(scenario, tmp_path, begin)
    assert_identical(report, int((rows_of(tmp_path)[:, 4] >= 0).sum()))
    assert report.loop.digest() == end
    assert report.events > 1000
    assert replay(scenario, tmp_path).difference is not None


@pytest.fixture
def copied(several, tmp_path):
    shutil.copytree(several[1], tmp_path / "copy")
    return tmp_path / "copy"


def test_events_of_several_loops_take_place_in_the_order_of_time(several):
    scenario, folder, _ = several
    seen = []
    replay(scenario, folder, before=lambda event, node: seen.append(event))
    ticks = [event.now for event in seen if event.kind in (TICK, TURN)]
    assert len({event.node for event in seen}) == 4
    assert len(ticks) > 1000
    assert ticks == sorted(ticks)


def test_loops_whose_clocks_are_apart_are_replayed(several, copied):
    scenario, folder, _ = several
    for n, path in enumerate(sorted(copied.glob("*.anr"))):
        apart = np.array([n * (-1) ** n * 30_000, 0, 0])  # digests hold times too, so they are left out
        path.write_bytes(b"".join(encode(segment._replace(events=segment.events + apart, digests=())) for segment in Reader(path)))
    assert rows_of(copied)[:, 0].min() < -50_000
    report = replay(scenario, copied)
    assert (report.difference, report.damage) == (None, [])
    assert report.events == replay(scenario, folder).events


@pytest.mark.parametrize("name", ["0", "1", "3"])
def test_a_loop_whose_recording_is_missing_is_named(name, several, copied):
    (copied / f"{name}.anr").unlink()
    report = replay(several[0], copied)
    nodes = plan(several[0]).nodes
    assert report.difference is None
    assert report.damage == [f"{copied}: nothing is recorded of {nodes[int(name)].name}"]
    assert report.line.startswith(f"identical: {report.events:,} events")


def test_one_file_that_is_cut_short_stops_the_others_where_they_need_it(several, copied):
    scenario, folder, _ = several
    whole = replay(scenario, folder).events
    data = (copied / "2.anr").read_bytes()
    seen = []
    for share in (0.0, 0.4, 0.9):
        (copied / "2.anr").write_bytes(data[: int(share * len(data))])
        report = replay(scenario, copied)
        assert report.difference is None
        assert len(report.damage) == 1
        assert report.damage[0].startswith(f"{copied / '2.anr'}: ")
        seen.append(report.events)
    assert 0 < seen[0] < seen[1] < seen[2] < whole


def test_a_folder_without_a_recording_is_no_recording(several, tmp_path):
    report = replay(several[0], tmp_path)
    assert report.events == 0
    assert report.damage == [f"{tmp_path}: holds no recording"]


# --- planted --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A short run on real clocks, of several segments."""
    result = on_real_clocks(multiplexer("weight-max", FREE | {"task.decisions": 80}), tmp_path_factory.mktemp("short"))
    assert len(list(Reader(recordings(result.run_dir, 0) / "0.anr"))) > 3
    return result


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """The same of a rule whose traces decay with time."""
    return on_real_clocks(multiplexer("map-propagation-async", TIMED), tmp_path_factory.mktemp("timed"))


@pytest.fixture
def run(short, tmp_path):
    """A copy of the short run."""
    return Path(shutil.copytree(short.run_dir, tmp_path / "run"))


def file_of(run):
    return recordings(run, 0) / "0.anr"


def rewrite(run, at, **changes):
    """Put another segment in the place of one, with its checksum made right."""
    segments = list(Reader(file_of(run)))
    segments[at] = segments[at]._replace(**changes)
    file_of(run).write_bytes(b"".join(map(encode, segments)))
    assert [type(segment) for segment in Reader(file_of(run))] == [type(segment) for segment in segments], "the reader finds nothing wrong"
    return segments


def test_one_flipped_bit_is_named_with_file_and_segment(run, command):
    whole = file_of(run).read_bytes()
    sizes = [len(encode(segment)) for segment in Reader(file_of(run))]
    starts = np.cumsum([0, *sizes[:-1]])
    events = [int((segment.events[:, 2] >= 0).sum()) for segment in Reader(file_of(run))]
    for at in np.linspace(0, len(whole) - 1, 30).astype(int).tolist():
        file_of(run).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        number = int((starts <= at).sum()) - 1
        same, found = api.replay(run)
        assert not same
        assert f"{file_of(run)}: " in found
        assert f"segment {number}, at byte {starts[number]}" in found
        assert found.startswith(f"identical: {sum(events[:number]):,} events, ")
    code, out, _ = command("replay", run, "--json")
    assert (code, json.loads(out)) == (1, {"identical": False, "found": found})


def test_a_recording_cut_anywhere_is_replayed_as_far_as_it_goes(run):
    whole = file_of(run).read_bytes()
    segments = list(Reader(file_of(run)))
    ends = np.cumsum([len(encode(segment)) for segment in segments])
    for cut in [*ends[:-1].tolist(), *np.linspace(0, len(whole) - 1, 12).astype(int).tolist()]:
        file_of(run).write_bytes(whole[:cut])
        left = int((ends <= cut).sum())
        report = replay(api.load(run / "config.toml"), recordings(run, 0))
        assert report.difference is None
        assert report.events == sum(int((segment.events[:, 2] >= 0).sum()) for segment in segments[:left])
        assert report.digests == sum(len(segment.digests) for segment in segments[:left])
        (damage,) = report.damage
        assert damage.startswith(f"{file_of(run)}: ")
        assert report.line.endswith(f"; as far as the recording goes: {damage}")
        assert not api.replay(run)[0]


def test_a_changed_digest_is_named_by_node_event_and_array(run, command):
    segments = list(Reader(file_of(run)))
    at = next(n for n, segment in enumerate(segments) if n and segment.digests)
    digests = list(segments[at].digests)
    place = fields_of(Loop(api.load(run / "config.toml"), Virtual()).nodes[2]).index("weight") * WIDTH
    (chosen,) = (n for n, digest in enumerate(digests) if digest.node == 2)
    event, node, fields = digests[chosen]
    digests[chosen] = Digest(event, node, fields[:place] + bytes([fields[place] ^ 1]) + fields[place + 1 :])
    rewrite(run, at, digests=tuple(digests))
    rows = rows_of(recordings(run, 0))[:event]
    number = int(((rows[:, 2] == 2) & (rows[:, 4] >= 0)).sum())
    report = replay(api.load(run / "config.toml"), recordings(run, 0))
    assert (report.difference.event.node, report.difference.event.number, report.difference.array) == ("actor.2", number, "weight")
    code, out, _ = command("replay", run)
    assert code == 1
    assert out.startswith(f"different: event {number} of actor.2, at ")
    assert out.endswith("; its weight differs after it\n")


def test_a_tick_at_another_time_is_named_by_the_first_node_and_array_that_differ(timed, tmp_path):
    run = Path(shutil.copytree(timed.run_dir, tmp_path / "run"))
    segments = list(Reader(file_of(run)))
    ticks = [(n, row) for n, segment in enumerate(segments) for row in np.flatnonzero(segment.events[:, 1] == as_python(who)(TICK, 2, 2)).tolist()]
    for at, row in (ticks[5], ticks[-1]):
        events = segments[at].events.copy()
        events[row, 0] += 1
        file_of(run).write_bytes(b"".join(map(encode, segments)))
        assert api.replay(run)[0]
        rewrite(run, at, events=events)
        event, array, why = replay(timed.scenario, recordings(run, 0)).difference
        nodes = {node.name: node for node in Loop(timed.scenario, Virtual()).nodes.values()}
        assert array in fields_of(nodes[event.node])
        assert why == f"its {array} differs after it"
        if row == ticks[-1][1]:
            assert event.node == "actor.2"
            assert event.number >= len(ticks)


def test_another_sequence_number_is_named_by_its_message(run):
    segments = list(Reader(file_of(run)))
    events = segments[1].events.copy()
    at = np.flatnonzero((events[:, 1] == as_python(who)(ACTIVITY, 2, 1)) & (events[:, 2] >= 0))[3]  # not a loss
    events[at, 2] += 100_000
    rewrite(run, 1, events=events)
    same, found = api.replay(run)
    assert not same
    assert f"activity {events[at, 2]} from actor.1; this message is not on its way now" in found
    assert f"of actor.2, at {events[at, 0] / 1e6:.6f} s" in found


def losses(segments):
    """Segment and row of each loss."""
    return [(n, row) for n, segment in enumerate(segments) for row in np.flatnonzero(segment.events[:, 2] < 0).tolist()]


@pytest.mark.parametrize("how", ["removed", "changed", "added"])
def test_another_loss_is_named(how, run):
    segments, team = list(Reader(file_of(run))), plan(api.load(run / "config.toml"))
    at, row = losses(segments)[-1]
    events = segments[at].events
    _, code, seq = events[row].tolist()
    kind, dst, src = as_python(of_who)(code)
    name, to = f"{CHANNEL_NAMES[kind]} {-seq} from {team.nodes[src].name}", f" to {team.nodes[dst].name}"
    digests = segments[at].digests
    if how == "removed":
        last = segments[at].first + len(events) - 1
        rewrite(run, at, events=np.delete(events, row, axis=0), digests=tuple(digest._replace(event=min(last, digest.event)) for digest in digests))
        expected = f"lost then: nothing; lost now: {name}{to}"
    elif how == "changed":
        events = events.copy()
        events[row, 2] -= 1
        rewrite(run, at, events=events)
        expected = f"lost then: {CHANNEL_NAMES[kind]} {1 - seq} from {team.nodes[src].name}{to}; lost now: {name}{to}"
    else:
        rewrite(run, at, events=np.insert(events, row, events[row] - [0, 0, 1], axis=0))
        expected = f"lost then: {CHANNEL_NAMES[kind]} {1 - seq} from {team.nodes[src].name}{to}; lost now: {name}{to}"
    if at + 1 < len(segments) and how != "changed":
        assert "it does not follow" in api.replay(run)[1]
    assert expected in api.replay(run)[1]


TEAM = 4
CODES = {"of no node": as_python(who)(TICK, TEAM, TEAM), "by no link": as_python(who)(ACTIVITY, 1, 3), "of no kind": as_python(who)(7, 1, 1), "-1": -1}


@pytest.mark.parametrize("code", CODES)
def test_an_event_that_the_team_cannot_have_is_damage(code, run):
    events = list(Reader(file_of(run)))[1].events.copy()
    events[7, 1] = CODES[code]
    rewrite(run, 1, events=events)
    assert api.replay(run)[1].endswith(f"{file_of(run)}: segment 1: an event that this team cannot have")


@pytest.mark.parametrize("digest", [Digest(0, 1, bytes(8)), Digest(10**6, 1, bytes(8)), Digest(-1, 1, b""), Digest(500, TEAM, b""), Digest(500, -1, b"")])
def test_a_digest_of_what_is_not_there_is_damage(digest, run):
    rewrite(run, 1, digests=(digest,))
    assert api.replay(run)[1].endswith(f"{file_of(run)}: segment 1: a digest of no node or no event of this segment")


@pytest.mark.parametrize("fields", [b"", bytes(8), bytes(10_000)])
def test_a_digest_of_another_layout_differs(fields, run):
    segments = list(Reader(file_of(run)))
    rewrite(run, 1, digests=(Digest(segments[1].first + 9, 1, fields),))
    same, found = api.replay(run)
    assert not same
    assert "of actor.1, at " in found
    assert "differs after it" in found


def test_outcomes_of_another_task_are_damage_and_missing_ones_are_named(run, tmp_path):
    rewrite(run, 1, transitions=np.zeros((1, 3)))
    assert api.replay(run)[1].endswith(f"{file_of(run)}: segment 1: transitions that its task cannot have")
    acrobat = on_real_clocks(ACROBAT, tmp_path / "acrobat").run_dir
    segments = list(Reader(file_of(acrobat)))
    rewrite(acrobat, 1, transitions=segments[1].transitions[:, :-1])
    assert api.replay(acrobat)[1].endswith(f"{file_of(acrobat)}: segment 1: transitions that its task cannot have")
    file_of(acrobat).write_bytes(b"".join(map(encode, segments)))
    last = max(n for n, segment in enumerate(segments) if len(segment.transitions))
    rewrite(acrobat, last, transitions=segments[last].transitions[:-1])
    same, found = api.replay(acrobat)
    assert not same
    assert "of world, at " in found
    assert found.endswith("its turn; the recording does not hold what this step of the task led to")


def test_a_run_whose_digest_was_changed_is_not_that_of_its_recording(run):
    digests = json.loads((run / "digests.json").read_text())
    (run / "digests.json").write_text(json.dumps(digests | {"digest": "0" * 64}))
    same, found = api.replay(run)
    assert not same
    assert found.endswith("different: the run's digest is not that of its recording's end")


def test_a_run_that_was_killed_is_replayed_as_far_as_it_was_recorded_and_so_is_how_it_went_on(tmp_path):
    words = ["multiplexer3-weight-max", "--time", "wall", "--set", "task.decisions=20000", "--set", "tick=300", "--out", tmp_path, "--checkpoint", "0.3"]
    child = subprocess.Popen([sys.executable, "-m", "asyncnet", "run", *map(str, words)], stderr=subprocess.DEVNULL)
    path, checkpoints = file_of(tmp_path / "latest"), tmp_path / "latest" / "checkpoints"
    deadline = time.monotonic() + 60
    while not (path.is_file() and len(list(Reader(path))) > 1 and any(checkpoints.glob("[0-9]*"))) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    run = (tmp_path / "latest").resolve()
    assert json.loads((run / "run.json").read_text())["status"] == "running"
    scenario = api.load(run / "config.toml")
    report = replay(scenario, recordings(run, 0))
    assert report.difference is None
    assert report.events == (rows_of(recordings(run, 0))[:, 4] >= 0).sum() > 1000
    assert report.digests >= len(report.loop.nodes)
    assert report.loop.digest() != Loop(scenario, Virtual()).digest()
    assert f"{file_of(run)}: ends " in report.damage[0]
    assert api.resume(run, reporter=Interrupted(1)).record.stopped == "interrupted"
    same, found = api.replay(run)
    assert not same, "for the end of its first part is gone"
    assert found.startswith(f"{report.line}; identical: ")
    assert found.count("as far as the recording goes") == 1


def test_the_reader_in_the_document_reads_a_recording(short, tmp_path):
    text = (Path(__file__).parent.parent / "docs" / "recording.md").read_text()
    found = {}
    exec(re.search(r"```python\n(.*?)```", text, re.S).group(1), found)
    for run in (short.run_dir, on_real_clocks(ACROBAT, tmp_path).run_dir):
        read = list(found["segments"](file_of(run).read_bytes()))
        segments = list(Reader(file_of(run)))
        assert len(read) == len(segments) > 1
        for (loop, last, rows, transitions, digests), segment in zip(read, segments, strict=True):
            assert (loop, last) == (segment.loop, segment.last)
            assert rows == list(zip(segment.events[:, 0], *as_python(of_who)(segment.events[:, 1]), segment.events[:, 2], strict=True))
            assert transitions == segment.transitions.tolist()
            assert digests == list(segment.digests)
    assert sum(len(segment.transitions) for segment in segments) > 50
    assert losses(list(Reader(file_of(short.run_dir))))


# --- the command line -------------------------------------------------------------------------------------------------------------


def events_of(run, name):
    """What a node heard, in order."""
    rows = rows_of(recordings(run, 0))
    number = next(node.index for node in plan(api.load(run / "config.toml")).nodes if node.name == name)
    return rows[(rows[:, 2] == number) & (rows[:, 4] >= 0)].tolist()


def test_until_stops_before_that_event_of_that_node(short, command, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("print('stamp', node.view.stamp, node.name, event.number)\n"))
    stamps = []

    def note(event, node):
        if node.name == "actor.2":
            stamps.append(node.view.stamp.copy())
        return len(stamps) == 700

    assert api.replay(short.run_dir, note)[0]
    assert stamps[-1] > 10
    code, out, err = command("replay", short.run_dir, "--until", "actor.2:700")
    assert code == 0
    assert f"stamp {stamps[-1]} actor.2 700\n" in out
    now, kind, _, src, seq = events_of(short.run_dir, "actor.2")[699]
    what = "a tick" if kind == TICK else f"{CHANNEL_NAMES[kind]} {seq} from {plan(short.scenario).nodes[src].name}"
    assert f"before event 700 of actor.2, at {now / 1e6:.6f} s: {what}\n" in err
    assert "  weight " in err
    assert "; stopped there" in out


def test_until_a_number_stops_before_that_event_of_all(short, command, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("print(event.now)\n"))
    code, out, _ = command("replay", short.run_dir, "--until", "900", "--json")
    rows = rows_of(recordings(short.run_dir, 0))
    assert code == 0
    assert str(rows[rows[:, 4] >= 0][899, 0]) in out
    assert '"found": "identical: 899 events, ' in out


def child(*words, said):
    """A completed command; Ray has put a debugger of its own in the place of Python's, for its actors."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONBREAKPOINT"}
    command = [sys.executable, "-m", "asyncnet", *map(str, words)]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=100, check=False, env=environment)


def test_break_enters_the_debugger_there_and_goes_on_to_the_end(short):
    done = child("replay", short.run_dir, "--until", "actor.1:30", "--break", said="p node.name, event.number\nc\n")
    assert done.returncode == 0, done.stderr
    assert "(Pdb) ('actor.1', 30)\n(Pdb) " in done.stdout
    assert f"{api.replay(short.run_dir)[1]}\n" in done.stdout
    assert "before event 30 of actor.1" in done.stderr


@pytest.mark.parametrize(
    "where", ["", "0", "x", "actor.1", "actor.1:", "actor.1:0", "actor.1:-3", "actor.1:1.5", ":3", "-1", "²", "9" * 30, "actor.1:" + "9" * 5000]
)
def test_a_place_that_is_none_is_refused(where, short, command):
    code, out, err = command("replay", short.run_dir, f"--until={where}")
    assert (code, out) == (64, "")
    assert err.startswith("asyncnet: --until: ")
    assert err.count("\n") == 1


def test_a_stop_knows_whether_its_event_came(short, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for where, comes in (("actor.1:3", True), ("actor.1:900000", False), ("actor.9:1", False), ("900000", False)):
        stop = stop_before(where)
        assert api.replay(short.run_dir, stop)[0]
        assert stop.reached == comes


def test_break_without_until_is_refused(short, command):
    code, out, err = command("replay", short.run_dir, "--break")
    assert (code, out) == (64, "")
    assert "--break" in err


def test_a_run_without_a_recording_is_refused(command, tmp_path):
    result = api.run(multiplexer("weight-max", FREE | {"task.decisions": 30}), time="wall", out=tmp_path, record=False)
    for verb in ("replay", "verify"):
        code, out, err = command(verb, result.run_dir)
        assert (code, out) == (64, "")
        assert "nothing was recorded" in err


def test_verify_replays_a_run_on_real_clocks(short, run, command):
    code, out, _ = command("verify", short.run_dir)
    assert (code, out) == (0, f"{api.replay(short.run_dir)[1]}\n")
    file_of(run).write_bytes(file_of(run).read_bytes()[:-1])
    code, out, _ = command("verify", run)
    assert code == 1
    assert "as far as the recording goes" in out
